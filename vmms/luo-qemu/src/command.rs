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
use luo_monitor::point::Point;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::begin;
use crate::config;
use crate::exit::{self, Error};
use crate::gap::Clock;
use crate::given;
use crate::guest::Ended;
use crate::keep;
use crate::kvm;
use crate::options::Run;
use crate::room::Room;
use crate::serve::Service;
use crate::told::Told;
use crate::waiting::Waiting;
use crate::wanted::Wanted;
use crate::warm;

/// Between two attempts to reach the agent.
const PAUSE: Duration = Duration::from_millis(10);

/// Runs QEMU guests that survive kernel updates.
///
/// luo-qemu starts an unmodified QEMU, and is its workload with luod: in an update the guest's RAM
/// stays where it is, QEMU writes the state of the guest's devices, and under the next kernel a
/// new QEMU goes on with both. The same command starts a guest and goes on with it.
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
    /// The same, by the guest's file in /etc/luo-qemu.
    Start(Start),
    /// Loads KVM, once the kernel knows how fast the processor's counter runs.
    LoadKvm(LoadKvm),
    /// Has QEMU and its libraries read from the disk, before a guest waits for them.
    Warm,
}

/// How KVM is loaded.
#[derive(Debug, clap::Args)]
pub struct LoadKvm {
    /// How long the kernel is waited for, in seconds, until it has measured the counter.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u64,
}

/// Whose file to run.
#[derive(Debug, clap::Args)]
pub struct Start {
    /// The guest's name: that of its workload, of its session and of its file.
    name: String,
    /// Its file, instead of /etc/luo-qemu/NAME.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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
    let name = match &cli.command {
        What::Run(run) => run.name.clone(),
        What::Start(start) => start.name.clone(),
        What::LoadKvm(how) => return of_host(|say| kvm::load(Duration::from_secs(how.wait), say)),
        What::Warm => return of_host(read_ahead),
    };
    let say = |line: &str| eprintln!("luo-qemu: {name}: {line}");
    let told = Told {
        say: &say,
        reach: &reach,
        clock: Clock::start(),
    };
    let run = match cli.command {
        What::Run(run) => Ok(run),
        What::Start(Start { name, config }) => {
            let path = config.unwrap_or_else(|| config::path(&name));
            is_name(&name).and_then(|()| config::read(&name, &path))
        }
        What::LoadKvm(_) | What::Warm => return ExitCode::SUCCESS,
    };
    match run.and_then(|run| go(run, &told)) {
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

/// Does what is no guest's.
fn of_host(what: impl FnOnce(&dyn Fn(&str)) -> Result<(), Error>) -> ExitCode {
    let say = |line: &str| eprintln!("luo-qemu: {line}");
    match what(&say) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&why.to_string());
            why.code().into()
        }
    }
}

fn read_ahead(say: &dyn Fn(&str)) -> Result<(), Error> {
    let warm::Read { files, bytes } =
        warm::all(&keep::all()).map_err(Error::system("the lists of files"))?;
    say(&format!(
        "{files} files of QEMU's are read ahead, {} MiB",
        bytes >> 20
    ));
    Ok(())
}

fn go(run: Run, told: &Told<'_>) -> Result<Ended, Error> {
    let wait = Duration::from_secs(run.wait);
    let needs = run.needs.clone();
    let wanted = wanted(run)?;
    let name = wanted.name.to_string();
    let signals = signals().map_err(Error::system("signals"))?;
    let room = Room::open(&name)?;
    let early = Waiting::early(&wanted, &room);
    let mut workload = register(&name, &needs, wait)?;
    (told.reach)(Point::Registered);
    let begun = begin::begin(&wanted, &room, early, &mut workload, told)?;
    Service::new(&room, told, workload, begun).run(&signals)
}

fn wanted(run: Run) -> Result<Wanted, Error> {
    is_name(&run.name)?;
    let name = SessionName::new(&run.name).map_err(|why| Error::Unfit(why.to_string()))?;
    let mut words = run.command.into_iter();
    let program = words.next().map(PathBuf::from).unwrap_or_default();
    let arguments: Vec<_> = words.collect();
    let given = given::judge(&arguments)?;
    Ok(Wanted {
        name,
        memory: run.memory,
        huge: run.huge,
        state: run.state_size,
        program,
        arguments,
        machine: given.machine,
        disks_in_memory: run.disks_in_memory,
    })
}

/// Whether a text can be a guest's name, which is that of a folder and of a file, too.
fn is_name(name: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@:".contains(c);
    if !name.chars().all(is_plain) || name.starts_with('.') || name.is_empty() {
        return Err(Error::Unfit(format!(
            "'{name}' cannot be a guest's name: letters, digits and -_.@: can be in it"
        )));
    }
    Ok(())
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
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
