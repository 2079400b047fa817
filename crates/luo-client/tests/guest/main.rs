// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program that the tests run under the simulator.
#![forbid(unsafe_code)]

mod agent;
mod regions;
#[path = "../wire.rs"]
mod wire;

use luo_client::kernel::kexec;

pub(crate) type Result<T> = core::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let boot: usize = std::env::var("LUO_SIM_BOOT")?.parse()?;
    match *arguments.as_slice() {
        ["agent", boots, program] => agent::run(program, boot, boots.parse()?),
        [scenario] => regions::run(scenario, boot),
        _ => Err(format!("no such scenario: {arguments:?}").into()),
    }
}

/// Jumps into the next kernel. Any file is one.
pub(crate) fn jump() -> Result<()> {
    let kernel = std::fs::File::open("/proc/self/exe")?;
    kexec::load(&kernel, None::<std::fs::File>, c"")?;
    Err(kexec::execute().into())
}
