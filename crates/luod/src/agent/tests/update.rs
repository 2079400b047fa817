// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates up to the jump, and their account.

use luo_varlink::admin::Error as Refusal;
use luo_varlink::{EventKind, TimelineEvent, TimelineKind};
use std::sync::Arc;

use super::*;

#[test]
fn a_refused_jump_undoes_all() {
    run(async {
        let (world, mut peer) = frozen().await;
        let why = world.agent.jump().await;
        assert!(matches!(why, Refusal::Kernel { .. }), "{why}");
        assert_eq!(peer.heard().await.kind, EventKind::Cancel);
        assert_eq!(world.phase(), Phase::Normal);
        assert!(!world.kernel.is_prepared());
        assert!(world.kernel.held().contains("db.ram"));
    });
}

#[test]
fn who_is_waited_for_is_told_with_what_is_left() {
    run(async {
        let (world, mut peer) = with_one().await;
        let left = async |world: &World| {
            let status = world.agent.status().await;
            status.workloads.first().unwrap().left_ms
        };
        assert_eq!(left(&world).await, None);
        let prepare = prepares(&world);
        let event = peer.heard().await;
        let ms = left(&world).await.unwrap();
        assert!((500_000..=600_000).contains(&ms), "{ms}");
        answers(&world, &peer, &event, Step::Prepare, None);
        prepare.await.unwrap().unwrap();
        assert_eq!(left(&world).await, None);

        let world = restoring(
            Fake::with_incoming(&["db.ram"]),
            &[("db", &["db.ram"], &[])],
        );
        world.agent.watch_the_deadline();
        let ms = left(&world).await.unwrap();
        assert!((100_000..=120_000).contains(&ms), "{ms}");
    });
}

#[test]
fn a_report_is_written_whatever_comes_of_the_update() {
    run(async {
        let (world, mut peer) = with_one().await;
        let path = world.folder.path().join("update.svg");
        let report = path.to_str();
        let update = world.agent.update(&world.target, report);
        tokio::join!(update, vetoes(&world, &mut peer, Step::Prepare));
        let picture = std::fs::read_to_string(&path).unwrap();
        assert!(picture.contains("cancelled"), "{picture}");
        let left = std::fs::read_dir(world.folder.path()).unwrap();
        let mut left = left.map(|file| file.unwrap().file_name());
        assert!(left.all(|name| name != ".update.svg.luod"));

        // One that cannot be written is found out before anybody is asked.
        let bad = world.folder.path().join("missing/update.svg");
        let refused = world.agent.update(&world.target, bad.to_str()).await;
        assert!(matches!(refused, Refusal::CheckFailed { .. }), "{refused}");
        assert!(
            refused.to_string().contains("the report cannot be written"),
            "{refused}"
        );
        assert_eq!(peer.heard().await.kind, EventKind::Cancel);
        assert!(peer.inbox.take().is_none());
    });
}

#[test]
fn a_report_is_written_in_the_next_kernel() {
    run(async {
        let (before, mut peer) = with_one().await;
        let path = before.folder.path().join("update.svg");
        let update = before.agent.update(&before.target, path.to_str());
        let agrees = async {
            agrees(&before, &mut peer, Step::Prepare).await;
            agrees(&before, &mut peer, Step::Freeze).await;
        };
        // The made-up kernel refuses the jump after all was written.
        tokio::join!(update, agrees);
        std::fs::remove_file(&path).unwrap();
        let record = Record::decode(&before.kernel.record()).unwrap();
        assert!(record.frozen);

        behind(record).await;
        let picture = std::fs::read_to_string(&path).unwrap();
        assert!(picture.contains("completed"), "{picture}");
    });
}

