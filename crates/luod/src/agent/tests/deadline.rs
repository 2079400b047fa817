// SPDX-License-Identifier: MIT OR Apache-2.0
//! After the jump: the deadline, and who is late.

use std::time::Duration;

use luo_varlink::Custody;

use super::*;

const ONE: &[(&str, &[&str], &[&str])] = &[("db", &["db.ram"], &[])];

/// A world after the jump whose deadline is five seconds away.
fn hurried(kernel: Fake, participants: &[(&str, &[&str], &[&str])]) -> World {
    let world = World::with(OPEN, kernel, "restore_deadline = 5|");
    let agent = &world.agent;
    agent.begin_restore(record(participants), Progress::default());
    agent.watch_the_deadline();
    world
}

fn last(world: &World) -> luo_varlink::HistoryEntry {
    world.agent.history().last(1).unwrap().updates.remove(0)
}

#[test]
fn who_is_late_loses_nothing() {
    run_fast(async {
        let world = hurried(Fake::with_incoming(&["db.ram"]), ONE);
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert_eq!(world.phase(), Phase::Normal, "the deadline ends the update");
        let entry = last(&world);
        assert_eq!(entry.outcome, luo_varlink::Outcome::Incomplete);
        assert_eq!(entry.reason.unwrap(), "these have not come back: db");

        agent.restored(&peer.caller).unwrap();
        let entry = last(&world);
        assert_eq!(entry.outcome, luo_varlink::Outcome::Completed);
        let reason = entry.reason.unwrap();
        assert!(reason.starts_with("db served again"), "{reason}");
        assert!(entry.blackout_us.is_some());
        assert_eq!(agent.history().last(9).unwrap().updates.len(), 1);
        agent.restored(&peer.caller).unwrap();

        // Whoever is started again afterwards is as welcome.
        agent.disconnected(&mut peer.caller);
        let mut peer = Peer::new(2, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        agent.restored(&peer.caller).unwrap();
        // Until it has finished no update begins, which would end it before it has all again.
        let report = agent.check_target(&world.target).await;
        let failed = luo_varlink::CheckStatus::Failed;
        let mut failed = report.checks.iter().filter(|check| check.status == failed);
        let check = failed.next().unwrap();
        assert_eq!(check.name, "workloads");
        assert!(
            check.found.contains("'db' has taken back session 'db.ram'"),
            "{check:?}"
        );
        let refused = agent.prepare(&world.target).await.unwrap_err();
        assert!(
            matches!(refused, luo_varlink::admin::Error::BadPlan { .. }),
            "{refused}"
        );
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        assert!(agent.plan().obstacles.is_empty());
        assert!(agent.restored(&peer.caller).is_err(), "it has nothing left");
    });
}

#[test]
fn who_waits_for_one_that_does_not_come_back_gets_its_own_at_the_deadline() {
    run_fast(async {
        let two: &[(&str, &[&str], &[&str])] = &[
            ("store", &["store"], &[]),
            ("a", &["a"], &["store"]),
            ("vm", &["vm"], &["store"]),
        ];
        let world = hurried(Fake::with_incoming(&["store", "a", "vm"]), two);
        let agent = &world.agent;
        let mut a = Peer::new(1, 990);
        a.register(&world, "a", &["store"]).unwrap();
        let mut vm = Peer::new(2, 990);
        vm.register(&world, "vm", &["store"]).unwrap();
        let (one, other) = tokio::join!(agent.claim(&a.caller, "a"), agent.claim(&vm.caller, "vm"));
        assert!(one.is_ok() && other.is_ok());
        agent.restored(&a.caller).unwrap();
        agent.restored(&vm.caller).unwrap();
        until(|| world.phase() == Phase::Normal).await;
        assert_eq!(world.kernel.finished(), ["store".to_owned()].into());
        let reason = last(&world).reason.unwrap();
        let said = "nobody claimed: store (released, with all that was in it)";
        assert!(reason.contains(said), "{reason}");
        assert!(!reason.contains("vm:"), "{reason}");
    });
}

#[test]
fn what_was_claimed_once_is_not_released_at_the_deadline() {
    run_fast(async {
        let world = hurried(Fake::with_incoming(&["db.ram"]), ONE);
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        let is_with = |who: Custody| {
            let metrics = agent.metrics_text();
            metrics.contains(&format!("luod_sessions{{custody=\"{}\"}} 1\n", who.word()))
        };
        assert!(is_with(Custody::Shared));
        // It is started again, and the deadline passes in that moment.
        agent.disconnected(&mut peer.caller);
        // luod has it alone, and waits for its workload: it cannot be released.
        assert!(is_with(Custody::Agent));
        let refused = agent.release("db.ram").await.unwrap_err();
        let is_awaited = matches!(refused, luo_varlink::admin::Error::Illegal { .. });
        assert!(is_awaited, "{refused}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.phase(), Phase::Normal);
        assert!(world.kernel.finished().is_empty());
        let listed = agent.sessions().await.unwrap().remove(0);
        assert_eq!(listed.custody, Custody::Agent);
        assert_eq!(listed.identity, Some(identity(990)));
        assert_eq!(listed.left, Some(false));
        let mut peer = Peer::new(2, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        agent.restored(&peer.caller).unwrap();
        assert_eq!(last(&world).outcome, luo_varlink::Outcome::Completed);
    });
}

#[test]
fn what_nobody_claims_is_released_at_the_deadline() {
    run_fast(async {
        let world = hurried(Fake::with_incoming(&["db.ram"]), ONE);
        // The clock goes on while this sleeps, and the kernel then has its own time.
        tokio::time::sleep(Duration::from_secs(7)).await;
        until(|| world.phase() == Phase::Normal).await;
        assert!(world.kernel.finished().contains("db.ram"));
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        world.agent.restored(&peer.caller).unwrap();
        let entry = last(&world);
        assert_eq!(entry.outcome, luo_varlink::Outcome::Incomplete);
        assert!(entry.reason.unwrap().contains("nobody claimed: db.ram"));
    });
}

#[test]
fn what_a_connected_workload_has_not_asked_for_is_kept_for_it() {
    run_fast(async {
        let world = hurried(Fake::with_incoming(&["db.ram"]), ONE);
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        tokio::time::sleep(Duration::from_secs(7)).await;
        until(|| world.phase() == Phase::Normal).await;
        assert!(world.kernel.finished().is_empty());
        let reason = last(&world).reason.unwrap();
        assert_eq!(reason, "these have not come back: db");
        let obstacle = agent.plan().obstacles.remove(0);
        assert!(
            obstacle.contains("'db' has not asked for session 'db.ram'"),
            "{obstacle}"
        );
        // It is started again, and luod too could have been: the notes say whose it is.
        agent.disconnected(&mut peer.caller);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let owners = agent.notes.owners().unwrap();
        assert_eq!(owners[0].sessions, ["db.ram"]);
        let mut peer = Peer::new(2, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        agent.restored(&peer.caller).unwrap();
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        assert_eq!(last(&world).outcome, luo_varlink::Outcome::Completed);
    });
}

/// The time in which luod stands still is nobody's fault but its own.
#[test]
fn a_stall_of_luod_does_not_count() {
    run_fast(async {
        let world = hurried(Fake::with_incoming(&["db.ram"]), ONE);
        let agent = &world.agent;
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(world.phase(), Phase::Updated);
        let until = agent.state.borrow().restore.as_ref().unwrap().until;
        let left = until
            .unwrap()
            .saturating_duration_since(std::time::Instant::now());
        assert!(
            left > Duration::from_secs(4),
            "what is told of it is up to date"
        );
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        agent.restored(&peer.caller).unwrap();
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        assert_eq!(last(&world).outcome, luo_varlink::Outcome::Completed);
    });
}

/// What lies in a socket by the deadline was sent in time.
#[test]
fn who_has_asked_by_the_deadline_is_in_time() {
    run_fast(async {
        let world = hurried(Fake::with_incoming(&["db.ram"]), ONE);
        let agent = Rc::clone(&world.agent);
        let (line, mut sender) = std::os::unix::net::UnixStream::pair().unwrap();
        let line = Rc::new(line);
        agent.clients_unread.watch(&line);
        tokio::time::sleep(Duration::from_millis(4990)).await;
        std::io::Write::write_all(&mut sender, b"register").unwrap();
        let reading = tokio::task::spawn_local(async move {
            // It gets its turn only after the deadline has been found to pass.
            tokio::time::sleep(Duration::from_millis(10)).await;
            for _ in 0..9 {
                tokio::task::yield_now().await;
            }
            let mut peer = Peer::new(1, 990);
            let registered = agent.register(&mut peer.caller, "db", Vec::new(), Inbox::default());
            let mut text = [0; 8];
            std::io::Read::read_exact(&mut &*line, &mut text).unwrap();
            let claimed = agent.claim(&peer.caller, "db.ram").await.map(drop);
            (registered.map(drop), claimed)
        });
        let (registered, claimed) = reading.await.unwrap();
        assert!(registered.is_ok() && claimed.is_ok(), "{claimed:?}");
        until(|| world.phase() == Phase::Normal).await;
        assert!(world.kernel.finished().is_empty());
    });
}

/// luod was started anew, and then stopped for a minute.
#[test]
fn a_stall_does_not_count_for_who_is_to_connect_again() {
    use crate::journal::notes::Owner;
    use crate::manager::store::Stored;
    run_fast(async {
        let kernel = Fake::default();
        let world = World::new(OPEN, kernel.clone());
        let agent = &world.agent;
        let owner = |name: &str| Owner {
            workload: name.into(),
            identity: identity(990),
            needs: Vec::new(),
            sessions: vec![name.into()],
            incoming: Vec::new(),
            left: false,
            parked: Vec::new(),
        };
        let mut all = Vec::new();
        for name in ["db", "gone"] {
            agent.notes.set_owner(&owner(name)).unwrap();
            all.push(Stored {
                name: name.into(),
                session: kernel.create(name).unwrap().into(),
                is_it: true,
            });
        }
        agent.start(all).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        tokio::time::resume();
        until(|| !kernel.held().contains("gone")).await;
        let (claimed, _fd) = agent.claim(&peer.caller, "db").await.unwrap();
        assert!(!claimed.incoming);
    });
}

/// Nothing is waited for that has come about.
#[test]
fn who_has_connected_again_is_waited_for_no_longer() {
    run_fast(async {
        let world = hurried(Fake::with_incoming(&["db.ram"]), ONE);
        let begun = tokio::time::Instant::now();
        let agent = &world.agent;
        let is_there = |agent: &Agent| agent.state.borrow().phase.0 == Phase::Normal;
        let (_, ()) = tokio::join!(
            agent.wait_patiently(Duration::from_secs(30), is_there, |_| {}),
            comes_back(&world),
        );
        // This clock runs ahead while the kernel's thread is at work, and not as far as that.
        assert!(begun.elapsed() < Duration::from_secs(30));
    });
}
