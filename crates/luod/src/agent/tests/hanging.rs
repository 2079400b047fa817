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

#[test]
fn a_finish_that_hangs_is_told_and_done_when_the_kernel_comes_back() {
    run(async {
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
        let refused = refused.unwrap_err();
        assert!(refused.to_string().contains("FINISH"), "{refused}");
        // Others hear at once what hangs.
        let begun = Instant::now();
        let refused = agent.create_session(&peer.caller, "db.more").await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("FINISH of a session has not come"),
            "{refused}"
        );
        assert!(begun.elapsed() < AT_ONCE);
        drop(gate);
        until(|| agent.state.borrow().sessions.get("db.ram").is_none()).await;
        assert!(world.kernel.finished().contains("db.ram"));
        drop(agent.create_session(&peer.caller, "db.more").await.unwrap());
    });
}