#[test]
fn a_jump_by_somebody_else_finds_a_record() {
    run(async {
        let (before, _peer) = prepared().await;
        let record = Record::decode(&before.kernel.record()).unwrap();
        assert!(!record.frozen);
        let world = behind(record).await;
        let entry = world.agent.history().last(1).unwrap().updates.remove(0);
        assert_eq!(entry.outcome, luo_varlink::Outcome::Unfrozen);
        assert!(entry.reason.unwrap().contains("somebody else"));
        assert_eq!(entry.blackout_us, None);
        let took = entry.took_us.unwrap();
        assert!(took < 60_000_000, "{took} us");
    });
}

#[test]
fn the_next_kernel_hears_of_all_up_to_the_jump() {
    run(async {
        let (world, _peer) = frozen().await;
        let recorded = {
            let state = world.agent.state.borrow();
            let update = state.update.as_ref().unwrap();
            update.timeline[..update.recorded].to_vec()
        };
        let words = |lines: &[Arc<TimelineEvent>]| -> Vec<_> {
            let word = |line: &Arc<TimelineEvent>| (line.kind, line.phase);
            lines.iter().map(word).collect()
        };
        let agreed = (TimelineKind::Agreed, Phase::Freezing);
        assert_eq!(words(&recorded).last(), Some(&agreed));
        // The made-up kernel refuses it, after it was told.
        world.agent.jump().await;
        let record = Record {
            timeline: recorded,
            ..record(&[])
        };
        let mut bytes = record.encode(1 << 20).unwrap();
        bytes.extend(world.kernel.tail());
        let read = Record::decode(&bytes).unwrap();
        assert_eq!(
            words(&read.timeline[record.timeline.len()..]),
            [
                (TimelineKind::Kernel, Phase::Freezing),
                (TimelineKind::Phase, Phase::Frozen),
                (TimelineKind::Phase, Phase::Jumping),
            ]
        );
    });
}

#[test]
fn the_account_of_an_update_has_its_end() {
    run(async {
        let (world, mut peer) = prepared().await;
        let freeze = world.agent.freeze();
        let (refused, ()) = tokio::join!(freeze, vetoes(&world, &mut peer, Step::Freeze));
        assert!(refused.is_err());
        let entry = world.agent.history().last(1).unwrap().updates.remove(0);
        let last = entry.timeline.last().unwrap();
        assert_eq!(
            (last.kind, last.phase),
            (TimelineKind::Phase, Phase::Normal)
        );
        assert!(
            entry
                .timeline
                .iter()
                .all(|line| line.update == entry.update)
        );
    });
}

#[test]
fn who_leaves_has_agreed_before() {
    run(async {
        let (world, mut peer) = with_one().await;
        let prepare = world.agent.prepare(&world.target);
        let leaves = async {
            agrees(&world, &mut peer, Step::Prepare).await;
            world.agent.detach(&mut peer.caller).unwrap();
        };
        let (done, ()) = tokio::join!(prepare, leaves);
        done.unwrap();
        let state = world.agent.state.borrow();
        let lines = state.update.as_ref().unwrap().timeline.iter();
        let of_it = lines.filter(|line| line.workload.is_some());
        let kinds: Vec<_> = of_it.map(|line| line.kind).collect();
        assert_eq!(
            kinds,
            [
                TimelineKind::Asked,
                TimelineKind::Agreed,
                TimelineKind::Left
            ]
        );
    });
}

#[test]
fn who_is_shut_down_before_a_jump_that_fails_loses_nothing() {
    run(async {
        let (world, mut peer) = frozen().await;
        let gate = world.hold().await;
        let agent = Rc::clone(&world.agent);
        let jump = tokio::task::spawn_local(async move { agent.jump().await });
        until(|| world.phase() == Phase::Jumping).await;
        world.agent.disconnected(&mut peer.caller);
        drop(gate);
        let why = jump.await.unwrap();
        assert!(matches!(why, Refusal::Kernel { .. }), "{why}");
        assert_eq!(world.phase(), Phase::Normal);
        assert!(world.kernel.held().contains("db.ram"));
        assert!(world.agent.plan().obstacles.is_empty());
        let mut peer = Peer::new(2, 990);
        peer.register(&world, "db", &[]).unwrap();
        let (claimed, _) = world.agent.claim(&peer.caller, "db.ram").await.unwrap();
        assert!(!claimed.incoming);
    });
}

