// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates that are under way stand in the history, and those that end with their machine
//! are told of by whoever starts next.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use luo_sys::State as KernelState;
use luo_varlink::{HistoryEntry, Outcome};

use super::*;
use crate::decide::names::OWN_SESSION;
use crate::journal::clock::wall_us;
use crate::journal::history::History;

fn file(world: &World) -> PathBuf {
    let folder = world.agent.config().state_directory.clone();
    folder.join("history.jsonl")
}

/// Lines of the history, as they were written.
fn written(world: &World) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(file(world)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// What an agent has written of an update by the time it is prepared, or about to jump.
async fn left_at(phase: Phase) -> serde_json::Value {
    let (world, _peer) = match phase {
        Phase::Jumping => frozen().await,
        _ => prepared().await,
    };
    world.agent.until_written().await;
    if phase == Phase::Jumping {
        world.agent.jump().await;
    }
    let mut lines = written(&world).into_iter().rev();
    let is_open = |line: &serde_json::Value| line["outcome"] == "under_way";
    lines.find(is_open).unwrap()
}

/// An agent of another boot, or of the same, that finds that.
fn behind(line: &serde_json::Value, is_same_boot: bool, kernel: Fake) -> World {
    let world = World::new(OPEN, kernel);
    let mut line = line.clone();
    if !is_same_boot {
        line["boot"] = "another".into();
    }
    let file = file(&world);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, format!("{line}\n")).unwrap();
    world
}

