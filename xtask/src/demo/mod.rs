// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask demo`: one update, told as a story: under the simulator, or with
//! `--kexec` or `--vm` in a real kernel.

mod guest;
mod kexec;
mod simulated;

use anyhow::Result;
use luo_lab::lab::Lab;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do it in a real kernel, in a virtual machine, with a real kexec
    #[arg(long, group = "real")]
    kexec: bool,
    /// The same with two Linux guests: an unmodified QEMU goes on under the next kernel, and so does their connection
    #[arg(long, group = "real")]
    vm: bool,
    /// Show the kernel's console too
    #[arg(long, requires = "real")]
    show_console: bool,
}

pub(crate) fn run(lab: &Lab, args: &Args) -> Result<bool> {
    if args.vm {
        guest::run(lab, args.show_console)
    } else if args.kexec {
        kexec::run(lab, args.show_console)
    } else {
        simulated::run()
    }
}
