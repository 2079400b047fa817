// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demonstration with a guest, in a real kernel: QEMU in QEMU.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use luo_lab::build::guest::target_directory;
use luo_lab::judge::timeline::Timeline;
use luo_lab::judge::{self, Case};
use luo_lab::lab::Lab;
use luo_lab::room::Needs;
use luo_lab::run::scenarios;
use luo_lab_protocol::Outcome;

use crate::show;

/// The picture's name in the target folder.
const PICTURE: &str = "demo-vm.svg";

pub(super) fn run(lab: &Lab, show_console: bool) -> Result<bool> {
    let scenario = scenarios::find("demo-vm", scenarios::KEXECS)?;
    lab.ensure_room(Needs::KERNELS)?;
    let recording = lab.run(&scenario, show_console, show::progress)?;
    let mut cases = judge::cases(&scenario, &recording)?;
    let timeline = Timeline::of(&recording);
    let gap = timeline.of_guest();
    // The gap is the demonstration's point; without it there is nothing to show.
    let unmeasured = gap
        .is_none()
        .then(|| "not all marks have arrived".to_owned());
    cases.push(Case::unless("demo-vm::gap measured".to_owned(), unmeasured));
    show::line("");
    for case in &cases {
        show::case(case);
    }
    show::line("\nBy the clock of this machine, which emulates the other one's processors:");
    for (what, time) in [
        ("the guest stood still", gap),
        ("of it kexec to init", timeline.kexec_to_init()),
    ] {
        show::line(&format!("  {what:24} {}", seconds(time)));
    }
    for (index, (release, boot_id)) in judge::boots(&recording).iter().enumerate() {
        let which = if index == 0 { "before" } else { "after " };
        show::line(&format!(
            "{which} the update: kernel {release}, boot_id {boot_id}"
        ));
    }
    if let Some(picture) = recording.file("update.svg") {
        let path = target_directory(&lab.repo)?.join(PICTURE);
        fs::write(&path, picture).with_context(|| path.display().to_string())?;
        show::line(&format!("picture: {}", path.display()));
    }
    show::line(&format!("console: {}\n", recording.log.display()));
    let is_good = cases.iter().all(|case| case.outcome != Outcome::Failed);
    show::line(&sentence(is_good, gap));
    Ok(is_good)
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || "not measured".to_owned(),
        |time| format!("{:6.2} s", time.as_secs_f64()),
    )
}

fn sentence(is_good: bool, gap: Option<Duration>) -> String {
    match (is_good, gap) {
        (true, Some(gap)) => format!(
            "The host has another kernel, and its guest counts on where it was: it stood still for \
             {:.2} s.",
            gap.as_secs_f64()
        ),
        _ => "The demonstration failed: see the cases above.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_never_told_as_a_success() {
        let gap = Some(Duration::from_secs(3));
        assert!(sentence(false, gap).contains("failed"));
        assert!(sentence(true, None).contains("failed"));
        assert!(sentence(true, gap).contains("3.00 s"));
    }
}
