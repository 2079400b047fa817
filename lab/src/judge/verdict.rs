// SPDX-License-Identifier: MIT OR Apache-2.0
//! Turns what a machine said into test cases that passed or failed.

use std::time::Duration;

use anyhow::Result;
use luo_lab_protocol::{Event, Outcome};

use crate::build::variant::Variant;
use crate::judge::console;
use crate::run::qemu::{Ended, Recording};
use crate::run::scenario::{Expect, Scenario};

/// What guests report of a kernel with a checker of leaks, in each scenario.
const NO_LEAKS: &str = "no-leaks";

/// How much of a console is shown for a scenario that did not end well.
const TAIL_LINES: usize = 25;

/// A test case that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// `scenario::case`.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen; empty when there is nothing to say.
    pub detail: String,
}

impl Case {
    /// A case that failed if there is something to complain of.
    #[must_use]
    pub fn unless(name: String, complaint: Option<String>) -> Self {
        let outcome = if complaint.is_some() {
            Outcome::Failed
        } else {
            Outcome::Passed
        };
        Self {
            name,
            outcome,
            detail: complaint.unwrap_or_default(),
        }
    }

    /// A case that failed.
    #[must_use]
    pub fn failed(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            outcome: Outcome::Failed,
            detail: detail.into(),
        }
    }
}

/// All cases of a run: the guest's own, and what the host makes of the rest.
///
/// # Errors
/// A console rule of the scenario is no regular expression.
pub fn cases(scenario: &Scenario, recording: &Recording) -> Result<Vec<Case>> {
    let mut cases = guest_cases(scenario, recording);
    let own = |what: &str| format!("{}::{what}", scenario.name);
    let few = too_few(scenario, &cases).or_else(|| unexpected(scenario, &cases));
    cases.push(Case::unless(
        own("ran to its end"),
        unfinished(scenario, recording, &cases).or(few),
    ));
    cases.push(Case::unless(
        own("kernels in order"),
        wrong_kernels(scenario, recording),
    ));

    let lines: Vec<_> = recording.console_lines().collect();
    let trouble = console::trouble(lines.iter().copied(), &scenario.console)?;
    let trouble = trouble.map(|line| {
        format!(
            "{line}\n    the whole console is in {}",
            recording.log.display()
        )
    });
    cases.push(Case::unless(own("console clean"), trouble));
    if !(scenario.console.must.is_empty() && scenario.console.must_not.is_empty()) {
        let violations = console::violations(&lines, &scenario.console)?;
        let complaint = (!violations.is_empty()).then(|| violations.join("\n    "));
        cases.push(Case::unless(own("console as expected"), complaint));
    }
    Ok(cases)
}

/// The guest's cases under the scenario's own name: two scenarios may share
/// one in the guest.
fn guest_cases(scenario: &Scenario, recording: &Recording) -> Vec<Case> {
    let case = |event: &Event| match event {
        Event::Case {
            name,
            outcome,
            detail,
        } => {
            let short = name
                .split_once("::")
                .map_or(name.as_str(), |(_, short)| short);
            Some(Case {
                name: format!("{}::{short}", scenario.name),
                outcome: *outcome,
                detail: detail.clone(),
            })
        }
        _ => None,
    };
    recording
        .events
        .iter()
        .filter_map(|event| case(&event.what))
        .collect()
}

fn unfinished(scenario: &Scenario, recording: &Recording, cases: &[Case]) -> Option<String> {
    let done = recording.events.iter().find_map(|event| match event.what {
        Event::Done { ok } => Some(ok),
        _ => None,
    });
    let tail = || {
        format!(
            ". The console ended with:\n{}\n    the whole console is in {}",
            recording.console_tail(TAIL_LINES),
            recording.log.display()
        )
    };
    match (&recording.ended, done) {
        (_, Some(true)) => None,
        (_, Some(false)) if cases.iter().any(|case| case.outcome == Outcome::Failed) => None,
        (_, Some(false)) => Some("the guest says that it failed, and not why".to_owned() + &tail()),
        (Ended::TimedOut, None) => {
            Some(format!("no end within {} s", seconds(scenario.timeout)) + &tail())
        }
        (Ended::Broken(why), None) => Some(why.clone()),
        (Ended::Off, None) => {
            Some(format!("the machine went off after {} s", seconds(recording.took)) + &tail())
        }
    }
}

fn too_few(scenario: &Scenario, cases: &[Case]) -> Option<String> {
    if cases.len() < scenario.expect.cases {
        return Some(format!(
            "{} cases were reported and at least {} expected",
            cases.len(),
            scenario.expect.cases
        ));
    }
    let reported = |name: &str| {
        cases
            .iter()
            .any(|case| case.name == format!("{}::{name}", scenario.name))
    };
    let missing: Vec<_> = scenario
        .expect
        .named
        .iter()
        .copied()
        .filter(|name| !reported(name))
        .collect();
    (!missing.is_empty()).then(|| format!("these cases were not reported: {}", missing.join(", ")))
}

/// What a scenario has reported beside what it must, or twice, if it says what that is.
fn unexpected(scenario: &Scenario, cases: &[Case]) -> Option<String> {
    let Expect { named, exactly, .. } = scenario.expect;
    if !exactly {
        return None;
    }
    let mut left = named.to_vec();
    let mut surplus = Vec::new();
    for case in cases {
        let short = case.name.split_once("::").map_or("", |(_, short)| short);
        match left.iter().position(|name| *name == short) {
            Some(at) => drop(left.swap_remove(at)),
            None => surplus.push(short),
        }
    }
    // A checker that has found nothing says so.
    surplus.retain(|name| *name != NO_LEAKS);
    (!surplus.is_empty()).then(|| {
        let surplus = surplus.join(", ");
        format!("these cases were reported and not expected, or twice: {surplus}")
    })
}

