// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two guests with a distribution's own Linux go through updates with a TCP connection between them: no
//! record is lost, none of them connects anew, and their memory is what it was.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::linux::Side;
use crate::linux::pair::Pair;
use crate::linux::view::{self, View};
use crate::machine::Machine;

/// How long a guest may take to notice that it goes on, by its own clocks. They stand with it, and a kexec
/// takes longer.
const UNNOTICED: Duration = Duration::from_secs(2);

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
        views.iter().try_for_each(unnoticed)?;
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

/// The guest's monotonic clock stood with it.
fn unnoticed(view: &View) -> Result<()> {
    let [monotonic, ..] = view.pauses;
    ensure!(
        monotonic < UNNOTICED,
        "the {}'s monotonic clock went on for {} ms",
        view.side.name(),
        monotonic.as_millis()
    );
    Ok(())
}
