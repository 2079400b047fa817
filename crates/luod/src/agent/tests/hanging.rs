// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors whose close has to be waited for, and a kernel that does not come back.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use luo_sys::{Errno, Session};

use super::*;
use crate::aside;

/// Far less than such a close takes.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A descriptor whose close waits until the other end goes.
fn hangs() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    // It wants to tell all that was written, and nobody reads it.
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::from_secs(600))).unwrap();
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[0; 1 << 16]).is_ok() {}
    stream.set_nonblocking(false).unwrap();
    (stream.into(), other)
}

/// The agent has something as its copy of a session whose close waits.
fn does_not_close(world: &World, name: &str) -> TcpStream {
    let (fd, other) = hangs();
    let mut state = world.agent.state.borrow_mut();
    let held = state.sessions.get_mut(name).unwrap();
    held.session = Some(Session::from_fd(fd).into());
    other
}

#[test]
fn a_session_that_does_not_close_is_waited_for_by_nobody_but_its_name() {
    run(async {
        let (world, mut peer) = with_one().await;
        let agent = &world.agent;
        let other = does_not_close(&world, "db.ram");
        let begun = Instant::now();
        agent.disconnected(&mut peer.caller);
        assert!(begun.elapsed() < AT_ONCE);
        let mut peer = Peer::new(2, 990);
        peer.register(&world, "db", &[]).unwrap();
        drop(agent.create_session(&peer.caller, "db.more").await.unwrap());
        let refused = agent.create_session(&peer.caller, "db.ram").await;
        let refused = refused.unwrap_err();
        let is_busy = |why: &Error| matches!(why, Error::Kernel { errno, .. } if *errno == Errno::EBUSY.get());
        assert!(is_busy(&refused), "{refused}");
        let (count, _) = aside::hanging(Duration::ZERO).unwrap();
        assert!(count >= 1);
        drop(other);
        until(|| !agent.state.borrow().sessions.is_closing("db.ram")).await;
        drop(agent.create_session(&peer.caller, "db.ram").await.unwrap());
    });
}

#[test]
fn what_is_attached_and_is_no_session_is_closed_by_somebody_else() {
    run(async {
        let (world, mut peer) = with_one().await;
        let agent = &world.agent;
        let (fd, other) = hangs();
        let begun = Instant::now();
        let refused = agent.attach_session(&peer.caller, "db.ram", fd.into());
        let refused = refused.await.unwrap_err();
        assert!(matches!(refused, Error::BadDescriptor { .. }), "{refused}");
        assert!(begun.elapsed() < AT_ONCE);
        drop(other);
        agent.disconnected(&mut peer.caller);
    });
}

/// A kernel that hangs, and has told the workload so that wanted its session finished.
async fn hung_in_a_finish() -> (World, Peer, std::sync::mpsc::Sender<()>) {
    let kernel = Fake::with_incoming(&["db.ram"]);
    let world = World::with(OPEN, kernel, "kernel_deadline = 1|");
    let agent = &world.agent;
    let participants: &[(&str, &[&str], &[&str])] = &[("db", &["db.ram"], &[])];
    agent.begin_restore(record(participants), Progress::default());
    let mut peer = Peer::new(1, 990);
    peer.register(&world, "db", &[]).unwrap();
    agent.claim(&peer.caller, "db.ram").await.unwrap();
    agent.restored(&peer.caller).unwrap();
    let gate = world.hold().await;
    let refused = agent.finish_session(&peer.caller, "db.ram").await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("FINISH") && refused.contains("as soon as the kernel does it"),
        "{refused}"
    );
    (world, peer, gate)
}

#[test]
fn a_finish_that_hangs_is_told_and_done_when_the_kernel_comes_back() {
    run(async {
        let (world, peer, gate) = hung_in_a_finish().await;
        let agent = &world.agent;
        // Others hear at once what hangs.
        let begun = Instant::now();
        let refused = agent.create_session(&peer.caller, "db.more").await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("FINISH of a session has not come"),
            "{refused}"
        );
        let warnings = agent.status().await.warnings.unwrap();
        assert!(
            warnings.iter().any(|warning| {
                warning.contains("the kernel hangs: FINISH of a session has not come back")
            }),
            "{warnings:?}"
        );
        assert!(begun.elapsed() < AT_ONCE);
        drop(gate);
        until(|| agent.state.borrow().sessions.get("db.ram").is_none()).await;
        assert!(world.kernel.finished().contains("db.ram"));
        assert_eq!(world.phase(), Phase::Normal, "the update is over");
        assert!(agent.status().await.warnings.is_none());
        drop(agent.create_session(&peer.caller, "db.more").await.unwrap());
    });
}

