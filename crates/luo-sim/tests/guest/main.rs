// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the simulator's tests run: an ordinary program that uses live update. It
//! knows nothing of the simulator but the variable that counts the boots.
#![forbid(unsafe_code)]

mod cycle;
mod lifetime;
mod machine;
mod refusals;
mod scale;
mod states;
mod tools;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        ["cycle"] => cycle::cycle(),
        ["carry"] => cycle::carry(),
        ["nothing-arrives"] => cycle::nothing_arrives(),
        ["refused-handover"] => cycle::refused_handover(),
        ["lifetime"] => lifetime::all(),
        ["hold", name] => lifetime::hold(name),
        ["is-held", name] => lifetime::is_held(name),
        ["killed-owner"] => lifetime::killed_owner(),
        ["refusals"] => refusals::files(),
        ["reboots"] => machine::reboots(),
        ["paths"] => machine::paths(),
        ["parameters"] => machine::parameters(),
        ["veto"] => states::veto(),
        ["poll"] => states::poll(),
        ["waits"] => states::waits(),
        ["jumps-in-a-call"] => states::jumps_in_a_call(),
        ["killed-waiting"] => states::killed_waiting(),
        ["wait"] => states::wait(),
        ["prepare"] => states::prepare(),
        ["sessions", count] => scale::sessions(count.parse()?),
        ["exit", code] => std::process::exit(code.parse()?),
        _ => bail!("no such scenario: {arguments:?}"),
    }
}
