// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Memory that is not there at once: nobody waits for it under the engine's lock, and no call
//! fails for want of it where room can be made. That nothing which waits is asked for under
//! the lock, the host asserts at each request of each test.

use luo_core::mem::fault;
use luo_core::ops::Needed;
use luo_core::{ops, Access, Actor, Error, SessionId};

use crate::support::{compat, handed, name, Handed, TestFlb, TestHandler, TestHost};

/// Runs an operation in a fresh scene for each request that can be refused at first. Answers
/// how often room was made.
fn each_wait<T>(
    scene: impl Fn() -> (TestHost, T),
    operation: impl Fn(&TestHost, &T) -> Result<(), Error>,
) -> u64 {
    let mut waits = 0;
    for requests in 0.. {
        let (host, with) = scene();
        let before = fault::rooms();
        fault::wait_after(requests);
        let outcome = operation(&host, &with);
        if fault::disarm() {
            assert_eq!(outcome, Ok(()));
            return waits;
        }
        match fault::rooms() - before {
            0 => {
                // A page for the next kernel, or a callback: what those say is not tried again.
                let refused = outcome.is_err_and(|why| why == Error::NoMemory);
                assert!(!refused, "request {requests}");
            }
            1 => assert_eq!(outcome, Ok(()), "request {requests}"),
            rooms => panic!("room was made {rooms} times for request {requests}"),
        }
        waits += fault::rooms() - before;
    }
    unreachable!("some request is the last")
}

fn session() -> (TestHost, SessionId) {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    let session = host.create("vm");
    (host, session)
}

#[test]
fn what_makes_something() {
    // Room for its place is wanted by the first, and by some later ones; a page by the 52nd.
    let mut waits = 0;
    for sessions in [0, 16, 51] {
        let scene = || {
            let host = TestHost::cold();
            for at in 0..sessions {
                host.create(&format!("{at}"));
            }
            (host, ())
        };
        waits += each_wait(scene, |host, ()| host.try_create("new").map(drop));
    }
    assert!(waits > 0);
    for files in [0, 63] {
        let scene = || {
            let (host, session) = session();
            for at in 0..files {
                host.preserve(session, at, at).unwrap();
            }
            (host, session)
        };
        waits += each_wait(scene, |host, &session| host.preserve(session, 999, 999));
    }
    assert!(waits > 1);
    let scene = || {
        let host = TestHost::cold();
        let device = host.device();
        (host, device)
    };
    let register = |host: &TestHost, &device: &SessionId| host.register_file(device, 4).map(drop);
    assert!(each_wait(scene, register) > 0);
    let scene = || {
        let (host, session) = session();
        (1..3).for_each(|at| host.preserve(session, at, at).unwrap());
        (host, session)
    };
    let needs = |host: &TestHost, &session: &SessionId| host.needs(session, 1, Needed::Here(2));
    assert!(each_wait(scene, needs) > 0);
}

#[test]
fn what_brings_something_back() {
    let scene = || {
        let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
        let session = host.claim("vm").unwrap();
        (host, session)
    };
    let retrieve = |host: &TestHost, &session: &SessionId| host.retrieve(session, 7).map(drop);
    assert!(each_wait(scene, retrieve) > 0);

    let of_device = || {
        let host = TestHost::cold();
        let device = host.device();
        let token = host.register_file(device, 40).unwrap();
        (TestHost::opened(host.update()), token)
    };
    let restore = |host: &TestHost, &token: &u64| host.restore(token).map(drop);
    assert!(each_wait(of_device, restore) > 0);
}

fn several_sessions() -> Handed {
    let host = TestHost::cold();
    for at in 0..20u64 {
        let session = host.create(&format!("{at}"));
        for token in 0..at % 5 {
            host.preserve(session, token, at * 100 + token).unwrap();
        }
        if at % 5 > 1 {
            host.needs(session, 0, Needed::Here(1)).unwrap();
        }
    }
    host.update()
}

