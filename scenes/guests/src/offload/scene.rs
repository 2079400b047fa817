// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to a guest of luo-ch, boot by boot.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use anyhow::{Result, ensure};
use luo_monitor::point::Point;
use luo_scenes::member::Member;
use luo_varlink::Step;

use super::Offload;
use super::peer::Fault;
use crate::watch::update_up_to;

/// A scene. Its last boot is the one in which it ends without a jump.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// In how many boots it plays.
    pub boots: usize,
    /// Plays what happens in a boot, counted from zero. It does not return if that ends with a
    /// jump.
    pub play: fn(&mut Offload, usize) -> Result<()>,
}

/// All of them.
pub const SCENES: &[Scene] = &[
    scene("ch-update", 3, update),
    scene("ch-veto", 2, veto),
    scene("ch-refused", 2, refused),
    scene("ch-not-sent", 1, not_sent),
    scene("ch-kills-before", 2, kills_before),
    scene("ch-kills-after", 4, kills_after),
];

const fn scene(
    name: &'static str,
    boots: usize,
    play: fn(&mut Offload, usize) -> Result<()>,
) -> Scene {
    Scene { name, boots, play }
}

impl Scene {
    /// The scene of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        SCENES.iter().find(|scene| scene.name == name)
    }
}

/// What goes over the wire in an update, as it was when this was written.
const RECORD: &str = include_str!("../../golden/offload.txt");

/// Two updates in a row: the guest counts on in the memory that it had.
fn update(machine: &mut Offload, boot: usize) -> Result<()> {
    machine.begin()?;
    // The one that hands over after the second boot is of an earlier version.
    machine.fault = (boot == 1).then_some(Fault::AnswersLate);
    machine.start()?;
    if boot > 0 {
        machine.is_completed()?;
        ensure!(machine.lines("resumed: ") == boot, "{}", machine.log());
        let record = fs::read_to_string(machine.path("record"))?;
        ensure!(record == RECORD, "another conversation:\n{record}");
        fs::remove_file(machine.path("record"))?;
    }
    machine.runs()?;
    machine.counts_on()?;
    match boot {
        2 => Ok(()),
        _ => machine.jump(),
    }
}

/// Another workload says no, when the guest was handed over already. It goes on at once, and the
/// next update takes it along.
fn veto(machine: &mut Offload, boot: usize) -> Result<()> {
    machine.needs = vec!["web"];
    let machine = &*machine;
    machine.begin()?;
    machine.stage.start(&Member {
        name: "web".into(),
        veto: (boot == 0).then_some(Step::Freeze),
        bytes: 4096,
        ..Member::default()
    })?;
    machine.stage.hear("web", "preserved")?;
    machine.start()?;
    if boot > 0 {
        machine.is_completed()?;
        machine.runs()?;
        return machine.counts_on();
    }
    machine.runs()?;
    machine.counts_on()?;
    let Err(why) = machine.stage.update();
    let why = format!("{why:#}");
    ensure!(why.contains("'web' vetoes at freeze"), "{why}");
    for line in ["state is written: ", "the update is called off: "] {
        ensure!(machine.lines(line) == 1, "{line}: {}", machine.log());
    }
    machine.counts_on()?;
    machine.runs()?;
    machine.jump()
}

/// The next cloud-hypervisor does not take the guest, twice: nothing is lost, and one that takes
/// it goes on.
fn refused(machine: &mut Offload, boot: usize) -> Result<()> {
    machine.begin()?;
    if boot > 0 {
        for fault in [Fault::RefusesState, Fault::RefusesEnd] {
            machine.fault = Some(fault);
            machine.start()?;
            let status = machine.ended()?;
            ensure!(status.code() == Some(65), "{status}: {}", machine.log());
        }
        ensure!(machine.lines("memory is kept") == 2, "{}", machine.log());
        machine.fault = None;
    }
    machine.start()?;
    if boot > 0 {
        machine.is_completed()?;
    }
    machine.runs()?;
    machine.counts_on()?;
    match boot {
        1 => Ok(()),
        _ => machine.jump(),
    }
}

/// A cloud-hypervisor that does not hand its guest over has the update refused, and keeps it.
fn not_sent(machine: &mut Offload, _boot: usize) -> Result<()> {
    machine.begin()?;
    machine.fault = Some(Fault::SendsNothing);
    machine.start()?;
    machine.runs()?;
    machine.counts_on()?;
    let Err(why) = machine.stage.update();
    let why = format!("{why:#}");
    ensure!(why.contains("handing the guest over"), "{why}");
    machine.counts_on()?;
    machine.runs()
}

/// SIGKILL for luo-ch at each step before the jump: the guest goes on, and the next luo-ch finds
/// it.
fn kills_before(machine: &mut Offload, boot: usize) -> Result<()> {
    machine.begin()?;
    if boot > 0 {
        machine.start()?;
        machine.is_completed()?;
        machine.runs()?;
        return machine.counts_on();
    }
    let points = Point::ALL.into_iter();
    let points = points.filter(|point| (Point::Prepare..=Point::Cancel).contains(point));
    for point in points {
        machine.start_and_kill(Some(point))?;
        machine.runs()?;
        machine.counts_on()?;
        update_up_to(&machine.stage, point)?;
        killed(machine)?;
        machine.is_forgotten()?;
        machine.say(&format!("killed at {}", point.word()));
    }
    machine.start()?;
    machine.runs()?;
    machine.counts_on()?;
    machine.jump()
}

/// SIGKILL for luo-ch at each step after the jump, but the one between the mark of use and the
/// last word.
fn kills_after(machine: &mut Offload, boot: usize) -> Result<()> {
    machine.begin()?;
    let points: &[Point] = match boot {
        0 => &[],
        1 => &[
            Point::Registered,
            Point::Claimed,
            Point::Loaded,
            Point::Finished,
        ],
        2 => &[Point::Resumed],
        _ => &[Point::Restored],
    };
    for point in points {
        machine.start_and_kill(Some(*point))?;
        killed(machine)?;
        machine.say(&format!("hop {boot}: killed at {}", point.word()));
    }
    machine.start()?;
    if boot > 0 {
        machine.is_completed()?;
    }
    machine.runs()?;
    machine.counts_on()?;
    match boot {
        3 => Ok(()),
        _ => machine.jump(),
    }
}

fn killed(machine: &Offload) -> Result<()> {
    let status = machine.ended()?;
    ensure!(status.signal() == Some(9), "{status}\n{}", machine.log());
    Ok(())
}