/// Whether each boot was the kernel that it should have been.
fn wrong_kernels(scenario: &Scenario, recording: &Recording) -> Option<String> {
    let boots: Vec<_> = boots(recording);
    if boots.is_empty() {
        return Some("no kernel reported a boot".to_owned());
    }
    if let Some(kexecs) = scenario.expect.kexecs {
        let seen = boots.len() - 1;
        if seen != kexecs as usize {
            return Some(format!("{seen} kexecs were seen and {kexecs} expected"));
        }
    }
    for (index, (release, boot_id)) in boots.iter().enumerate() {
        let expected = scenario.variant_at(index);
        if !Variant::find(expected).is_ok_and(|variant| variant.owns_release(release)) {
            return Some(format!(
                "boot {index} was {release} and should have been the variant {expected}"
            ));
        }
        if boots[..index].iter().any(|(_, earlier)| earlier == boot_id) {
            return Some(format!(
                "boot {index} has the boot_id of an earlier one: no kexec took place"
            ));
        }
    }
    None
}

/// Release and `boot_id` of each boot in order.
#[must_use]
pub fn boots(recording: &Recording) -> Vec<(&str, &str)> {
    let boot = |event: &'_ Event| matches!(event, Event::Boot { .. });
    let events = recording
        .events
        .iter()
        .map(|event| &event.what)
        .filter(|event| boot(event));
    events
        .filter_map(|event| match event {
            Event::Boot {
                release, boot_id, ..
            } => Some((release.as_str(), boot_id.as_str())),
            _ => None,
        })
        .collect()
}

fn seconds(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::run::qemu::Stamped;
    use crate::run::scenarios;

    fn boot(release: &str, boot_id: &str) -> Event {
        Event::Boot {
            boot: 0,
            release: release.into(),
            boot_id: boot_id.into(),
            version: String::new(),
        }
    }

    fn case(name: &str, outcome: Outcome) -> Event {
        Event::Case {
            name: name.into(),
            outcome,
            detail: "why".into(),
        }
    }

    fn recording(events: Vec<Event>, console: &[&str], ended: Ended) -> Recording {
        let at = Duration::ZERO;
        Recording {
            events: events
                .into_iter()
                .map(|what| Stamped { at, what })
                .collect(),
            noise: Vec::new(),
            console: console
                .iter()
                .map(|&line| Stamped {
                    at,
                    what: line.to_owned(),
                })
                .collect(),
            ended,
            took: Duration::from_secs(3),
            processor: Duration::from_secs(2),
            log: PathBuf::from("/log"),
        }
    }

    fn failures(cases: &[Case]) -> Vec<&str> {
        cases
            .iter()
            .filter(|case| case.outcome == Outcome::Failed)
            .map(|case| case.name.as_str())
            .collect()
    }

    #[test]
    fn a_good_run_is_good_and_cases_bear_the_scenario_name() {
        let scenario = scenarios::find("handover-c-to-rust", 1).unwrap();
        let events = vec![
            boot("7.3.4-luo-c", "1"),
            boot("7.3.4-luo-rust", "2"),
            case("handover::preserve-again", Outcome::Passed),
            case("handover::not-for-users", Outcome::Passed),
            Event::Done { ok: true },
        ];
        let cases = cases(&scenario, &recording(events, &["fine"], Ended::Off)).unwrap();
        assert!(failures(&cases).is_empty(), "{cases:?}");
        assert_eq!(cases[0].name, "handover-c-to-rust::preserve-again");
    }

    #[test]
    fn no_other_case_and_none_twice() {
        let mut scenario = scenarios::find("demo", 1).unwrap();
        scenario.expect.named = &["a", "b"];
        scenario.expect.exactly = true;
        let complaint = |names: &[&str]| {
            let case = |name: &&str| Case::unless(format!("demo::{name}"), None);
            let cases: Vec<_> = names.iter().map(case).collect();
            too_few(&scenario, &cases).or_else(|| unexpected(&scenario, &cases))
        };
        assert_eq!(complaint(&["b", "no-leaks", "a"]), None);
        assert!(complaint(&["a", "c"]).unwrap().ends_with("reported: b"));
        assert!(complaint(&["a", "b", "c"]).unwrap().ends_with("twice: c"));
        assert!(complaint(&["a", "b", "a"]).unwrap().ends_with("twice: a"));
    }

    #[test]
    fn silence_fails() {
        let scenario = scenarios::find("demo", 1).unwrap();
        let cases = cases(
            &scenario,
            &recording(Vec::new(), &["[ 1.0] Kernel panic - x"], Ended::TimedOut),
        )
        .unwrap();
        assert_eq!(
            failures(&cases),
            [
                "demo::ran to its end",
                "demo::kernels in order",
                "demo::console clean"
            ]
        );
        assert!(
            cases[0].detail.contains("no end within 240 s")
                && cases[0].detail.contains("Kernel panic")
        );
    }

    #[test]
    fn the_same_kernel_again_fails() {
        let scenario = scenarios::find("demo", 1).unwrap();
        let run = |second| {
            let events = vec![
                boot("7.3.4-luo-rust", "1"),
                second,
                case("demo::x", Outcome::Passed),
                Event::Done { ok: true },
            ];
            cases(&scenario, &recording(events, &[], Ended::Off)).unwrap()
        };
        assert_eq!(
            failures(&run(boot("7.3.4-luo-rust", "2"))),
            ["demo::kernels in order"]
        );
        assert_eq!(
            failures(&run(boot("7.3.4-luo-rust-next", "1"))),
            ["demo::kernels in order"]
        );
        assert!(failures(&run(boot("7.3.4-luo-rust-next", "2"))).is_empty());
    }
}
