// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line. It stands alone, because the man page is made from it, too.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};

/// Runs programs against a simulated Live Update Orchestrator.
///
/// They see a `/dev/liveupdate` with the kernel's very engine behind it, and `reboot` into a kernel
/// that they have loaded starts the next boot with what was preserved. It takes neither root nor a
/// special kernel. Where it differs from a kernel is listed in the documentation of the crate.
#[derive(Parser)]
#[command(name = "luo-sim", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Subcommands,
}

#[derive(Subcommand)]
pub(crate) enum Subcommands {
    /// Runs commands from boot to boot.
    ///
    /// The exit status is that of the last, and 1 if that would be 0 and not all boots and faults
    /// came about. A program is run at each boot until it ends without a kexec, if neither --boots
    /// nor --at-most says how often: one that always jumps never ends.
    Run(Run),
    /// Under `luo-sim run`: loads a kernel and jumps. Returns only if that is refused.
    Kexec(Kexec),
    /// Writes files of a machine with live update into a folder.
    ///
    /// A kernel image is among them: what `luod` looks at before an update, with `root` in
    /// `[checks]`.
    System {
        /// The kernel image is one of mainline's: without this project's orchestrator, and
        /// with mainline's handler of memfds.
        #[arg(long)]
        mainline: bool,
        /// The folder.
        folder: PathBuf,
    },
}

fn one_or_more() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

#[derive(Args)]
pub(crate) struct Run {
    /// A line for the shell, for one boot; once for each boot, in order.
    #[arg(long = "boot", value_name = "CMD", conflicts_with = "program")]
    pub(crate) boots: Vec<OsString>,
    /// Runs so many boots; it is an error if the machine ends before the last.
    #[arg(long = "boots", value_name = "N", value_parser = one_or_more())]
    pub(crate) exactly: Option<usize>,
    /// Ends after so many boots, if the machine has not ended before.
    #[arg(long, value_name = "N", conflicts_with = "exactly", value_parser = one_or_more())]
    pub(crate) at_most: Option<usize>,
    /// Has something go wrong: [BOOT/]STEP[:N]=ACTION. 'help' lists what can. It is an
    /// error if it does not come about.
    #[arg(long = "fault", value_name = "FAULT")]
    pub(crate) faults: Vec<String>,
    /// What random choices follow from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Parameters of the first kernel: liveupdate_openers=many and the like.
    #[arg(long, value_name = "LINE", default_value = "")]
    pub(crate) parameters: String,
    /// A subsystem that takes part in updates.
    #[arg(long = "subsystem", value_name = "NAME")]
    pub(crate) subsystems: Vec<String>,
    /// Adds /dev/luo_forge and /dev/luo_participant, for tests of an orchestrator.
    #[arg(long)]
    pub(crate) test_driver: bool,
    /// Has the kernels say that they have mainline's handler of memfds, for what luod's checks
    /// say of it. What comes back is the same.
    #[arg(long)]
    pub(crate) mainline_memfds: bool,
    /// Writes what happens to standard error.
    #[arg(long)]
    pub(crate) trace: bool,
    /// Writes what happens to a file, as lines of JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace_json: Option<PathBuf>,
    /// Says at the end how long each update took.
    #[arg(long)]
    pub(crate) times: bool,
    /// The program to run at each boot, and its arguments.
    #[arg(last = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct Kexec {
    /// The next kernel's command line.
    #[arg(default_value = "")]
    pub(crate) command_line: String,
}
