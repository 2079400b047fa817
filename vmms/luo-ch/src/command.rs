// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use luo_client::SessionName;
use luo_monitor::exit::{Ended, USAGE};
use luo_monitor::point::Point;
use luo_monitor::serve::Service;
use luo_monitor::told::Told;
use luo_monitor::workload;

use crate::begin::{self, Begun, Wanted};
use crate::exit::Error;
use crate::given;

/// Where the sockets of guests are, each in a folder of its name.
const ROOMS: &str = "/run/luo-ch";

/// Guests of cloud-hypervisor that survive kernel updates.
///
/// luo-ch runs a guest with cloud-hypervisor, and is its workload with luod: in an update the
/// guest's memory stays where it is, its state is handed over and kept beside it, and under the
/// next kernel a new cloud-hypervisor goes on with it. The same command starts a guest and goes
/// on with it.
#[derive(Debug, Parser)]
#[command(name = "luo-ch", version)]
pub struct Cli {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Starts a guest, or goes on with the one that runs or came over the update.
    Run(Run),
}

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The guest's name: that of its workload and of its session.
    name: String,
    /// Workloads that this one needs.
    #[arg(long, value_name = "OTHER", value_delimiter = ',')]
    needs: Vec<String>,
    /// How long luod is waited for, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// How long cloud-hypervisor may take for its start, and to take a guest, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    within: u64,
    /// The folder for the guest's sockets, which only this user may look into. Without it that is
    /// /run/luo-ch/NAME.
    #[arg(long, value_name = "FOLDER")]
    room: Option<PathBuf>,
    /// Cloud-hypervisor's command line, with its memory shared.
    #[arg(
        last = true,
        required = true,
        value_name = "cloud-hypervisor ARGUMENTS"
    )]
    line: Vec<String>,
}

/// Runs the program. `reach` is called at each step.
pub fn main(arguments: impl IntoIterator<Item = OsString>, reach: impl Fn(Point)) -> ExitCode {
    let What::Run(run) = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(why) => {
            // Where the text cannot be written nobody reads it.
            let _ = why.print();
            return match why.use_stderr() {
                true => USAGE.into(),
                false => ExitCode::SUCCESS,
            };
        }
    };
    let name = run.name.clone();
    let say = |line: &str| eprintln!("luo-ch: {name}: {line}");
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
    let (needs, wait) = (run.needs.clone(), Duration::from_secs(run.wait));
    let wanted = wanted(run)?;
    let signals = workload::signals()?;
    let mut workload = workload::register(&wanted.name.to_string(), &needs, wait)?;
    (told.reach)(Point::Registered);
    let Begun {
        guest,
        regions,
        session,
        words,
    } = begin::begin(&wanted, &mut workload, told)?;
    Service::new(told, workload, guest, regions, session, words).run(&signals)
}

fn wanted(run: Run) -> Result<Wanted, Error> {
    let name = SessionName::new(&run.name).map_err(|why| Error::Usage(why.to_string()))?;
    let given = match run.line.split_first() {
        Some((program, arguments)) => given::look(program, arguments),
        None => Err("say cloud-hypervisor's command line behind --".into()),
    };
    let is_plain = !run.name.contains('/') && !run.name.starts_with('.');
    let room = match run.room {
        Some(room) => room,
        None if is_plain => PathBuf::from(ROOMS).join(&run.name),
        None => {
            let name = run.name;
            return Err(Error::Usage(format!(
                "'{name}' is no name of a folder: say --room"
            )));
        }
    };
    Ok(Wanted {
        name,
        given: given.map_err(Error::Usage)?,
        room,
        within: Duration::from_secs(run.within),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_guest_has_a_name_and_a_line_that_can_survive() {
        let parse = |line: &str| {
            let cli = Cli::try_parse_from(line.split(' ')).map_err(|why| why.to_string())?;
            let What::Run(run) = cli.command;
            wanted(run).map_err(|why| why.to_string())
        };
        let line = "luo-ch run vm -- cloud-hypervisor --kernel k --memory size=1G,shared=on";
        let given = parse(line).unwrap();
        assert_eq!(given.room, PathBuf::from("/run/luo-ch/vm"));
        assert_eq!(given.given.program, "cloud-hypervisor");
        for wrong in [
            "luo-ch run vm",
            "luo-ch run vm --",
            "luo-ch run vm -- cloud-hypervisor --memory size=1G",
            "luo-ch run ../vm -- cloud-hypervisor --memory size=1G,shared=on",
            "luo-ch run vm -- cloud-hypervisor --memory size=1G,shared=on --restore x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