#[test]
fn nobody_jumps_without_whom_was_lost() {
    run(async {
        let (world, mut peer) = frozen().await;
        // The connection has ended, and its task has not got round to undo the update.
        world.agent.disconnected(&mut peer.caller);
        let why = world.agent.jump().await;
        assert!(matches!(why, Refusal::Lost { .. }), "{why}");
        assert_eq!(world.phase(), Phase::Normal);
        assert!(world.agent.state.borrow().workloads.is_empty());
        until(|| world.kernel.held().is_empty()).await;
    });
}

#[test]
fn phases_forbid_what_would_change_what_is_carried() {
    run(async {
        for (world, mut peer) in [prepared().await, frozen().await] {
            let agent = &world.agent;
            let caller = &mut peer.caller;
            assert!(agent.create_session(caller, "db.x").await.is_err());
            assert!(agent.drop_session(caller, "db.ram").await.is_err());
            assert!(agent.unregister(caller).is_err());
            assert!(agent.release("db.ram").await.is_err());
            let mut other = Peer::new(9, 990);
            let refused = other.register(&world, "other", &[]).unwrap_err();
            assert!(matches!(refused, Error::UpdateUnderWay { .. }));
            agent.cancel(None).await.unwrap();
            agent.unregister(&mut peer.caller).unwrap();
            until(|| world.kernel.held().is_empty()).await;
        }
    });
}

#[test]
fn who_leaves_must_be_in_the_store() {
    run(async {
        let (world, mut peer) = prepared().await;
        let mark = |stored| {
            let mut state = world.agent.state.borrow_mut();
            state.sessions.get_mut("db.ram").unwrap().stored = stored;
        };
        mark(false);
        let refused = world.agent.detach(&mut peer.caller).unwrap_err();
        assert!(refused.to_string().contains("db.ram"), "{refused}");
        mark(true);
        world.agent.detach(&mut peer.caller).unwrap();
        world.agent.freeze().await.unwrap();
        world.agent.cancel(None).await.unwrap();
        let mut peer = Peer::new(2, 990);
        peer.register(&world, "db", &[]).unwrap();
        let (claimed, _) = world.agent.claim(&peer.caller, "db.ram").await.unwrap();
        assert!(!claimed.incoming);
    });
}

#[test]
fn a_connection_that_registers_again_hears_nothing_old() {
    run(async {
        let (world, mut peer) = prepared().await;
        world.agent.cancel(None).await.unwrap();
        world.agent.unregister(&mut peer.caller).unwrap();
        peer.register(&world, "db", &[]).unwrap();
        assert!(
            peer.inbox.take().is_none(),
            "the cancel was for the earlier one"
        );
    });
}

#[test]
fn a_clock_that_is_set_back_in_an_update_changes_no_time_of_it() {
    run(async {
        let (world, _peer) = prepared().await;
        if let Some(update) = &mut world.agent.state.borrow_mut().update {
            // The machine's clock was an hour ahead when the update began, two seconds ago.
            update.clock.wall_us += 3_600_000_000;
            update.clock.boot_us -= 2_000_000;
        }
        let began = world
            .agent
            .state
            .borrow()
            .update
            .as_ref()
            .unwrap()
            .clock
            .wall_us;
        world.agent.cancel(None).await.unwrap();
        let entry = world.agent.history().last(1).unwrap().updates.remove(0);
        assert_eq!(entry.began_us, began);
        let took = entry.took_us.unwrap();
        assert!((2_000_000..60_000_000).contains(&took), "{took} us");
        let is_after = |event: &&luo_varlink::TimelineEvent| event.phase == Phase::Cancelling;
        let after = entry.timeline.iter().find(is_after).unwrap();
        assert!(after.time_us >= began + 2_000_000, "{after:?}");
    });
}
