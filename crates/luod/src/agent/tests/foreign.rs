// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel that is in an update that luod does not know of.

use luo_sys::State as KernelState;
use luo_varlink::admin::Error as Refusal;
use luo_varlink::{CheckStatus, Outcome};

use super::*;
use crate::decide::names::OWN_SESSION;

fn running_state(report: &luo_varlink::Report) -> Option<&luo_varlink::Check> {
    let mut checks = report.checks.iter();
    checks.find(|check| check.name == "running-state")
}

#[test]
fn an_update_of_another_program_is_told_and_can_be_cancelled_by_force() {
    run(async {
        for state in [KernelState::Prepared, KernelState::Frozen] {
            let world = World::new(OPEN, Fake::default());
            let agent = &world.agent;
            world.kernel.is_brought_into(state, &["theirs"]);
            let report = agent.check_target(&world.target).await;
            let check = running_state(&report).unwrap();
            assert_eq!(check.status, CheckStatus::Failed);
            let remedy = check.remedy.as_deref().unwrap();
            assert!(remedy.contains("luoctl cancel --force"), "{remedy}");
            let refused = agent.prepare(&world.target).await.unwrap_err();
            assert!(matches!(refused, Refusal::CheckFailed { .. }), "{refused}");
            // A failed update of luod's undoes what is luod's: this stays for the test.
            world.kernel.is_brought_into(state, &["theirs"]);
            let warnings = agent.status().await.warnings.unwrap();
            assert!(warnings[0].contains(&state.to_string()), "{warnings:?}");

            let refused = agent.cancel(None).await.unwrap_err();
            assert!(matches!(refused, Refusal::Illegal { .. }), "{refused}");
            assert_eq!(world.kernel.foreign(), Some(state), "not without force");
            agent.cancel_by_force(None).await.unwrap();
            assert_eq!(world.kernel.foreign(), None);
            let report = agent.check_target(&world.target).await;
            assert!(running_state(&report).is_none_or(|check| check.status == CheckStatus::Ok));
            assert!(agent.status().await.warnings.is_none());
            agent.prepare(&world.target).await.unwrap();
            // By force an update of its own ends as any other.
            agent.cancel_by_force(None).await.unwrap();
            assert_eq!(world.phase(), Phase::Normal);
            let refused = agent.cancel_by_force(None).await.unwrap_err();
            assert!(matches!(refused, Refusal::Illegal { .. }), "{refused}");
        }
    });
}

#[test]
fn an_update_that_luod_has_lost_its_note_of_is_cancelled_at_its_start() {
    run(async {
        for (closed, is_ours) in [(OWN_SESSION, true), ("theirs", false)] {
            let kernel = Fake::default();
            kernel.is_brought_into(KernelState::Prepared, &[closed]);
            let world = World::new(OPEN, kernel.clone());
            world.agent.start(Vec::new()).await.unwrap();
            assert_eq!(kernel.foreign().is_none(), is_ours, "{closed}");
            let updates = world.agent.history().last(1).unwrap().updates;
            let outcome = updates.first().map(|entry| entry.outcome);
            assert_eq!(outcome, is_ours.then_some(Outcome::Cancelled));
        }
    });
}

/// The machine's files tell nothing of them here, as on the simulator.
#[test]
fn sessions_of_another_program_are_named_before_an_update() {
    run(async {
        let kernel = Fake::with_incoming(&["theirs", "more"]);
        kernel.lists_incoming();
        let world = World::new(OPEN, kernel);
        let report = world.agent.check_target(&world.target).await;
        let check = running_state(&report).unwrap();
        assert_eq!(check.status, CheckStatus::Warning);
        for name in ["theirs", "more"] {
            assert!(check.found.contains(name), "{}", check.found);
        }
        assert!(report.ok, "an update can begin: {report:?}");
    });
}

/// Of two sessions of one name the kernel hands over the new one.
#[test]
fn a_session_that_a_new_one_of_its_name_would_replace_stops_an_update() {
    run(async {
        for is_ignored in [false, true] {
            let kernel = Fake::with_incoming(&["db.ram", "other"]);
            kernel.lists_incoming();
            let ignore = "|ignore = [\"running-sessions\"]";
            let world = match is_ignored {
                true => World::with(OPEN, kernel, ignore),
                false => World::new(OPEN, kernel),
            };
            world.agent.start(Vec::new()).await.unwrap();
            let (world, mut peer) = with_one_in(world).await;
            let warnings = world.agent.status().await.warnings.unwrap();
            let lost = warnings.iter().find(|warning| warning.contains("drops"));
            assert!(
                lost.unwrap().contains(": db.ram: a program"),
                "{warnings:?}"
            );
            assert!(
                warnings
                    .iter()
                    .any(|warning| warning.contains(": db.ram, other: ")),
                "{warnings:?}"
            );
            let preparing = prepares(&world);
            if is_ignored {
                agrees(&world, &mut peer, Step::Prepare).await;
                preparing.await.unwrap().unwrap();
                let record = Record::decode(&world.kernel.record()).unwrap();
                let mut lines = record.timeline.iter();
                let is_told = lines.any(|line| {
                    let detail = line.detail.as_deref().unwrap_or_default();
                    detail.contains("drops") && detail.ends_with(": db.ram")
                });
                assert!(is_told, "{:?}", record.timeline);
                continue;
            }
            let refused = preparing.await.unwrap().unwrap_err();
            let Refusal::CheckFailed { report } = refused else {
                panic!("{refused}");
            };
            let mut failed = report
                .checks
                .iter()
                .filter(|check| check.status == CheckStatus::Failed);
            assert_eq!(failed.next().unwrap().name, "running-sessions");
            // The old one goes, and the new one stays.
            let released = world.agent.release_or_force("db.ram", true).await;
            released.unwrap();
            assert!(world.kernel.incoming().contains("other"));
            assert!(!world.kernel.incoming().contains("db.ram"));
            assert!(world.agent.check_target(&world.target).await.ok);
        }
    });
}

#[test]
fn mainline_is_said_to_tell_nothing_of_them() {
    run(async {
        let world = World::new(OPEN, Fake::mainline());
        let report = world.agent.check_target(&world.target).await;
        let check = running_state(&report).unwrap();
        assert_eq!(check.status, CheckStatus::Unknown);
        assert!(
            check.found.contains("is dropped by the update"),
            "{}",
            check.found
        );
        assert!(report.ok, "{report:?}");
    });
}