#[test]
fn the_taking_over() {
    let scene = || (TestHost::warm(several_sessions()), ());
    let waits = each_wait(scene, |host, ()| host.open().map(drop));
    assert!(waits > 10, "{waits}");
}

#[test]
fn groups_of_closed_sessions() {
    // "a" and "b" need each other; "b" is needed by "c", which stays, so both leave the group,
    // "a" for each of its files that is needed.
    let scene = || {
        let host = TestHost::cold();
        let [a, b, c] = ["a", "b", "c"].map(|called| host.create(called));
        for (session, token) in [(a, 1), (a, 2), (a, 3), (b, 1), (b, 2), (c, 1)] {
            let object = 10 * session.to_bits() + token;
            host.preserve(session, token, object).unwrap();
        }
        let of = |called, token| Needed::In(name(called), token);
        host.needs(a, 1, of("b", 1)).unwrap();
        host.needs(b, 2, of("a", 2)).unwrap();
        host.needs(b, 2, of("a", 3)).unwrap();
        host.needs(c, 1, of("b", 2)).unwrap();
        let host = TestHost::opened(host.update());
        let sessions = ["a", "b", "c"].map(|called| host.claim(called).unwrap());
        let [a, b, _] = sessions;
        assert!(host.close(a).is_err());
        (host, b)
    };
    let close = |host: &TestHost, &session: &SessionId| match host.close(session) {
        Err(Error::Needed { .. }) => Ok(()),
        other => other,
    };
    assert!(each_wait(scene, close) > 0);
}

/// Nothing is lost in a reboot that carries sessions on, nor does one with a veto fail.
#[test]
fn transitions() {
    let scene = || {
        let host = TestHost::cold();
        let (vm, cache, device) = (host.create("vm"), host.create("cache"), host.device());
        for (session, token) in [(vm, 1), (vm, 2), (cache, 3), (cache, 4)] {
            let open = || Ok(host.new_file_with(0, token, Access::Full));
            ops::preserve_file(&host, Actor::Administrator, session, token, open).unwrap();
        }
        host.register_file(device, 30).unwrap();
        host.needs(vm, 1, Needed::In(name("cache"), 4)).unwrap();
        host.reboot().unwrap();
        let host = TestHost::opened(host.kexec());
        let new = host.create("new");
        host.preserve(new, 1, 70).unwrap();
        (host, ())
    };
    let mut waits = 0;
    for requests in 0.. {
        let (host, ()) = scene();
        let before = fault::rooms();
        fault::wait_after(requests);
        let outcome = host.reboot();
        let through = fault::disarm();
        if through || fault::rooms() > before {
            let report = outcome.unwrap_or_else(|why| panic!("request {requests}: {why}"));
            assert_eq!((report.carried, report.lost), (3, 0));
        }
        waits += fault::rooms() - before;
        if through {
            break;
        }
    }
    assert!(waits > 0);
    let scene = || {
        let host = TestHost::cold();
        let device = host.device();
        host.register_file(device, 30).unwrap();
        (host, ())
    };
    each_wait(scene, |host, ()| {
        let failed = |why: luo_core::Failure| Error::from(why.errno());
        ops::prepare(host).map_err(failed)?;
        ops::freeze(host).map_err(failed)?;
        ops::cancel(host).map(drop)
    });
}

/// Names are taken by hosts, in steps of their own.
#[test]
fn steps_of_a_host() {
    let scene = || (TestHost::boot(None, false), ());
    assert!(each_wait(scene, |host, ()| host.register_as(compat("file", 0), 0)) > 0);
    let scene = || {
        let host = TestHost::boot(None, false);
        host.register(0);
        (host, ())
    };
    let flb = |host: &TestHost, _: &()| {
        let (name, flb) = (compat("flb", 1), TestFlb(1));
        ops::with_room(|| host.engine(|engine| engine.register_flb(&TestHandler(0), name, flb)))
    };
    assert!(each_wait(scene, flb) > 0);
}
