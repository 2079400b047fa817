// SPDX-License-Identifier: MIT OR Apache-2.0
//! After the jump.

use luo_sys::Session;

use super::*;
use crate::agent::state::Restore;
use crate::journal::clock::{Clock, boot_us};

const ONE: &[(&str, &[&str], &[&str])] = &[("db", &["db.ram"], &[])];

#[test]
fn another_identity_gets_nothing() {
    run(async {
        let world = restoring(Fake::with_incoming(&["db.ram"]), ONE);
        let mut other = Peer::new(1, 991);
        let refused = other.register(&world, "db", &[]).unwrap_err();
        assert!(matches!(refused, Error::Denied { .. }), "{refused}");
        let mut mine = Peer::new(2, 991);
        mine.register(&world, "mine", &[]).unwrap();
        let agent = &world.agent;
        for (what, refused) in [
            ("claim", agent.claim(&mine.caller, "db.ram").await.err()),
            (
                "finish",
                agent.finish_session(&mine.caller, "db.ram").await.err(),
            ),
            (
                "drop",
                agent.drop_session(&mine.caller, "db.ram").await.err(),
            ),
            (
                "create",
                agent.create_session(&mine.caller, "db.ram").await.err(),
            ),
        ] {
            let refused = refused.unwrap_or_else(|| panic!("{what} was let through"));
            let is_none = matches!(refused, Error::NoSuchSession { .. });
            let exists = matches!(refused, Error::Kernel { errno: 17, .. });
            assert!(is_none || exists, "{what}: {refused}");
        }
        assert!(world.kernel.incoming().contains("db.ram"), "not touched");

        let mut owner = Peer::new(3, 990);
        owner.register(&world, "db", &[]).unwrap();
        let (claimed, _fd) = agent.claim(&owner.caller, "db.ram").await.unwrap();
        assert!(claimed.incoming);
        let mut again = Peer::new(4, 991);
        let refused = again.register(&world, "db", &[]).unwrap_err();
        assert!(matches!(refused, Error::WorkloadTaken { .. }));
    });
}

/// The deadline does nothing where unclaimed sessions are kept, so nobody is told a time.
#[test]
fn what_is_kept_is_not_counted_down() {
    run(async {
        for (unclaimed, counts) in [("finish", true), ("keep", false)] {
            let kernel = Fake::with_incoming(&["db.ram"]);
            let world = World::with(OPEN, kernel, &format!("unclaimed = {unclaimed:?}|"));
            world.agent.begin_restore(record(ONE), Progress::default());
            world.agent.watch_the_deadline();
            let status = world.agent.status().await;
            let workload = status.workloads.first().unwrap();
            assert_eq!(workload.state, luo_varlink::WorkloadState::Waiting);
            assert_eq!(workload.left_ms.is_some(), counts, "{unclaimed}");
        }
    });
}