#[test]
fn a_finish_that_hangs_can_be_asked_for_again() {
    run(async {
        // While it hangs: it is waited for.
        let (world, peer, gate) = hung_in_a_finish().await;
        let again = world.agent.finish_session(&peer.caller, "db.ram");
        let (done, ()) = tokio::join!(again, async { drop(gate) });
        done.unwrap();
        let unknown = world.agent.finish_session(&peer.caller, "db.ram").await;
        assert!(matches!(unknown, Err(Error::NoSuchSession { .. })));

        // When it is done: its workload hears that.
        let (world, peer, gate) = hung_in_a_finish().await;
        let agent = &world.agent;
        drop(gate);
        until(|| agent.state.borrow().sessions.get("db.ram").is_none()).await;
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();

        // The name is another session's afterwards.
        let (world, peer, gate) = hung_in_a_finish().await;
        let agent = &world.agent;
        drop(gate);
        until(|| agent.state.borrow().sessions.get("db.ram").is_none()).await;
        drop(agent.create_session(&peer.caller, "db.ram").await.unwrap());
        let unexpected = agent.finish_session(&peer.caller, "db.ram").await;
        assert!(matches!(unexpected, Err(Error::NotExpected { .. })));
    });
}

/// A workload that does not wait for that connects again, gives back what it has, and goes on.
#[test]
fn a_finish_that_hangs_keeps_no_workload_out() {
    run(async {
        let (world, mut peer, gate) = hung_in_a_finish().await;
        let agent = &world.agent;
        agent.disconnected(&mut peer.caller);
        let mut peer = Peer::new(2, 990);
        peer.register(&world, "db", &[]).unwrap();
        let gives = || {
            let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            let session = Session::from_fd(ours.into());
            agent.give_back(&peer.caller, "db.ram", session.into())
        };
        gives().unwrap();
        drop(gate);
        until(|| agent.state.borrow().sessions.get("db.ram").is_none()).await;
        // To take it in would make it one for the next kernel.
        gives().unwrap();
        assert!(agent.state.borrow().sessions.get("db.ram").is_none());
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        drop(agent.create_session(&peer.caller, "db.ram").await.unwrap());
    });
}

#[test]
fn a_claim_that_hangs_is_told_and_loses_nothing() {
    run(async {
        let kernel = Fake::with_incoming(&["db.ram", "web.ram"]);
        let world = World::with(OPEN, kernel, "kernel_deadline = 1|");
        let agent = &world.agent;
        let participants: &[(&str, &[&str], &[&str])] =
            &[("db", &["db.ram"], &[]), ("web", &["web.ram"], &[])];
        agent.begin_restore(record(participants), Progress::default());
        let (mut db, mut web) = (Peer::new(1, 990), Peer::new(2, 990));
        db.register(&world, "db", &[]).unwrap();
        web.register(&world, "web", &[]).unwrap();
        let gate = world.hold().await;
        for _ in 0..2 {
            let late = agent.claim(&db.caller, "db.ram").await.unwrap_err();
            let late = late.to_string();
            assert!(
                late.contains("RETRIEVE_SESSION") && late.contains("within 1 s"),
                "{late}"
            );
        }
        let begun = Instant::now();
        let refused = agent.claim(&web.caller, "web.ram").await.unwrap_err();
        assert!(
            refused.to_string().contains("has not come back yet"),
            "{refused}"
        );
        assert!(begun.elapsed() < AT_ONCE);
        let again = agent.claim(&db.caller, "db.ram");
        let (claimed, ()) = tokio::join!(again, async { drop(gate) });
        assert!(claimed.unwrap().0.incoming);
        assert!(
            agent
                .claim(&web.caller, "web.ram")
                .await
                .unwrap()
                .0
                .incoming
        );
    });
}

