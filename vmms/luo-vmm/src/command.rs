// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use luo_client::SessionName;
use luo_monitor::exit::Ended;
use luo_monitor::point::Point;
use luo_monitor::serve::Service;
use luo_monitor::told::Told;
use luo_monitor::workload;

use crate::begin::{self, Begun, Wanted};
use crate::boot::Program;
use crate::clocks::Choice;
use crate::exit::{self, Error};
use crate::preserved;
use crate::run;
use crate::state::guest::{MOST_RAM, MOST_VCPUS};

/// RAM is given in pieces of this.
const PIECE: u64 = 1 << 20;

/// The least RAM of a guest.
const LEAST: u64 = 4 << 20;

/// A small monitor of virtual machines whose guests survive kernel updates.
///
/// luo-vmm runs a guest with KVM, and is its workload with luod: in an update the guest's RAM stays
/// where it is, the state of its processor and devices is written beside it, and under the next
/// kernel the guest goes on. The same command starts a guest and goes on with it.
#[derive(Debug, Parser)]
#[command(name = "luo-vmm", version)]
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
#[command(group = clap::ArgGroup::new("program").required(true))]
pub struct Run {
    /// The guest's name: that of its workload and of its session.
    name: String,
    /// The guest's RAM: a number with M or G, up to 3G.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: u64,
    /// The guest's processors.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=MOST_VCPUS as i64))]
    cpus: u8,
    /// A Linux kernel (bzImage) to start.
    #[arg(long, value_name = "FILE", group = "program")]
    kernel: Option<PathBuf>,
    /// Its initramfs.
    #[arg(long, value_name = "FILE", conflicts_with = "flat")]
    initrd: Option<PathBuf>,
    /// Its command line.
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "flat",
        default_value = "console=ttyS0"
    )]
    append: String,
    /// A program without an operating system to start: a flat binary, for 1 MiB.
    #[arg(long, value_name = "FILE", group = "program")]
    flat: Option<PathBuf>,
    /// Appends what the guest says on its serial port to a file, in place of standard output.
    #[arg(long, value_name = "FILE")]
    serial: Option<PathBuf>,
    /// What of the guest goes over an update as it is, beside its state.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    preserve: preserved::Choice,
    /// What the guest's clocks say after an update.
    #[arg(long, value_enum, default_value_t = Choice::GoOn)]
    clock: Choice,
    /// Workloads that this one needs.
    #[arg(long, value_name = "OTHER", value_delimiter = ',')]
    needs: Vec<String>,
    /// How long luod is waited for, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

/// Runs the program. `reach` is called at each step.
pub fn main(arguments: impl IntoIterator<Item = OsString>, reach: impl Fn(Point)) -> ExitCode {
    let What::Run(run) = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(why) => {
            // Where the text cannot be written nobody reads it.
            let _ = why.print();
            return match why.use_stderr() {
                true => exit::USAGE.into(),
                false => ExitCode::SUCCESS,
            };
        }
    };
    let name = run.name.clone();
    let say = |line: &str| eprintln!("luo-vmm: {name}: {line}");
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
    run::listen()?;
    let mut workload = workload::register(&wanted.name.to_string(), &needs, wait)?;
    (told.reach)(Point::Registered);
    let Begun {
        machine,
        regions,
        session,
        words,
    } = begin::begin(&wanted, &mut workload, told)?;
    Service::new(told, workload, machine, regions, session, words).run(&signals)
}

fn wanted(run: Run) -> Result<Wanted, Error> {
    let name = SessionName::new(&run.name).map_err(|why| Error::Usage(why.to_string()))?;
    let program = match (run.kernel, run.flat) {
        (Some(kernel), None) => Program::Linux {
            kernel,
            initrd: run.initrd,
            cmdline: run.append,
        },
        (None, Some(flat)) => Program::Flat(flat),
        _ => return Err(Error::Usage("say --kernel or --flat".into())),
    };
    Ok(Wanted {
        name,
        memory: run.memory,
        processors: run.cpus,
        preserve: run.preserve,
        program,
        serial: run.serial,
        clock: run.clock,
    })
}

/// Reads the size of a guest's RAM.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no size: say 256M or 2G");
    let (digits, shift) = match text.strip_suffix(['M', 'm']) {
        Some(digits) => (digits, 20),
        None => (text.strip_suffix(['G', 'g']).ok_or_else(wrong)?, 30),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if !(LEAST..=MOST_RAM).contains(&bytes) {
        let (least, most) = (LEAST / PIECE, MOST_RAM / PIECE);
        return Err(format!("a guest has from {least}M to {most}M"));
    }
    Ok(bytes)
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
    fn a_guest_has_one_program_and_some_ram() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let run = "luo-vmm run vm --memory";
        assert!(parse(&format!("{run} 256M --flat f")).is_ok());
        assert!(parse(&format!("{run} 1G --kernel k --initrd i --append x")).is_ok());
        assert!(parse(&format!("{run} 1G --flat f --cpus 8")).is_ok());
        for wrong in [
            "256M",
            "256M --flat f --kernel k",
            "256M --flat f --initrd i",
            "3M --flat f",
            "4G --flat f",
            "256 --flat f",
            "99999999999999G --flat f",
            "256M --flat f --clock never",
            "256M --flat f --preserve disk",
            "256M --flat f --cpus 0",
            "256M --flat f --cpus 9",
        ] {
            assert!(parse(&format!("{run} {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ram_alone_goes_along_unless_it_is_said_otherwise() {
        let line = "luo-vmm run vm --memory 256M --flat f";
        let run = |line: &str| {
            let What::Run(run) = Cli::parse_from(line.split(' ')).command;
            wanted(run).unwrap().preserve
        };
        assert_eq!(run(line), preserved::Choice::Ram);
        let machine = format!("{line} --preserve machine");
        assert_eq!(run(&machine), preserved::Choice::Machine);
    }

    #[test]
    fn a_guests_clocks_tell_the_truth_unless_it_is_said_otherwise() {
        let line = "luo-vmm run vm --memory 256M --flat f";
        let run = |line: &str| {
            let What::Run(run) = Cli::parse_from(line.split(' ')).command;
            wanted(run).unwrap().clock
        };
        assert_eq!(run(line), Choice::GoOn);
        assert_eq!(run(&format!("{line} --clock stand")), Choice::Stand);
    }
}
