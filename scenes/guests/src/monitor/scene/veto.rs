// SPDX-License-Identifier: MIT OR Apache-2.0
//! Another workload says no, when the guest stands still already. It goes on at once, and the next
//! update takes it along.

use anyhow::{Result, ensure};
use luo_scenes::member::Member;
use luo_varlink::Step;

use crate::monitor::Monitor;

pub(super) fn run(monitor: &mut Monitor, boot: usize) -> Result<()> {
    monitor.needs = vec!["web"];
    let monitor = &*monitor;
    monitor.begin()?;
    monitor.stage.start(&Member {
        name: "web".into(),
        veto: (boot == 0).then_some(Step::Freeze),
        bytes: 4096,
        ..Member::default()
    })?;
    monitor.stage.hear("web", "preserved")?;
    monitor.start()?;
    if boot > 0 {
        monitor.is_completed()?;
        monitor.runs()?;
        return monitor.goes_on();
    }
    monitor.runs()?;
    monitor.goes_on()?;
    let Err(why) = monitor.stage.update();
    let why = format!("{why:#}");
    ensure!(why.contains("'web' vetoes at freeze"), "{why}");
    for line in ["state is written: ", "the update is called off: "] {
        ensure!(monitor.lines(line) == 1, "{line}: {}", monitor.log());
    }
    monitor.goes_on()?;
    monitor.runs()?;
    monitor.jump()
}
