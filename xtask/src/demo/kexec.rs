// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demonstration in a real kernel.

use anyhow::Result;
use luo_lab::judge::timeline::Timeline;
use luo_lab::judge::{self, Case};
use luo_lab::lab::Lab;
use luo_lab::room::Needs;
use luo_lab::run::scenarios;
use luo_lab_protocol::Outcome;

use crate::show;

pub(super) fn run(lab: &Lab, show_console: bool) -> Result<bool> {
    let scenario = scenarios::find("demo", scenarios::KEXECS)?;
    lab.ensure_room(Needs::KERNELS)?;
    let recording = lab.run(&scenario, show_console, show::progress)?;
    let cases = judge::cases(&scenario, &recording)?;
    show::line("");
    for case in &cases {
        show::case(case);
    }

    let timeline = Timeline::of(&recording);
    show::line(&format!("\n{}", timeline.render()));
    for (index, (release, boot_id)) in judge::boots(&recording).iter().enumerate() {
        let which = if index == 0 { "before" } else { "after " };
        show::line(&format!(
            "{which} the update: kernel {release}, boot_id {boot_id}"
        ));
    }
    show::line(&format!("console: {}\n", recording.log.display()));

    // The blackout is the demo's point; without it there is nothing to show.
    let unmeasured = timeline
        .blackout()
        .is_none()
        .then(|| "not all marks have arrived".to_owned());
    let measured = Case::unless("demo::blackout measured".to_owned(), unmeasured);
    let good = cases
        .iter()
        .chain([&measured])
        .all(|case| case.outcome != Outcome::Failed);
    show::line(&sentence(good, &timeline, &judge::boots(&recording)));
    Ok(good)
}

fn sentence(good: bool, timeline: &Timeline, boots: &[(&str, &str)]) -> String {
    match (good, timeline.blackout(), boots) {
        (true, Some(blackout), [(before, _), .., (after, _)]) => format!(
            "The service moved from kernel {before} to {after} with its memory intact and was away for {:.2} s.",
            blackout.as_secs_f64()
        ),
        _ => "The demo failed: see the cases above.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_never_told_as_a_success() {
        assert!(
            sentence(false, &Timeline::default(), &[("a", "1"), ("b", "2")]).contains("failed")
        );
        assert!(sentence(true, &Timeline::default(), &[("a", "1"), ("b", "2")]).contains("failed"));
    }
}
