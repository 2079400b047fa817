// SPDX-License-Identifier: MIT OR Apache-2.0
//! luod is started anew after the jump, and a note of it is damaged.

use std::time::Duration;

use luo_varlink::{CheckStatus, HistoryEntry, Outcome, WorkloadState};

use super::*;
use crate::decide::record::MAX_LENGTH;
use crate::journal::notes::Owner;
use crate::manager::store::Stored;

/// Of these `done` has finished what it had, `busy` has taken its session back, and `away` has
/// not come.
const THREE: &[(&str, &[&str], &[&str])] = &[
    ("done", &["done"], &[]),
    ("busy", &["busy"], &["done"]),
    ("away", &["away"], &[]),
];

/// A world in which luod was started anew, with what stands in the note then; `None` if it is
/// gone.
async fn started_with(kernel: &Fake, note: Option<&str>) -> World {
    let world = World::with(OPEN, kernel.clone(), "restore_deadline = 5|");
    let agent = &world.agent;
    let bytes = record(THREE).encode(MAX_LENGTH).unwrap();
    agent.notes.begin_record(&bytes).unwrap();
    let path = agent.notes.folder().join("progress");
    match note {
        Some(text) => std::fs::write(path, text).unwrap(),
        None => std::fs::remove_file(path).unwrap(),
    }
    let owner = Owner {
        workload: "busy".into(),
        identity: identity(990),
        needs: vec!["done".into()],
        sessions: vec!["busy".into()],
        incoming: vec!["busy".into()],
        left: false,
        parked: Vec::new(),
    };
    agent.notes.set_owner(&owner).unwrap();
    let stored = Stored {
        name: "busy".into(),
        session: kernel.retrieve("busy").unwrap().into(),
        is_it: true,
    };
    agent.start(vec![stored]).await.unwrap();
    world
}

fn kernel() -> Fake {
    let kernel = Fake::with_incoming(&["busy", "away"]);
    kernel.lists_incoming();
    kernel
}

async fn state(world: &World, name: &str) -> WorkloadState {
    let workloads = world.agent.status().await.workloads;
    let mut named = workloads.iter().filter(|workload| workload.name == name);
    named.next().unwrap().state
}

fn last(world: &World) -> HistoryEntry {
    world.agent.history().last(1).unwrap().updates.remove(0)
}

async fn away_comes_back(world: &World) {
    let mut away = Peer::new(9, 990);
    away.register(world, "away", &[]).unwrap();
    let agent = &world.agent;
    agent.claim(&away.caller, "away").await.unwrap();
    agent.restored(&away.caller).unwrap();
    agent.finish_session(&away.caller, "away").await.unwrap();
}

#[test]
fn what_serves_is_not_asked_again() {
    run(async {
        for note in [Some("{\"restored\":[\"do"), None] {
            let kernel = kernel();
            let world = started_with(&kernel, note).await;
            let agent = &world.agent;
            assert_eq!(state(&world, "done").await, WorkloadState::Restored);
            assert_eq!(state(&world, "away").await, WorkloadState::Waiting);
            let warnings = agent.status().await.warnings.unwrap().concat();
            assert!(warnings.contains("note of who had come back was damaged"));
            let report = agent.check_target(&world.target).await;
            let mut checks = report.checks.iter();
            let check = checks.find(|check| check.name == "notes").unwrap();
            assert_eq!(check.status, CheckStatus::Warning);

            // It connects again, as the client library does, and says that it serves.
            let mut busy = Peer::new(1, 990);
            busy.register(&world, "busy", &["done"]).unwrap();
            agent.restored(&busy.caller).unwrap();
            assert_eq!(state(&world, "busy").await, WorkloadState::Restored);
            agent.finish_session(&busy.caller, "busy").await.unwrap();
            away_comes_back(&world).await;
            assert_eq!(world.phase(), Phase::Normal);
            agent.until_written().await;
            let entry = last(&world);
            assert_eq!(entry.outcome, Outcome::Completed);
            let reason = entry.reason.unwrap();
            assert!(
                reason.contains("note of who had come back was damaged"),
                "{reason}"
            );
            assert!(!reason.contains("not told"), "{reason}");
            assert_eq!(
                kernel.finished(),
                ["away".to_owned(), "busy".to_owned()].into()
            );
        }
    });
}

/// One that speaks Varlink by itself need not say it again.
#[test]
fn what_finishes_serves() {
    run(async {
        let world = started_with(&kernel(), Some("")).await;
        let agent = &world.agent;
        let mut busy = Peer::new(1, 990);
        busy.register(&world, "busy", &["done"]).unwrap();
        assert_eq!(state(&world, "busy").await, WorkloadState::Restoring);
        agent.finish_session(&busy.caller, "busy").await.unwrap();
        assert_eq!(state(&world, "busy").await, WorkloadState::Restored);
        away_comes_back(&world).await;
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn what_is_in_doubt_is_not_late_if_it_is_there() {
    run_fast(async {
        for is_there in [true, false] {
            let world = started_with(&kernel(), Some("junk")).await;
            let agent = &world.agent;
            let mut busy = Peer::new(1, 990);
            if is_there {
                busy.register(&world, "busy", &["done"]).unwrap();
            }
            away_comes_back(&world).await;
            tokio::time::sleep(Duration::from_secs(7)).await;
            until(|| world.phase() == Phase::Normal).await;
            agent.until_written().await;
            let entry = last(&world);
            let reason = entry.reason.unwrap();
            assert!(reason.contains("it is not told: busy"), "{reason}");
            assert_eq!(
                reason.contains("have not come back: busy"),
                !is_there,
                "{reason}"
            );
            let outcome = match is_there {
                true => Outcome::Completed,
                false => Outcome::Incomplete,
            };
            assert_eq!(entry.outcome, outcome);
            assert!(world.kernel.held().contains("busy"), "it is kept for it");
        }
    });
}

/// A further restart knows what the first has found out.
#[test]
fn what_was_found_out_is_noted() {
    run(async {
        let world = started_with(&kernel(), Some("junk")).await;
        let progress = world.agent.notes.progress().unwrap();
        assert_eq!(progress.restored, ["done"]);
        assert_eq!(progress.doubt, ["busy"]);
        assert!(progress.damaged.is_some());
    });
}

#[test]
fn other_notes_that_are_damaged_are_told_of() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let agent = &world.agent;
        let folder = agent.notes.folder().to_owned();
        for note in ["unwritten", "late"] {
            std::fs::write(folder.join(note), "[{").unwrap();
        }
        agent.start(Vec::new()).await.unwrap();
        let warnings = agent.status().await.warnings.unwrap().concat();
        let problems = agent.past(1).await.problems.concat();
        let report = agent.check_target(&world.target).await;
        let checks = report.checks.iter();
        let checks: Vec<_> = checks.filter(|check| check.name == "notes").collect();
        assert_eq!(checks.len(), 2);
        for text in [warnings, problems] {
            assert!(text.contains("disk had not taken is damaged"), "{text}");
            assert!(
                text.contains("late after the last update is damaged"),
                "{text}"
            );
        }
        let kept = std::fs::read_to_string(folder.join("unwritten.damaged"));
        assert_eq!(kept.unwrap(), "[{");
    });
}

/// A record that is there and cannot be read is not one that is not there.
#[test]
fn a_note_that_is_no_file_is_an_unreadable_record() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let agent = &world.agent;
        std::fs::create_dir(agent.notes.folder().join("record")).unwrap();
        agent.start(Vec::new()).await.unwrap();
        assert!(agent.why_unreadable().unwrap().contains("the note of it"));
    });
}
