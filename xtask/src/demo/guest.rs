// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demonstration with guests, in a real kernel: QEMU in QEMU, with a distribution's Linux in each.

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

/// How many guests there are.
const GUESTS: usize = 2;

pub(super) fn run(lab: &Lab, show_console: bool) -> Result<bool> {
    let scenario = scenarios::find("demo-vm", scenarios::KEXECS)?;
    lab.ensure_room(Needs::KERNELS)?;
    show::line("==> a machine with two guests is emulated: this takes a minute or two");
    let recording = lab.run(&scenario, show_console, show::progress)?;
    let mut cases = judge::cases(&scenario, &recording)?;
    let timeline = Timeline::of(&recording);
    let gaps = timeline.of_guests();
    let longest = longest(&gaps);
    // The gap is the demonstration's point; without it there is nothing to show.
    let unmeasured = longest
        .is_none()
        .then(|| "not all marks have arrived".to_owned());
    cases.push(Case::unless("demo-vm::gap measured".to_owned(), unmeasured));
    show::line("");
    for case in &cases {
        show::case(case);
    }
    show::line("\nWhat the host saw, by the clock of this machine, which emulates its processors:");
    for (name, gap) in gaps {
        show::line(&told(&format!("the {name} stood still"), gap));
    }
    show::line(&told("of it kexec to init", timeline.kexec_to_init()));
    let boots = judge::boots(&recording);
    for (index, (release, boot_id)) in boots.iter().enumerate() {
        let which = if index == 0 { "before" } else { "after" };
        show::line(&format!(
            "  {:33} {boot_id}, kernel {release}",
            format!("boot_id {which}")
        ));
    }
    if let Some(views) = recording.file("guests.txt") {
        show::line(&format!("\n{views}"));
    }
    if let Some(picture) = recording.file("update.svg") {
        let path = target_directory(&lab.repo)?.join(PICTURE);
        fs::write(&path, picture).with_context(|| path.display().to_string())?;
        show::line(&format!("picture: {}", path.display()));
    }
    show::line(&format!("console: {}\n", recording.log.display()));
    let is_good = cases.iter().all(|case| case.outcome != Outcome::Failed);
    show::line(&sentence(is_good, longest));
    Ok(is_good)
}

/// The longest gap, if that of each guest was measured.
fn longest(gaps: &[(&str, Option<Duration>)]) -> Option<Duration> {
    let measured: Option<Vec<_>> = gaps.iter().map(|(_, gap)| *gap).collect();
    let measured = measured.filter(|gaps| gaps.len() == GUESTS)?;
    measured.into_iter().max()
}

fn told(what: &str, time: Option<Duration>) -> String {
    let time = time.map_or_else(
        || "not measured".to_owned(),
        |time| format!("{:.2} s", time.as_secs_f64()),
    );
    format!("  {what:33} {time}")
}

fn sentence(is_good: bool, gap: Option<Duration>) -> String {
    match (is_good, gap) {
        (true, Some(gap)) => format!(
            "The host has another kernel, and its guests have theirs: they stood still for {:.2} s, and their \
             connection is the one that they had.",
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

    #[test]
    fn a_guest_without_a_gap_leaves_nothing_to_show() {
        let [one, other] = [3, 4].map(Duration::from_secs).map(Some);
        assert_eq!(longest(&[("server", one), ("client", other)]), other);
        assert_eq!(longest(&[("server", one), ("client", None)]), None);
        assert_eq!(longest(&[("server", one)]), None);
        assert_eq!(longest(&[]), None);
    }
}