fn newest(world: &World) -> HistoryEntry {
    let mut all = world.agent.history().last(9).unwrap().updates;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn that_it_is_about_to_jump_is_on_the_disk_before_it_does() {
    run(async {
        let (world, _peer) = frozen().await;
        world.kernel.reads_at_the_jump(file(&world));
        world.agent.jump().await;
        let seen = world.kernel.read_at_the_jump().unwrap();
        let last: HistoryEntry = serde_json::from_str(seen.lines().last().unwrap()).unwrap();
        assert_eq!(last.outcome, Outcome::UnderWay);
        assert_eq!(last.timeline.last().unwrap().phase, Phase::Jumping);
        // The jump was refused, and the last line says so.
        assert_eq!(newest(&world).outcome, Outcome::Cancelled);
    });
}

#[test]
fn a_disk_that_is_full_keeps_nobody_from_the_jump() {
    run(async {
        let (world, _peer) = frozen().await;
        world.agent.until_written().await;
        let folder = world.agent.config().state_directory.clone();
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        world.agent.jump().await;
        assert_eq!(world.kernel.jumps(), 1);
    });
}

#[test]
fn power_that_is_lost_in_the_jump_is_told() {
    run(async {
        let line = left_at(Phase::Jumping).await;
        let world = behind(&line, false, Fake::default());
        world.agent.start(Vec::new()).await.unwrap();
        world.agent.until_written().await;
        let entry = newest(&world);
        assert_eq!(entry.outcome, Outcome::Lost);
        assert_eq!(entry.update, line["update"].as_str().unwrap());
        assert!(
            entry
                .reason
                .as_deref()
                .unwrap()
                .contains("lost in the jump")
        );
        assert_eq!(entry.timeline.last().unwrap().phase, Phase::Jumping);
        let counted = "luod_updates_total{outcome=\"lost\"} 1\n";
        assert!(world.agent.metrics_text().contains(counted));
        assert!(warnings(&world).await[0].contains("was lost in the jump"));

        // An agent that is started again goes on warning, and counts nothing anew.
        let again = World::new(OPEN, Fake::default());
        fs::create_dir_all(file(&again).parent().unwrap()).unwrap();
        fs::copy(file(&world), file(&again)).unwrap();
        again.agent.start(Vec::new()).await.unwrap();
        assert!(warnings(&again).await[0].contains("was lost in the jump"));
        assert!(!again.agent.metrics_text().contains("outcome=\"lost\""));
        again.agent.prepare(&again.target).await.unwrap();
        assert_eq!(warnings(&again).await, Vec::<String>::new());
    });
}

#[test]
fn what_has_come_along_is_not_lost() {
    run(async {
        let line = left_at(Phase::Jumping).await;
        let kernel = Fake::with_incoming(&["db.ram"]);
        let record = Record {
            update: line["update"].as_str().unwrap().into(),
            ..record(&[("db", &["db.ram"], &[])])
        };
        kernel.hands_over(record.encode(1 << 20).unwrap());
        let world = behind(&line, false, kernel);
        let agent = &world.agent;
        agent.start(Vec::new()).await.unwrap();
        let now = agent.past(1).await.updates.remove(0);
        assert_eq!(
            (now.outcome, now.from_kernel.as_str()),
            (Outcome::UnderWay, "before")
        );
        assert!(now.reason.unwrap().contains("it is updated"));
        comes_back(&world).await;
        assert_eq!(newest(&world).outcome, Outcome::Completed);
        assert_eq!(warnings(&world).await, Vec::<String>::new());
    });
}

#[test]
fn what_ends_with_its_machine_or_its_notes_is_told_as_it_was() {
    run(async {
        for (phase, is_same_boot, outcome, word) in [
            (
                Phase::Preparing,
                true,
                Outcome::Cancelled,
                "luod was restarted",
            ),
            (
                Phase::Preparing,
                false,
                Outcome::Cancelled,
                "before luod had it jump",
            ),
            (
                Phase::Jumping,
                true,
                Outcome::Cancelled,
                "luod was restarted",
            ),
            (
                Phase::Updated,
                true,
                Outcome::Incomplete,
                "noted of the update is gone",
            ),
            (
                Phase::Updated,
                false,
                Outcome::Incomplete,
                "before it was over",
            ),
        ] {
            let mut line = left_at(phase).await;
            if phase == Phase::Updated {
                let last = line["timeline"].as_array_mut().unwrap().last_mut().unwrap();
                last["phase"] = "updated".into();
            }
            let world = behind(&line, is_same_boot, Fake::default());
            world.agent.start(Vec::new()).await.unwrap();
            let entry = newest(&world);
            assert_eq!(entry.outcome, outcome, "{phase}");
            assert!(entry.reason.as_deref().unwrap().contains(word), "{entry:?}");
            assert_eq!(entry.took_us.is_some(), is_same_boot, "{phase}: {entry:?}");
        }
    });
}

/// Where it rests for long it is told how it has come there.
#[test]
fn one_that_ends_with_its_machine_is_told_up_to_where_it_rested() {
    run(async {
        for (world, phase) in [
            (prepared().await.0, Phase::Prepared),
            (frozen().await.0, Phase::Frozen),
        ] {
            world.agent.until_written().await;
            let line = written(&world).pop().unwrap();
            let next = behind(&line, false, Fake::default());
            next.agent.start(Vec::new()).await.unwrap();
            let entry = newest(&next);
            assert_eq!(entry.outcome, Outcome::Cancelled);
            assert_eq!(entry.timeline.last().unwrap().phase, phase);
            let mut lines = entry.timeline.iter();
            assert!(
                lines.any(|line| line.workload.as_deref() == Some("db")),
                "{entry:?}"
            );
        }
    });
}

#[test]
fn an_update_whose_note_is_gone_is_known_by_the_history() {
    run(async {
        let mut line = left_at(Phase::Preparing).await;
        line["began_us"] = (wall_us() - 10_000_000).into();
        let kernel = Fake::default();
        kernel.is_brought_into(KernelState::Prepared, &[OWN_SESSION]);
        let world = behind(&line, true, kernel.clone());
        world.agent.start(Vec::new()).await.unwrap();
        assert_eq!(kernel.foreign(), None, "it is cancelled");
        let entry = newest(&world);
        assert_eq!(entry.update, line["update"].as_str().unwrap());
        assert_eq!(entry.reason.as_deref(), Some("luod was restarted"));
        let took = entry.took_us.unwrap();
        assert!(took >= 10_000_000, "{took} us");
    });
}

/// Where nothing but the machine's clock is left, and that was set back, nobody knows.
#[test]
fn an_update_of_which_only_a_clock_that_was_set_back_tells_took_nobody_knows_how_long() {
    run(async {
        let mut line = left_at(Phase::Preparing).await;
        let began = wall_us() + 3_600_000_000;
        line["began_us"] = began.into();
        let kernel = Fake::default();
        kernel.is_brought_into(KernelState::Prepared, &[OWN_SESSION]);
        let world = behind(&line, true, kernel.clone());
        world.agent.start(Vec::new()).await.unwrap();
        let entry = newest(&world);
        assert_eq!(entry.reason.as_deref(), Some("luod was restarted"));
        assert_eq!((entry.took_us, entry.began_us), (None, began));
    });
}

#[test]
fn a_record_that_is_given_up_ends_its_update() {
    run(async {
        let line = left_at(Phase::Jumping).await;
        let kernel = Fake::default();
        kernel.hands_over(b"something else".to_vec());
        let world = behind(&line, false, kernel);
        world.agent.start(Vec::new()).await.unwrap();
        assert_eq!(world.phase(), Phase::Updated);
        assert_eq!(newest(&world).outcome, Outcome::UnderWay);
        world.agent.finish(true).await.unwrap();
        let entry = newest(&world);
        assert_eq!(entry.outcome, Outcome::Incomplete);
        assert!(entry.reason.unwrap().contains("cannot be read"));
    });
}

#[test]
fn an_update_under_way_is_the_first_in_the_history() {
    run(async {
        let (world, _peer) = prepared().await;
        let agent = &world.agent;
        let id = agent.status().await.update.unwrap();
        for most in [1, 5] {
            let past = agent.past(most).await;
            assert_eq!(past.updates.len(), 1);
            assert_eq!(past.updates[0].update, id);
            assert_eq!(past.updates[0].outcome, Outcome::UnderWay);
            assert!(past.updates[0].timeline.len() > 3);
        }
        // Whoever looks without luod finds it, too.
        agent.until_written().await;
        let folder = agent.config().state_directory.clone();
        let past = History::in_directory(&folder).last(1).unwrap();
        assert_eq!(past.updates[0].update, id);
        let reason = past.updates[0].reason.as_deref().unwrap();
        assert!(
            reason.contains("the last that was written down"),
            "{reason}"
        );
        agent.cancel(None).await.unwrap();
        assert_eq!(agent.past(5).await.updates[0].outcome, Outcome::Cancelled);
        assert_eq!(newest(&world).update, id);
    });
}

/// Copies what an agent has noted, and lets another one start with it.
async fn restarted(world: &World, more: &str) -> World {
    let next = World::with(OPEN, world.kernel.clone(), more);
    next.takes_notes_of(world);
    next.agent.start(Vec::new()).await.unwrap();
    next
}

#[test]
fn who_is_late_is_in_the_history_after_a_restart_of_luod_too() {
    run_fast(async {
        let more = "restore_deadline = 5|";
        let world = World::with(OPEN, Fake::with_incoming(&["db.ram"]), more);
        let agent = &world.agent;
        agent.begin_restore(record(&[("db", &["db.ram"], &[])]), Progress::default());
        agent.watch_the_deadline();
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert_eq!(newest(&world).outcome, Outcome::Incomplete);

        let next = restarted(&world, more).await;
        assert!(next.agent.came_late("db"));
        let entry = newest(&next);
        assert_eq!(entry.outcome, Outcome::Completed);
        assert!(entry.reason.unwrap().starts_with("db served again"));
        assert_eq!(next.agent.notes.late().unwrap(), None);
    });
}

#[test]
fn a_deadline_does_not_pass_twice() {
    run_fast(async {
        let more = "restore_deadline = 5\nunclaimed = \"keep\"|";
        let world = World::with(OPEN, Fake::with_incoming(&["db.ram"]), more);
        let agent = &world.agent;
        let record = record(&[("db", &["db.ram"], &[])]);
        let bytes = record.encode(1 << 20).unwrap();
        agent.notes.set_record(Some(&bytes)).unwrap();
        agent.begin_restore(record, Progress::default());
        agent.watch_the_deadline();
        tokio::time::sleep(Duration::from_secs(7)).await;
        let left = |status: luo_varlink::Status| status.workloads[0].left_ms;
        assert_eq!(left(agent.status().await), None);
        let next = restarted(&world, more).await;
        assert_eq!(next.phase(), Phase::Updated);
        assert_eq!(left(next.agent.status().await), None);
    });
}

/// The disk has taken nothing of it since it was prepared: the record tells what came of it.
#[test]
fn what_the_disk_has_not_taken_goes_along() {
    run(async {
        let prepared = left_at(Phase::Prepared).await;
        let mut over: HistoryEntry = serde_json::from_value(prepared.clone()).unwrap();
        over.outcome = Outcome::Completed;
        over.reason = None;
        // This kernel's agent cannot write either.
        let world = World::new(OPEN, Fake::default());
        let state = world.agent.config().state_directory.clone();
        fs::write(&state, "").unwrap();
        world.agent.history.put(&over);
        let (world, mut peer) = prepared_in(world).await;
        let freeze = world.agent.freeze();
        let (done, ()) = tokio::join!(freeze, agrees(&world, &mut peer, Step::Freeze));
        done.unwrap();
        let record = Record::decode(&world.kernel.record()).unwrap();
        assert_eq!(record.unwritten.len(), 1);
        assert!(record.unwritten[0].timeline.is_empty(), "it is short");

        // The next one can, and its disk has the first update as being prepared.
        let kernel = Fake::with_incoming(&["db.ram"]);
        kernel.hands_over(record.encode(1 << 20).unwrap());
        let world = behind(&prepared, false, kernel);
        world.agent.start(Vec::new()).await.unwrap();
        world.agent.until_written().await;
        let told = world.agent.past(9).await.updates;
        let told = told.iter().find(|told| told.update == over.update).unwrap();
        assert_eq!(told.outcome, Outcome::Completed);
        // Nor is it ended anew by a luod that is started again.
        comes_back(&world).await;
        let told = world.agent.history().last(9).unwrap().updates;
        let told = told.iter().find(|told| told.update == over.update).unwrap();
        assert_eq!(told.outcome, Outcome::Completed);
    });
}

#[test]
fn what_came_of_one_is_not_known_if_the_disk_has_a_newer_one_only() {
    for phase in [Phase::Prepared, Phase::Jumping] {
        run(async {
            let mut line = left_at(phase).await;
            line["boot"] = "another".into();
            let world = behind(&line, false, Fake::default());
            let mut newer = line.clone();
            newer["update"] = "u-2".into();
            newer["outcome"] = "completed".into();
            fs::write(file(&world), format!("{line}\n{newer}\n")).unwrap();
            world.agent.start(Vec::new()).await.unwrap();
            world.agent.until_written().await;
            let told = world.agent.history().last(9).unwrap().updates;
            let id = line["update"].as_str().unwrap();
            let told = told.iter().find(|told| told.update == id).unwrap();
            let reason = told.reason.as_deref().unwrap();
            assert!(reason.contains("is not known"), "{phase:?}: {reason}");
        });
    }
}

/// A damaged note makes no update of its own.
#[test]
fn a_damaged_note_of_an_update_becomes_no_update() {
    run(async {
        let left = World::new(OPEN, Fake::default());
        let put = |world: &World| {
            let path = world.folder.path().join("run/state/update");
            fs::write(path, "garbage{").unwrap();
        };
        put(&left);
        left.agent.start(Vec::new()).await.unwrap();
        left.agent.until_written().await;
        assert!(left.agent.past(9).await.updates.is_empty());
        let told = warnings(&left).await.concat();
        assert!(told.contains("is damaged"), "{told}");
        assert!(left.agent.notes.update().unwrap().is_none());

        // The one that the history has is the one that was under way.
        let line = left_at(Phase::Prepared).await;
        let world = behind(&line, true, Fake::default());
        put(&world);
        world.agent.start(Vec::new()).await.unwrap();
        world.agent.until_written().await;
        let told = newest(&world);
        assert_eq!(told.update, line["update"].as_str().unwrap());
        assert_eq!(told.outcome, Outcome::Cancelled);
        assert!(told.took_us.is_some_and(|took| took > 0), "{told:?}");
    });
}
