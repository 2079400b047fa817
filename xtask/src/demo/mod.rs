// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask demo`: one update, told as a story: under the simulator, or with
//! `--kexec` in a real kernel.

mod kexec;
mod simulated;

use anyhow::Result;
use luo_lab::lab::Lab;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do it in a real kernel, in a virtual machine, with a real kexec
    #[arg(long)]
    kexec: bool,
    /// Show the kernel's console too
    #[arg(long, requires = "kexec")]
    show_console: bool,
}

pub(crate) fn run(lab: &Lab, args: &Args) -> Result<bool> {
    if args.kexec {
        kexec::run(lab, args.show_console)
    } else {
        simulated::run()
    }
}
