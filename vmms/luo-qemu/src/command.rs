// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use luo_client::SessionName;
use luo_client::agent::{self, Agent, Refusal, Workload};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::begin::{self, Told, Wanted};
use crate::exit::{self, Error};
use crate::given;
use crate::guest::Ended;
use crate::point::Point;
use crate::room::Room;
use crate::serve::Service;

/// Between two attempts to reach the agent.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs QEMU guests that survive kernel updates.
#[derive(Debug, Parser)]
#[command(name = "luo-qemu", version)]
pub struct Cli {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Starts a guest, or goes on with the one that came over the update.
    Run(Run),
}

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The guest's name: that of its workload and of its session.
    name: String,
    /// The guest's RAM: a number of bytes, or with K, M, G or T.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: u64,
    /// Workloads that this one needs.
    #[arg(long, value_name = "OTHER", value_delimiter = ',')]
    needs: Vec<String>,
    /// Room for the state of the guest's devices.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "8M")]
    state_size: u64,
    /// How long luod is waited for, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// QEMU's command line, without the options for RAM.
    #[arg(last = true, required = true, value_name = "QEMU")]
    command: Vec<String>,
}

/// Reads a size as QEMU writes it.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no size: say 256M or 4G");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.get(digits.len()..).map(str::to_ascii_uppercase) {
        Some(unit) if unit.is_empty() || unit == "B" => 0,
        Some(unit) if unit == "K" || unit == "KIB" => 10,
        Some(unit) if unit == "M" || unit == "MIB" => 20,
        Some(unit) if unit == "G" || unit == "GIB" => 30,
        Some(unit) if unit == "T" || unit == "TIB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if bytes == 0 || bytes % (64 << 10) != 0 {
        return Err(format!("'{text}' is not a multiple of 64K"));
    }
    Ok(bytes)
}

/// Runs the program. `reach` is called at each step.
pub fn main(arguments: impl IntoIterator<Item = OsString>, reach: impl Fn(Point)) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(why) => {
            // Where the text cannot be written nobody reads it.
            let _ = why.print();
            return match why.use_stderr() {
                true => exit::USAGE.into(),
                false => ExitCode::SUCCESS,
            };
        }
    };
    let What::Run(run) = cli.command;
    let name = run.name.clone();
    let say = |line: &str| eprintln!("luo-qemu: {name}: {line}");
    let told = Told {
        say: &say,
        reach: &reach,
    };
    match go(run, &told) {
        Ok(ended) => {
            say(&ended.reason);
            ended.code.into()
        }
        Err(why) => {
            say(&why.to_string());
            why.code().into()
        }
    }
}

fn go(run: Run, told: &Told<'_>) -> Result<Ended, Error> {
    let wait = Duration::from_secs(run.wait);
    let needs = run.needs.clone();
    let wanted = wanted(run)?;
    let name = wanted.name.to_string();
    let signals = signals().map_err(Error::system("signals"))?;
    let room = Room::open(&name)?;
    let mut workload = register(&name, &needs, wait)?;
    (told.reach)(Point::Registered);
    let begun = begin::begin(&wanted, &room, &mut workload, told)?;
    Service::new(&room, told, workload, begun).run(&signals)
}

fn wanted(run: Run) -> Result<Wanted, Error> {
    let bad = |why: String| Error::Unfit(why);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@:".contains(c);
    // It is the name of a folder, too.
    if !run.name.chars().all(is_plain) || run.name.starts_with('.') {
        return Err(bad(format!(
            "'{}' cannot be a guest's name: letters, digits and -_.@: can be in it",
            run.name
        )));
    }
    let name = SessionName::new(&run.name).map_err(|why| bad(why.to_string()))?;
    let mut words = run.command.into_iter();
    let program = words.next().map(PathBuf::from).unwrap_or_default();
    let arguments: Vec<_> = words.collect();
    let given = given::judge(&arguments)?;
    Ok(Wanted {
        name,
        memory: run.memory,
        state: run.state_size,
        program,
        arguments,
        machine: given.machine,
    })
}

/// A socket on which each signal to end is a byte.
fn signals() -> std::io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    Ok(ours)
}

/// Becomes a workload, as soon as the agent is there and in no update. Without it nobody can say
/// whether the guest is to be started or to go on.
fn register(name: &str, needs: &[String], wait: Duration) -> Result<Workload, Error> {
    let end = Instant::now() + wait;
    let needs: Vec<_> = needs.iter().map(String::as_str).collect();
    loop {
        let why = match Agent::connect().and_then(|agent| agent.register(name, &needs)) {
            Ok(workload) => return Ok(workload),
            Err(why) => why,
        };
        let passes = matches!(
            why,
            agent::Error::Refused(Refusal::UpdateUnderWay { .. } | Refusal::WorkloadTaken { .. })
        );
        if !(passes || begin::is_lost(&why)) || Instant::now() >= end {
            return Err(why.into());
        }
        // Nothing tells of an agent that comes into being.
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_qemu_reads_them() {
        assert_eq!(size("256M"), Ok(256 << 20));
        assert_eq!(size("4G"), Ok(4 << 30));
        assert_eq!(size("4GiB"), Ok(4 << 30));
        assert_eq!(size("1048576"), Ok(1 << 20));
        for wrong in ["", "M", "-1M", "1X", "0", "100", "99999999999T", "1.5G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
