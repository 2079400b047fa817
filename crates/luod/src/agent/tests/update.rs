// SPDX-License-Identifier: MIT OR Apache-2.0
//! Before the jump.

use luo_varlink::admin::Error as Refusal;
use luo_varlink::{EventKind, Step, TimelineEvent, TimelineKind};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::Declaration;
use luo_preflight::file::Kind;
use luo_varlink::CheckStatus;

use super::*;
use crate::decide::config::Seconds;

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
fn nobody_is_asked_while_somebody_else_has_the_device() {
    run(async {
        let (world, peer) = with_one().await;
        world.kernel.refuse("open /dev/liveupdate");
        let refused = world.agent.prepare(&world.target).await.unwrap_err();
        let Refusal::CheckFailed { report } = refused else {
            panic!("{refused}");
        };
        let failed = |name| {
            let mut checks = report.checks.iter();
            let check = checks.find(|check| check.name == name).unwrap();
            check.status == luo_varlink::CheckStatus::Failed
        };
        assert!(failed("running-device"));
        assert!(peer.inbox.take().is_none());
    });
}

/// The target decides how memfds are handed over, and nobody preserves one before that.
#[test]
fn the_kernel_is_told_how_to_hand_memfds_over() {
    run(async {
        let (world, peer) = with_one().await;
        world.kernel.refuse("memfd");
        let refused = world.agent.prepare(&world.target).await.unwrap_err();
        assert!(matches!(refused, Refusal::Kernel { .. }), "{refused}");
        assert!(peer.inbox.take().is_none(), "nobody was asked");
        let (world, _peer) = prepared().await;
        // The target of these tests has mainline's handler.
        assert_eq!(world.kernel.runs(), Some(false));
    });
}

#[test]
fn no_kernel_is_loaded_while_workloads_run_on() {
    run(async {
        let (world, mut peer) = prepared().await;
        assert!(!world.kernel.is_loaded());
        let freeze = world.agent.freeze();
        let asked = async {
            let event = peer.heard().await;
            assert!(
                world.kernel.is_loaded(),
                "it is loaded before anybody stands still"
            );
            answers(&world, &peer, &event, Step::Freeze, None);
        };
        let (done, ()) = tokio::join!(freeze, asked);
        done.unwrap();
        world.agent.cancel(None).await.unwrap();
        assert!(!world.kernel.is_loaded());

        // One that cannot be loaded any more undoes all.
        let (world, mut peer) = prepared().await;
        world.kernel.refuse("kexec_file_load");
        assert!(world.agent.freeze().await.is_err());
        assert_eq!(peer.heard().await.kind, EventKind::Cancel);
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn a_step_of_the_kernel_that_hangs_can_be_cancelled() {
    run(async {
        let (world, mut peer) = with_one().await;
        let gate = world.hold().await;
        let agent = Rc::clone(&world.agent);
        let target = world.target.clone();
        let prepare = tokio::task::spawn_local(async move { agent.prepare(&target).await });
        until(|| world.phase() == Phase::Preparing).await;
        world.agent.cancel(Some("enough")).await.unwrap();
        let refused = prepare.await.unwrap().unwrap_err();
        assert!(matches!(refused, Refusal::Cancelled { .. }), "{refused}");
        assert_eq!(world.phase(), Phase::Normal);

        // The kernel may yet do what it was asked for, and has to undo it before the next.
        let refused = world.agent.prepare(&world.target).await.unwrap_err();
        assert!(
            refused.to_string().contains("has not come back yet"),
            "{refused}"
        );
        let report = world.agent.check_target(&world.target).await;
        assert!(!report.ok);
        let refused = world
            .agent
            .create_session(&peer.caller, "db.2")
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::Kernel { .. }), "{refused}");
        let link = Declaration::NotTaken(Kind::Path);
        let told = world.agent.declare(&peer.caller, "db.ram", 9, link).await;
        told.expect("who declares is answered");
        drop(gate);
        until(|| world.agent.heed_hang("x").is_ok()).await;
        let prepare = world.agent.prepare(&world.target);
        let (done, ()) = tokio::join!(prepare, agrees(&world, &mut peer, Step::Prepare));
        done.unwrap();
    });
}

#[test]
fn a_step_of_the_kernel_has_a_deadline() {
    run(async {
        let (world, mut peer) = prepared().await;
        let mut config = Config::clone(&world.agent.config());
        config.kernel_deadline = Seconds(Duration::from_millis(50));
        world.agent.config.replace(Rc::new(config));
        let gate = world.hold().await;
        // Who only asks something is answered meanwhile.
        world.agent.check_kind("db.ram", 9, Kind::Path).await;
        let late = world.agent.freeze().await.unwrap_err();
        assert!(late.to_string().contains("within 0.05 s"), "{late}");
        assert_eq!(peer.heard().await.kind, EventKind::Cancel);
        assert_eq!(world.phase(), Phase::Normal);
        drop(gate);
        until(|| world.agent.heed_hang("x").is_ok()).await;
        assert!(!world.kernel.is_prepared());
        assert!(!world.kernel.is_loaded());
    });
}

#[test]
fn a_disk_that_hangs_before_the_jump_ends_the_update() {
    run(async {
        let (world, mut peer) = frozen().await;
        let gate = world.hold().await;
        let agent = Rc::clone(&world.agent);
        let jump = tokio::task::spawn_local(async move { agent.jump().await });
        until(|| world.phase() == Phase::Jumping).await;
        world.agent.cancel(None).await.unwrap();
        let why = jump.await.unwrap();
        assert!(matches!(why, Refusal::Cancelled { .. }), "{why}");
        assert_eq!(peer.heard().await.kind, EventKind::Cancel);
        drop(gate);
        until(|| world.agent.heed_hang("x").is_ok()).await;
        assert_eq!(world.kernel.jumps(), 0);
    });
}

#[test]
fn an_initrd_that_is_none_is_found_out_before_anybody_is_asked() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    run(async {
        let (mut world, peer) = with_one().await;
        let fifo = world.folder.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let empty = world.folder.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        // The beginning of an archive, as a copy leaves it whose disk is full.
        let cut = world.folder.path().join("cut");
        std::fs::write(&cut, "070701").unwrap();
        let folder = world.folder.path().to_owned();
        for path in [fifo, empty, cut, folder, "/dev/zero".into()] {
            world.target.initrd = path.to_str().map(str::to_owned);
            let refused = world.agent.prepare(&world.target).await.unwrap_err();
            assert!(
                matches!(refused, Refusal::CheckFailed { .. }),
                "{path:?}: {refused}"
            );
            assert!(
                refused.to_string().contains("target-initrd"),
                "{path:?}: {refused}"
            );
            assert!(peer.inbox.take().is_none());
        }
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
        let agent = Rc::clone(&world.agent);
        let target = world.target.clone();
        let prepare = tokio::task::spawn_local(async move { agent.prepare(&target).await });
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
        assert!(entry.took_us < 60_000_000, "{} us", entry.took_us);
    });
}