#[test]
fn a_session_that_the_kernel_was_late_with_is_given_to_who_asks_again() {
    run(async {
        let world = World::with(OPEN, Fake::default(), "kernel_deadline = 1|");
        let (world, mut peer) = with_one_in(world).await;
        let agent = &world.agent;
        let gate = world.hold().await;
        let late = agent.create_session(&peer.caller, "db.more").await;
        let late = late.unwrap_err().to_string();
        assert!(
            late.contains("CREATE_SESSION") && late.contains("within 1 s"),
            "{late}"
        );
        let again = agent.create_session(&peer.caller, "db.more");
        let (made, ()) = tokio::join!(again, async { drop(gate) });
        drop(made.unwrap());
        let other = agent.create_session(&peer.caller, "db.more").await;
        assert!(other.unwrap_err().to_string().contains("EEXIST"));

        // One whose workload does not come back goes; the name is kept until then.
        let gate = world.hold().await;
        let late = agent.create_session(&peer.caller, "db.last").await;
        assert!(late.is_err());
        agent.disconnected(&mut peer.caller);
        let mut peer = Peer::new(2, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.disconnected(&mut peer.caller);
        drop(gate);
        until(|| agent.state.borrow().workloads.is_empty()).await;
        until(|| world.kernel.held().is_empty()).await;

        // Or it comes back, and claims it.
        let mut peer = Peer::new(3, 990);
        peer.register(&world, "db", &[]).unwrap();
        let gate = world.hold().await;
        let late = agent.create_session(&peer.caller, "db.last").await;
        assert!(late.is_err());
        agent.disconnected(&mut peer.caller);
        let mut peer = Peer::new(4, 990);
        peer.register(&world, "db", &[]).unwrap();
        let claiming = agent.claim(&peer.caller, "db.last");
        let (claimed, ()) = tokio::join!(claiming, async { drop(gate) });
        assert!(!claimed.unwrap().0.incoming);
    });
}

#[test]
fn a_release_that_hangs_is_told_and_done_when_the_kernel_comes_back() {
    run(async {
        let kernel = Fake::with_incoming(&["theirs"]);
        kernel.lists_incoming();
        let world = World::with(OPEN, kernel, "kernel_deadline = 1|");
        let agent = &world.agent;
        let gate = world.hold().await;
        let late = agent.release_or_force("theirs", true).await.unwrap_err();
        assert!(
            late.to_string().contains("as soon as the kernel does it"),
            "{late}"
        );
        let begun = Instant::now();
        let refused = agent.release_or_force("theirs", true).await.unwrap_err();
        assert!(
            refused.to_string().contains("has not come back yet"),
            "{refused}"
        );
        assert!(begun.elapsed() < AT_ONCE);
        drop(gate);
        until(|| world.kernel.finished().contains("theirs")).await;
    });
}

/// It is not said that the update is over.
#[test]
fn an_update_that_cannot_be_finished_yet_is_told_as_one() {
    run(async {
        let kernel = Fake::with_incoming(&["db.ram", "db.more"]);
        let world = World::with(OPEN, kernel, "kernel_deadline = 1|");
        let agent = &world.agent;
        let participants: &[(&str, &[&str], &[&str])] = &[("db", &["db.ram", "db.more"], &[])];
        agent.begin_restore(record(participants), Progress::default());
        let gate = world.hold().await;
        let begun = Instant::now();
        let late = agent.finish(true).await.unwrap_err();
        assert!(late.to_string().contains("within 1 s"), "{late}");
        assert!(begun.elapsed() < AT_ONCE, "each does not take as long");
        assert_eq!(world.phase(), Phase::Updated);
        drop(gate);
        until(|| agent.state.borrow().sessions.get("db.more").is_none()).await;
        agent.finish(true).await.unwrap();
        assert_eq!(world.phase(), Phase::Normal);
        agent.until_written().await;
        let entry = agent.history().last(1).unwrap().updates.pop().unwrap();
        let reason = entry.reason.unwrap();
        assert!(
            reason.contains("nobody claimed: db.more, db.ram"),
            "{reason}"
        );
    });
}

/// By the time that the kernel comes back, it may be in another update.
#[test]
fn a_cancel_by_force_is_not_made_when_it_was_refused() {
    run(async {
        let world = World::with(OPEN, Fake::default(), "kernel_deadline = 1|");
        world
            .kernel
            .is_brought_into(luo_sys::State::Prepared, &["theirs"]);
        let gate = world.hold().await;
        let refused = world.agent.cancel_by_force(None).await.unwrap_err();
        assert!(refused.to_string().contains("try again"), "{refused}");
        drop(gate);
        until(|| world.agent.heed_hang("x").is_ok()).await;
        world.agent.kernel.run(|_| ()).await;
        assert_eq!(world.kernel.foreign(), Some(luo_sys::State::Prepared));
        world.agent.cancel_by_force(None).await.unwrap();
        assert_eq!(world.kernel.foreign(), None);
    });
}

/// Everybody may look, and what changes something would stand behind all who did.
#[test]
fn whoever_looks_leaves_one_question_at_a_time_with_the_kernel() {
    run_fast(async {
        let world = World::new(OPEN, Fake::default());
        let agent = &world.agent;
        let gate = world.hold().await;
        let before = world.kernel.looks();
        for _ in 0..4 {
            let (one, other) = tokio::join!(agent.status(), agent.status());
            assert_eq!(one.phase, other.phase);
        }
        drop(gate);
        agent.kernel.run(|_| ()).await;
        assert_eq!(world.kernel.looks() - before, 1);
    });
}

#[test]
fn who_looks_does_not_wait_for_another_opener() {
    run(async {
        let (world, mut peer) = with_one().await;
        let agent = &world.agent;
        agent.status().await;
        agent.sessions().await.unwrap();
        assert_eq!(world.kernel.waits(), 0);
        // A step of an update does.
        let prepare = agent.prepare(&world.target);
        let (done, ()) = tokio::join!(prepare, agrees(&world, &mut peer, Step::Prepare));
        done.unwrap();
        assert_eq!(world.kernel.waits(), 1);
    });
}

/// It stands in the notes, so nobody needs the kernel for it.
#[test]
fn a_finish_of_the_record_that_hangs_keeps_no_workload_out() {
    run(async {
        let kernel = Fake::with_incoming(&["db.ram"]);
        let bytes = record(&[("db", &["db.ram"], &[])]).encode(1 << 20).unwrap();
        kernel.hands_over(bytes);
        let gate = kernel.hangs_in("FINISH of the record");
        let world = World::with(OPEN, kernel.clone(), "kernel_deadline = 1|");
        let agent = &world.agent;
        let begun = Instant::now();
        agent.start(Vec::new()).await.unwrap();
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        assert!(begun.elapsed() < AT_ONCE);
        until(|| agent.hangs_in().is_some()).await;
        let warnings = agent.status().await.warnings.unwrap().concat();
        assert!(
            warnings.contains("FINISH of the previous kernel's record has not come back"),
            "{warnings}"
        );
        let refused = agent.claim(&peer.caller, "db.ram").await.unwrap_err();
        assert!(refused.to_string().contains("try again"), "{refused}");
        drop(gate);
        until(|| agent.hangs_in().is_none()).await;
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        assert!(!kernel.has_record());
    });
}

/// Whoever gives a record up is told, and until it is given up it is one that cannot be read.
#[test]
fn a_record_that_cannot_be_given_up_yet_is_told_as_one() {
    run(async {
        let kernel = Fake::default();
        kernel.hands_over(b"of another version".to_vec());
        let world = World::with(OPEN, kernel.clone(), "kernel_deadline = 1|");
        let agent = &world.agent;
        agent.start(Vec::new()).await.unwrap();
        let gate = kernel.hangs_in("FINISH of the record");
        let late = agent.finish(true).await.unwrap_err().to_string();
        assert!(late.contains("as soon as the kernel does it"), "{late}");
        let begun = Instant::now();
        let again = agent.finish(true).await.unwrap_err().to_string();
        assert!(again.contains("has not come back yet"), "{again}");
        assert!(begun.elapsed() < AT_ONCE);
        let status = agent.status().await;
        assert_eq!(status.phase, Phase::Updated);
        assert!(status.unreadable.is_some());
        let warnings = status.warnings.unwrap().concat();
        assert!(
            warnings.contains("the kernel hangs: FINISH of"),
            "{warnings}"
        );
        drop(gate);
        until(|| world.phase() == Phase::Normal).await;
        assert_eq!(agent.unreadable(), None);
        assert!(!kernel.has_record());
        agent.prepare(&world.target).await.unwrap();
    });
}

/// A claim is under way, and the kernel does not answer: the update is not over.
#[test]
fn a_finish_that_ends_nothing_yet_says_so() {
    run_fast(async {
        let kernel = Fake::with_incoming(&["db.ram"]);
        let world = restoring(kernel, &[("db", &["db.ram"], &[])]);
        let agent = &world.agent;
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        let gate = world.hold().await;
        let claims = Rc::clone(agent);
        let claim = tokio::task::spawn_local(async move {
            // Whether it has waited that long does not matter.
            let _ = claims.claim(&peer.caller, "db.ram").await;
            peer
        });
        until(|| agent.state.borrow().sessions.any_busy()).await;
        for release in [false, true] {
            let told = agent.finish(release).await.unwrap_err().to_string();
            assert!(told.contains("try again"), "{told}");
            assert_eq!(world.phase(), Phase::Updated);
        }
        tokio::time::resume();
        drop(gate);
        until(|| world.phase() == Phase::Normal).await;
        drop(claim.await.unwrap());
    });
}
