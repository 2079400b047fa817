// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the agent has the kernel do before the jump, and a kernel that refuses or hangs.

use std::time::{Duration, Instant};

use luo_preflight::file::Kind;
use luo_varlink::EventKind;
use luo_varlink::admin::Error as Refusal;

use super::*;
use crate::agent::Declaration;
use crate::agent::state::Seen;
use crate::decide::config::Seconds;
use crate::decide::names::OWN_SESSION;
use crate::kernel::Probe;

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
        let prepare = prepares(&world);
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

/// The kernel's thread is at it, and answers nobody; who looks is told at once all the same.
#[test]
fn a_step_of_the_kernel_that_takes_long_is_told_of() {
    run(async {
        let (world, mut peer) = prepared().await;
        assert_eq!(world.agent.status().await.work, None);
        let gate = world.hold().await;
        let agent = Rc::clone(&world.agent);
        let freeze = tokio::task::spawn_local(async move { agent.freeze().await });
        until(|| world.agent.at_work.has_the_kernel()).await;
        let begun = Instant::now();
        let work = world.agent.status().await.work.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert_eq!(work.what, "the kernel (kexec_file_load)");
        let deadline = world.agent.config().kernel_deadline.0.as_millis();
        let most = u64::try_from(deadline).unwrap();
        assert!((most - 60_000..=most).contains(&work.left_ms), "{work:?}");
        drop(gate);
        agrees(&world, &mut peer, Step::Freeze).await;
        freeze.await.unwrap().unwrap();
        assert_eq!(world.agent.status().await.work, None);

        // So are the checks.
        let (world, _peer) = with_one().await;
        let (gate, closed) = std::sync::mpsc::channel::<()>();
        world.boot_hangs.lock().unwrap().replace(closed);
        let prepare = prepares(&world);
        until(|| world.agent.at_work.told().is_some()).await;
        let work = world.agent.status().await.work.unwrap();
        assert_eq!(work.what, "the boot entries");
        world.agent.cancel(None).await.unwrap();
        prepare.await.unwrap().unwrap_err();
        assert_eq!(world.agent.status().await.work, None);
        drop(gate);

        // And those that somebody asks for without an update.
        let (gate, closed) = std::sync::mpsc::channel::<()>();
        world.boot_hangs.lock().unwrap().replace(closed);
        let (agent, target) = (Rc::clone(&world.agent), world.target.clone());
        let checking = tokio::task::spawn_local(async move { agent.check_target(&target).await });
        until(|| world.agent.at_work.told().is_some()).await;
        let work = world.agent.status().await.work.unwrap();
        assert_eq!(work.what, "the checks");
        drop(gate);
        checking.await.unwrap();
        assert_eq!(world.agent.status().await.work, None);
    });
}

/// The folder of the boot entries lies on a disk, too.
#[test]
fn a_disk_that_hangs_before_the_checks_keeps_nobody() {
    run(async {
        let hurried = World::with(OPEN, Fake::default(), "kernel_deadline = 1|");
        let (world, peer) = with_one_in(hurried).await;
        let hang = || {
            let (gate, closed) = std::sync::mpsc::channel();
            world.boot_hangs.lock().unwrap().replace(closed);
            gate
        };
        let gate: std::sync::mpsc::Sender<()> = hang();
        let late = world.agent.prepare(&world.target).await.unwrap_err();
        assert!(late.to_string().contains("within 1 s"), "{late}");
        drop(gate);
        // Where no update is under way it is the same.
        let gate = hang();
        let report = world.agent.check_target(&world.target).await;
        assert!(!report.ok && report.checks[0].found.contains("a disk may hang"));
        drop(gate);
        let gate = hang();
        let prepare = prepares(&world);
        until(|| world.phase() == Phase::Preparing).await;
        world.agent.cancel(Some("enough")).await.unwrap();
        let refused = prepare.await.unwrap().unwrap_err();
        assert!(matches!(refused, Refusal::Cancelled { .. }), "{refused}");
        drop(gate);
        assert!(peer.inbox.take().is_none());
        assert_eq!(world.phase(), Phase::Normal);
    });
}