#[test]
fn a_cancel_is_taken_until_it_is_decided_that_the_machine_jumps() {
    run(async {
        let (world, mut peer) = frozen().await;
        let gate = world.hold().await;
        let agent = Rc::clone(&world.agent);
        let jump = tokio::task::spawn_local(async move { agent.jump().await });
        until(|| world.phase() == Phase::Jumping).await;
        let (cancelled, why, ()) =
            tokio::join!(world.agent.cancel(Some("wait")), jump, async { drop(gate) });
        assert!(cancelled.is_ok(), "{cancelled:?}");
        assert!(matches!(why.unwrap(), Refusal::Cancelled { .. }));
        assert_eq!(world.kernel.jumps(), 0);
        assert_eq!(peer.heard().await.kind, EventKind::Cancel);
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn a_cancel_that_was_sent_and_not_read_counts() {
    run(async {
        let (world, _peer) = frozen().await;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let line = Rc::new(tokio::net::UnixStream::from_std(ours).unwrap());
        let agent = Rc::clone(&world.agent);
        agent.unread.watch(&line);
        let reader = tokio::task::spawn_local(async move {
            line.readable().await.unwrap();
            agent.call_off(None).unwrap();
            let _ = line.try_read(&mut [0; 64]);
            line
        });
        world.kernel.writes_late(theirs);
        let why = world.agent.jump().await;
        assert!(matches!(why, Refusal::Cancelled { .. }), "{why}");
        assert_eq!(world.kernel.jumps(), 0);
        reader.await.unwrap();
    });
}

#[test]
fn a_cancel_that_comes_too_late_is_told_so() {
    run_fast(async {
        let (world, _peer) = frozen_in(World::with_manager(Fake::default())).await;
        world
            .kernel
            .shuts_down(crate::manager::shutdown::Shutdown::UnderWay);
        let agent = Rc::clone(&world.agent);
        let jump = tokio::task::spawn_local(async move { agent.jump().await });
        until(|| world.kernel.jumps() == 1).await;
        let refused = world.agent.cancel(None).await.unwrap_err();
        assert!(matches!(refused, Refusal::Illegal { .. }), "{refused}");
        jump.abort();
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
fn administrators_that_come_together_do_not_wait_for_each_other_for_ever() {
    run(async {
        let (world, mut peer) = prepared().await;
        let agent = &world.agent;
        let gate = world.hold().await;
        let (one, two, three, four, ()) = tokio::join!(
            agent.cancel(None),
            agent.cancel(Some("me too")),
            agent.prepare(&world.target),
            agent.freeze(),
            async { drop(gate) },
        );
        assert!(one.is_ok());
        for refused in [two.err(), three.err(), four.err()] {
            assert!(
                matches!(refused, Some(Refusal::Illegal { .. })),
                "{refused:?}"
            );
        }
        assert_eq!(peer.heard().await.kind, EventKind::Cancel);
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn who_waits_for_a_cancel_does_not_wait_for_the_next_update() {
    run(async {
        let (world, mut peer) = with_one().await;
        let agent = Rc::clone(&world.agent);
        let target = world.target.clone();
        // Preparing, until somebody answers.
        let first = tokio::task::spawn_local(async move { agent.prepare(&target).await });
        assert_eq!(peer.heard().await.kind, EventKind::Prepare);
        let agent = Rc::clone(&world.agent);
        let target = world.target.clone();
        // Begins the next one at the moment the first is over.
        let next = tokio::task::spawn_local(async move {
            loop {
                let changed = agent.changed.notified();
                if agent.state.borrow().phase.0 == Phase::Normal {
                    return agent.prepare(&target).await;
                }
                changed.await;
            }
        });
        tokio::task::yield_now().await;
        world.agent.cancel(None).await.unwrap();
        assert!(first.await.unwrap().is_err());
        until(|| world.phase() == Phase::Preparing).await;
        world.agent.cancel(None).await.unwrap();
        assert!(next.await.unwrap().is_err());
    });
}

#[test]
fn what_is_told_to_end_ends_in_every_phase() {
    run(async {
        let (world, _peer) = with_one().await;
        world.agent.shut_down().await;
        let (world, _peer) = prepared().await;
        world.agent.shut_down().await;
        assert_eq!(world.phase(), Phase::Normal);
        let (world, _peer) = frozen().await;
        world.agent.shut_down().await;
        assert_eq!(world.phase(), Phase::Normal);

        let (world, mut peer) = with_one().await;
        let prepare = world.agent.prepare(&world.target);
        let end = async {
            peer.heard().await;
            world.agent.shut_down().await;
        };
        let (done, ()) = tokio::join!(prepare, end);
        assert!(matches!(done, Err(Refusal::Cancelled { .. })), "{done:?}");
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

/// The check of a name in a report.
fn found<'a>(report: &'a luo_varlink::Report, name: &str) -> &'a luo_varlink::Check {
    let mut checks = report.checks.iter();
    let check = checks.find(|check| check.name == name);
    check.unwrap_or_else(|| panic!("{name} in {report:?}"))
}

#[test]
fn a_file_of_a_kind_that_is_not_taken_in_is_answered() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        drop(agent.create_session(&peer.caller, "db").await.unwrap());
        for kind in [
            Kind::Path,
            Kind::Other("a folder"),
            Kind::Object("a device"),
        ] {
            let file = Declaration::NotTaken(kind);
            let declared = agent.declare(&peer.caller, "db", 1, file).await.unwrap();
            let check = found(&declared.report, "file-kind");
            assert_eq!(check.status, CheckStatus::Failed, "{check:?}");
        }
    });
}

#[test]
fn where_nothing_is_named_the_boot_loaders_entry_is_taken() {
    run(async {
        let world = World::new(OPEN, Fake::default());
        let report = world.agent.check_target(&Target::default()).await;
        let check = found(&report, "target-entry");
        assert_eq!(check.status, CheckStatus::Ok);
        assert!(check.found.contains("boot/vmlinuz"), "{check:?}");
        let named = Target {
            entry: Some("nobody".to_owned()),
            ..Target::default()
        };
        let report = world.agent.check_target(&named).await;
        let check = found(&report, "target-entry");
        assert!(!report.ok && check.found.contains("nobody"), "{check:?}");
        // Nothing is said of an image that nobody knows.
        assert!(
            report
                .checks
                .iter()
                .all(|check| check.name != "target-image")
        );
    });
}

#[test]
fn declared_files_are_limited_by_user() {
    run(async {
        let policy = format!("{OPEN}[limits]\nfiles = 2\nsessions = 1\n");
        let world = World::new(&policy, Fake::default());
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        drop(agent.create_session(&peer.caller, "db").await.unwrap());
        let refused = agent
            .create_session(&peer.caller, "db.2")
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::TooMany { .. }), "{refused}");
        let memfd = Arc::new(luo_sys::memfd::create("x", 4096).unwrap());
        let declare = async |session: &str, token| {
            let fd = std::os::fd::OwnedFd::from(memfd.try_clone().unwrap());
            let file = Declaration::File(fd.into());
            agent.declare(&peer.caller, session, token, file).await
        };
        for token in 0..2 {
            declare("db", token).await.unwrap();
        }
        let refused = declare("db", 2).await.unwrap_err();
        assert!(matches!(refused, Error::TooMany { .. }), "{refused}");
        assert!(declare("other", 0).await.is_err());
    });
}
