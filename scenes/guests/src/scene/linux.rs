// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two guests with a distribution's own Linux go through updates with a TCP connection between them: no
//! record is lost, none of them connects anew, and their memory is what it was.

use anyhow::{Result, ensure};

use crate::linux::Side;
use crate::linux::pair::Pair;
use crate::linux::view::{self, View};
use crate::machine::Machine;

pub(super) fn run(machine: &mut Machine, boot: usize) -> Result<()> {
    Pair::keep(machine);
    machine.begin()?;
    let pair = Pair::start(machine)?;
    if boot > 0 {
        machine.is_completed()?;
    }
    pair.run()?;
    pair.go_on()?;
    if boot > 0 {
        let views = pair.views()?;
        view::render(&views)
            .lines()
            .for_each(|line| machine.say(line));
        views
            .iter()
            .try_for_each(|view| clocks_stood(&pair, view))?;
        for side in Side::BOTH {
            let guest = pair.guest(side);
            ensure!(guest.lines("resumed: ") == boot, "{}", guest.log());
        }
    }
    match boot {
        2 => pair.end(),
        _ => machine.jump(),
    }
}

/// The guest's monotonic clock stood with it, however busy the machine was before and since.
fn clocks_stood(pair: &Pair, view: &View) -> Result<()> {
    let stood = pair.guest(view.side).stood_still()?;
    let [monotonic, ..] = view.pauses;
    ensure!(
        monotonic < stood,
        "the {}'s monotonic clock went on for {} ms, and it stood still for {} ms",
        view.side.name(),
        monotonic.as_millis(),
        stood.as_millis()
    );
    Ok(())
}