/// As many as whoever looks each minute starts in a night.
#[test]
fn checks_that_hang_keep_no_thread_from_the_history() {
    run(async {
        let (world, _peer) = with_one().await;
        let mut gates = Vec::new();
        let mut looks = Vec::new();
        // More than there are threads for all that may hang.
        for look in 0..600 {
            let has_thread = look < crate::agent::THREADS;
            if has_thread {
                let (gate, closed) = std::sync::mpsc::channel::<()>();
                world.boot_hangs.lock().unwrap().replace(closed);
                gates.push(gate);
            }
            let (agent, target) = (Rc::clone(&world.agent), Target::default());
            looks.push(tokio::task::spawn_local(async move {
                agent.settle(&target).await;
            }));
            if has_thread {
                until(|| world.boot_hangs.lock().unwrap().is_none()).await;
            }
        }
        assert_eq!(world.agent.history_fails().await, None);
        assert!(!looks.iter().any(tokio::task::JoinHandle::is_finished));
        drop(gates);
        for look in looks {
            look.await.unwrap();
        }
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
        // A peer that only asks something is answered meanwhile.
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

/// Nobody is to look for the fault in a kernel that is loaded.
#[test]
fn a_disk_that_hangs_before_the_freeze_is_told_as_a_disk() {
    run(async {
        let (world, mut peer) = prepared().await;
        let mut config = Config::clone(&world.agent.config());
        config.kernel_deadline = Seconds(Duration::from_millis(50));
        world.agent.config.replace(Rc::new(config));
        let gate = world.kernel.disks_hang();
        let late = world.agent.freeze().await.unwrap_err().to_string();
        assert!(
            late.contains("sync") && late.contains("within 0.05 s"),
            "{late}"
        );
        assert!(!late.contains("kexec_file_load"), "{late}");
        assert_eq!(peer.heard().await.kind, EventKind::Cancel);
        // It is loaded still, and whoever looks is told what that means.
        assert!(world.kernel.is_loaded() && world.agent.is_not_undone());
        let seen = Seen {
            probe: Probe {
                state: Some(luo_sys::State::Normal),
                ..fake::probe()
            },
            at: Instant::now(),
            changes: world.agent.changes.get(),
        };
        world.agent.seen.replace(Some(seen));
        let status = world.agent.status().await;
        assert_eq!(status.kernel_state.as_deref(), Some("prepared"));
        let warnings = status.warnings.unwrap().concat();
        assert!(warnings.contains("any reboot jumps"), "{warnings}");
        let says = "the kernel says that it is prepared and that the next kernel is loaded";
        assert!(warnings.contains(says), "{warnings}");
        drop(gate);
        until(|| world.agent.heed_hang("x").is_ok()).await;
        assert!(!world.kernel.is_loaded() && !world.agent.is_not_undone());
        until(|| !world.agent.notes.is_undoing()).await;
    });
}

/// The update that is over stands in the history, and nothing else came about.
#[test]
fn a_luod_that_is_started_before_an_update_is_undone_undoes_it_and_makes_none_up() {
    run(async {
        let (world, _peer) = prepared().await;
        let mut config = Config::clone(&world.agent.config());
        config.kernel_deadline = Seconds(Duration::from_millis(50));
        world.agent.config.replace(Rc::new(config));
        let _gate = world.kernel.disks_hang();
        world.agent.freeze().await.unwrap_err();
        assert!(world.agent.notes.update().unwrap().is_none());

        // It is killed, so its sessions are closed.
        let kernel = world.kernel.clone();
        kernel.is_brought_into(luo_sys::State::Prepared, &[OWN_SESSION]);
        let next = World::new(OPEN, kernel);
        next.takes_notes_of(&world);
        next.agent.start(Vec::new()).await.unwrap();
        assert!(!next.kernel.is_loaded() && !next.kernel.is_prepared());
        assert_eq!(next.kernel.foreign(), None);
        assert_eq!(next.agent.past(9).await.updates, []);
        assert!(!next.agent.notes.is_undoing());
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

/// Nothing calls it off any more, so whoever looks is told at least.
#[test]
fn a_jump_that_hangs_is_told_of() {
    run(async {
        let hurried = World::with(OPEN, Fake::default(), "kernel_deadline = 1|");
        let (world, mut peer) = frozen_in(hurried).await;
        let agent = Rc::clone(&world.agent);
        let mut lines = agent.watch();
        let gate = world.kernel.hangs_in("reboot(KEXEC)");
        let jumping = Rc::clone(&agent);
        let jump = tokio::task::spawn_local(async move { jumping.jump().await });
        until(|| world.kernel.jumps() == 1).await;
        let status = agent.status().await;
        assert_eq!(status.work.unwrap().what, "the kernel (reboot(KEXEC))");
        assert_eq!(status.warnings, None);

        until(|| agent.hangs_in().is_some()).await;
        let status = agent.status().await;
        assert_eq!(status.phase, Phase::Jumping);
        assert_eq!(status.work.unwrap().left_ms, 0);
        let warnings = status.warnings.unwrap().join("\n");
        assert!(
            warnings.contains("the jump has not come back for") && warnings.contains("reset"),
            "{warnings}"
        );
        assert!(
            !warnings.contains("nothing is lost meanwhile"),
            "{warnings}"
        );
        let told = || lines.try_recv().ok()?.detail.clone();
        let told = std::iter::repeat_with(told).take(99).flatten();
        let told: Vec<_> = told
            .filter(|line| line.contains("the jump has not come"))
            .collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(agent.cancel(None).await.is_err());

        drop(gate);
        let why = jump.await.unwrap();
        assert!(why.to_string().contains("reboot(KEXEC)"), "{why}");
        assert_eq!(peer.heard().await.kind, EventKind::Cancel);
        let status = agent.status().await;
        assert_eq!((status.work, status.warnings), (None, None));
    });
}