#[test]
fn who_goes_in_the_middle_of_a_claim_loses_nothing() {
    run(async {
        let world = restoring(Fake::with_incoming(&["db.ram"]), ONE);
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        let gate = world.hold().await;
        {
            let claim = agent.claim(&peer.caller, "db.ram");
            tokio::pin!(claim);
            // It asks the kernel, and is gone before the answer.
            let polled = std::future::poll_fn(|context| {
                std::task::Poll::Ready(claim.as_mut().poll(context).is_pending())
            });
            assert!(polled.await);
        }
        agent.disconnected(&mut peer.caller);
        drop(gate);
        until(|| !agent.state.borrow().sessions.any_busy()).await;
        assert!(world.kernel.held().contains("db.ram"), "the agent has it");
        assert!(!world.kernel.finished().contains("db.ram"));

        let mut peer = Peer::new(2, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        agent.restored(&peer.caller).unwrap();
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn who_claims_while_others_are_released_keeps_it() {
    run(async {
        let both: &[(&str, &[&str], &[&str])] = &[("a", &["a"], &[]), ("b", &["b"], &[])];
        let world = restoring(Fake::with_incoming(&["a", "b"]), both);
        let agent = &world.agent;
        let mut late = Peer::new(1, 990);
        late.register(&world, "b", &[]).unwrap();
        let gate = world.hold().await;
        let finish = agent.finish(true);
        let claim = agent.claim(&late.caller, "b");
        // Both are listed as unclaimed; b is claimed while a is released.
        let (released, claimed, ()) = tokio::join!(finish, claim, async { drop(gate) });
        assert_eq!(released.unwrap(), ["a"]);
        assert!(claimed.is_ok());
        assert!(!world.kernel.finished().contains("b"));
        assert!(world.kernel.held().contains("b"));
    });
}

#[test]
fn what_the_kernel_does_not_have_is_not_waited_for() {
    run(async {
        let two: &[(&str, &[&str], &[&str])] = &[("db", &["db.ram", "db.log"], &[])];
        let world = restoring(Fake::with_incoming(&["db.ram"]), two);
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        let refused = agent.claim(&peer.caller, "db.log").await.unwrap_err();
        assert!(matches!(refused, Error::Kernel { errno: 2, .. }));
        let refused = agent.claim(&peer.caller, "db.log").await.unwrap_err();
        assert!(matches!(refused, Error::NoSuchSession { .. }));
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        agent.restored(&peer.caller).unwrap();
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn a_claim_that_the_kernel_refuses_can_be_made_again() {
    run(async {
        let world = restoring(Fake::with_incoming(&["db.ram"]), ONE);
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        world.kernel.refuse("RETRIEVE_SESSION");
        assert!(agent.claim(&peer.caller, "db.ram").await.is_err());
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        world.kernel.refuse("FINISH");
        assert!(agent.finish_session(&peer.caller, "db.ram").await.is_err());
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
    });
}

#[test]
fn an_administrator_ends_the_wait_for_others() {
    run(async {
        let two: &[(&str, &[&str], &[&str])] = &[("db", &["db"], &[]), ("web", &["web"], &["db"])];
        let world = restoring(Fake::with_incoming(&["db", "web"]), two);
        let agent = &world.agent;
        let mut web = Peer::new(1, 990);
        web.register(&world, "web", &["db"]).unwrap();
        let waiting = Rc::clone(agent);
        let claim = tokio::task::spawn_local(async move {
            waiting
                .claim(&web.caller, "web")
                .await
                .map(|(claimed, _)| claimed)
        });
        tokio::task::yield_now().await;
        assert!(!claim.is_finished(), "db has not served yet");
        // The session that web waits for is unclaimed too, and is released.
        let released = agent.finish(true).await.unwrap();
        assert!(released.contains(&"db".to_owned()));
        // Whichever came first, the claim has an end.
        let _ = claim.await.unwrap();
    });
}

#[test]
fn who_comes_back_before_it_serves_is_still_restoring() {
    run(async {
        let world = restoring(Fake::with_incoming(&["db.ram"]), ONE);
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        agent.disconnected(&mut peer.caller);
        let mut peer = Peer::new(2, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.restored(&peer.caller).unwrap();
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn a_session_that_its_workload_kept_is_attached_again() {
    run(async {
        // luod was killed, had no store, and the workload has what it claimed before.
        let kernel = Fake::with_incoming(&["db.ram"]);
        let world = restoring(kernel.clone(), ONE);
        let agent = &world.agent;
        let name = "db.ram".to_owned();
        let session = agent
            .kernel
            .run(move |kernel| kernel.retrieve(&name))
            .await
            .unwrap();
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        assert!(
            agent.claim(&peer.caller, "db.ram").await.is_err(),
            "it is taken"
        );
        let copy: Session = session.try_clone().unwrap();
        // This is the part of AttachSession after the kernel has named the session.
        agent.has("db.ram", copy.into(), true);
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        agent.restored(&peer.caller).unwrap();
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn a_record_that_cannot_be_read_is_given_up_once() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let agent = &world.agent;
        agent.cannot_read("made up");
        assert!(agent.finish(false).await.is_err());
        let gate = world.hold().await;
        let (one, other, ()) =
            tokio::join!(agent.finish(true), agent.finish(true), async { drop(gate) });
        assert!(one.is_ok() && other.is_ok());
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn what_could_not_be_finished_can_be_released_later() {
    run(async {
        let world = restoring(Fake::with_incoming(&["db.ram"]), ONE);
        let agent = &world.agent;
        world.kernel.refuse("FINISH");
        agent.finish(true).await.unwrap();
        assert_eq!(world.phase(), Phase::Normal, "the agent has all there is");
        assert!(world.kernel.held().contains("db.ram"));
        let obstacles = agent.plan().obstacles;
        assert!(
            obstacles.iter().any(|text| text.contains("'db'")),
            "{obstacles:?}"
        );
        // The remedy is of this obstacle, and not of one that is about needs.
        let report = agent.check_target(&world.target).await;
        let mut checks = report.checks.iter();
        let check = checks.find(|check| check.name == "workloads").unwrap();
        let remedy = check.remedy.as_deref().unwrap();
        for words in ["`luoctl take`", "`luoctl release`"] {
            assert!(remedy.contains(words), "{check:?}");
        }
        assert!(!remedy.contains("need"), "{check:?}");
        agent.release("db.ram").await.unwrap();
        assert!(world.kernel.finished().contains("db.ram"));
        assert!(agent.plan().obstacles.is_empty());
    });
}

/// A handler may never let a file go: the machine has a way out all the same.
#[test]
fn what_the_kernel_does_not_finish_is_let_go_of_by_force() {
    run(async {
        let world = restoring(Fake::with_incoming(&["db.ram"]), ONE);
        let agent = &world.agent;
        world.kernel.refuse_times("FINISH", 100);
        agent.finish(true).await.unwrap();
        let refused = agent.release_or_force("db.ram", false).await.unwrap_err();
        assert!(refused.to_string().contains("FINISH"), "{refused}");
        assert!(world.kernel.held().contains("db.ram"));
        agent.release_or_force("db.ram", true).await.unwrap();
        until(|| !world.kernel.held().contains("db.ram")).await;
        assert!(agent.plan().obstacles.is_empty());
        assert!(agent.status().await.workloads.is_empty());
    });
}

#[test]
fn a_claim_that_is_on_its_way_does_not_keep_an_update_from_ending() {
    run(async {
        let world = restoring(Fake::with_incoming(&["db.ram"]), ONE);
        let agent = Rc::clone(&world.agent);
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        let gate = world.hold().await;
        let mut claim = std::pin::pin!(agent.claim(&peer.caller, "db.ram"));
        tokio::select! {
            biased;
            _ = &mut claim => panic!("the kernel is held"),
            () = tokio::task::yield_now() => {}
        }
        // Nothing is unclaimed, and nothing has come yet.
        let (released, claimed, ()) = tokio::join!(agent.finish(true), claim, async { drop(gate) });
        assert_eq!(released.unwrap(), [""; 0]);
        assert!(claimed.is_ok());
        assert_eq!(world.phase(), Phase::Normal);
        assert!(!world.kernel.finished().contains("db.ram"));
    });
}

#[test]
fn times_go_on_where_the_previous_kernel_stopped() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let agent = &world.agent;
        let now = agent.moment();
        let ticks = now.ticks.expect("this processor has a counter");
        // A second ago by the counter; the clock has lost half of it in the jump.
        let freeze = Moment {
            time_us: now.time_us - 500_000,
            ticks: Some(ticks - 3_000_000_000),
            ticks_per_second: Some(3e9),
        };
        let record = Record {
            freeze,
            ..record(ONE)
        };
        agent.begin_restore(record, Progress::default());
        let state = agent.state.borrow();
        let restore = state.restore.as_ref().unwrap();
        let since = restore.timeline[0].time_us - freeze.time_us;
        assert!(since >= 1_000_000, "{since} us");
    });
}

/// A luod that has just started does not know at what rate the counter goes.
#[test]
fn what_was_noted_before_the_clock_was_known_is_set_right() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let agent = &world.agent;
        let now = agent.moment();
        // A second ago by the counter, whose rate is none that a processor has; the machine's
        // clock was set forward by days.
        let freeze = Moment {
            time_us: now.time_us - 240 * HOUR,
            ticks: now.ticks.map(|ticks| ticks - 1000),
            ticks_per_second: Some(1e3),
        };
        assert!(freeze.ticks.is_some(), "this processor has a counter");
        let record = Record {
            freeze,
            ..record(ONE)
        };
        let before = record.timeline.len();
        agent.begin_restore(record, Progress::default());
        let mut state = agent.state.borrow_mut();
        let restore = state.restore.as_mut().unwrap();
        assert_eq!(restore.behind_us, None);
        let at = |restore: &Restore| restore.timeline[before].time_us - freeze.time_us;
        assert!(at(restore) >= 240 * HOUR);
        let known = Moment {
            ticks_per_second: Some(1e3),
            ..now
        };
        restore.learn_its_clock(|| known);
        let since = at(restore);
        assert!((1_000_000..HOUR).contains(&since), "{since} us");
        // It is learnt once.
        restore.learn_its_clock(|| known);
        assert_eq!(at(restore), since);
    });
}

/// An hour, in microseconds.
const HOUR: u64 = 3_600_000_000;

/// A record of an update whose kernel had a clock that was an hour ahead of this one's.
fn of_an_hour_ahead() -> Record {
    let time_us = Clock::start().now_us() + HOUR;
    Record {
        began_us: time_us - 2_000_000,
        freeze: Moment {
            time_us,
            ticks: None,
            ticks_per_second: None,
        },
        ..record(ONE)
    }
}

#[test]
fn where_the_jump_has_set_the_clock_back_times_are_not_known() {
    run(async {
        let world = behind(of_an_hour_ahead()).await;
        let entry = world.agent.history().last(1).unwrap().updates.remove(0);
        assert_eq!(entry.outcome, luo_varlink::Outcome::Completed);
        assert_eq!((entry.took_us, entry.blackout_us), (None, None));
        assert!(entry.lacks_its_blackout());
        let text = world.agent.metrics.text();
        assert!(!text.contains("\nluod_last_"), "{text}");
    });
}

/// The clock of this kernel was right when luod took over, and was set back then.
#[test]
fn a_clock_that_is_set_back_after_the_jump_changes_no_time() {
    run(async {
        let world = World::new(OPEN, Fake::with_incoming(&["db.ram"]));
        let record = of_an_hour_ahead();
        let noted = Progress {
            clock: Some(Clock {
                wall_us: record.freeze.time_us + 1_000_000,
                boot_us: boot_us(),
            }),
            ..Progress::default()
        };
        world.agent.begin_restore(record, noted);
        comes_back(&world).await;
        let entry = world.agent.history().last(1).unwrap().updates.remove(0);
        let took = entry.took_us.unwrap();
        assert!((3_000_000..60_000_000).contains(&took), "{took} us");
        let blackout = entry.blackout_us.unwrap();
        assert!((1_000_000..60_000_000).contains(&blackout), "{blackout} us");
    });
}

/// Whoever needs it may go on: it may have nothing to take back any more.
#[test]
fn who_serves_and_has_claimed_nothing_is_believed_and_that_is_told() {
    run(async {
        let two: &[(&str, &[&str], &[&str])] =
            &[("db", &["db.ram"], &[]), ("web", &["web.ram"], &["db"])];
        let world = restoring(Fake::with_incoming(&["db.ram", "web.ram"]), two);
        let agent = &world.agent;
        let mut db = Peer::new(1, 990);
        db.register(&world, "db", &[]).unwrap();
        agent.restored(&db.caller).unwrap();
        let mut web = Peer::new(2, 990);
        web.register(&world, "web", &["db"]).unwrap();
        agent.claim(&web.caller, "web.ram").await.unwrap();
        agent.restored(&web.caller).unwrap();
        let told = agent.under_way().unwrap().timeline;
        let of = |name: &str| {
            let is_its = |event: &&luo_varlink::TimelineEvent| {
                let is_restored = event.kind == luo_varlink::TimelineKind::Restored;
                is_restored && event.workload.as_deref() == Some(name)
            };
            told.iter().find(is_its).unwrap().detail.clone()
        };
        let words = "it has claimed nothing of what came along for it: db.ram";
        assert_eq!(of("db").as_deref(), Some(words));
        assert_eq!(of("web"), None);
        // It is there still.
        agent.claim(&db.caller, "db.ram").await.unwrap();
    });
}
