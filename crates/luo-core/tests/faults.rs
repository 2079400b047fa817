// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Memory fails at the first request of an operation, at the second, and so on
//! until there is none left to fail: each time nothing has changed, and trying
//! again succeeds.

use luo_core::mem::fault;
use luo_core::ops::Needed;
use luo_core::{ops, Error, SessionId};

use crate::support::{compat, handed, name, Handed, TestFlb, TestHandler, TestHost};

/// Runs `operation` in a fresh `scene` for each request that can fail.
/// Answers how many there were.
fn each_failure<T>(
    scene: impl Fn() -> (TestHost, T),
    operation: impl Fn(&TestHost, &T) -> Result<(), Error>,
) -> u64 {
    for requests in 0.. {
        let (host, with) = scene();
        let before = host.visible();
        fault::fail_after(requests);
        let outcome = operation(&host, &with);
        if fault::disarm() {
            assert_eq!(outcome, Ok(()));
            return requests;
        }
        let why = outcome.expect_err("it was told that there is no memory");
        assert_eq!(why.errno(), luo_abi::errno::Errno::ENOMEM, "{why}");
        assert_eq!(host.visible(), before, "after failure {requests}");
        assert_eq!(operation(&host, &with), Ok(()), "after failure {requests}");
    }
    unreachable!("some request is the last")
}

fn many(count: u64, each: impl Fn(u64)) {
    (0..count).for_each(each);
}

#[test]
fn create() {
    // The 52nd wants a page, the 17th room for its place.
    for sessions in [0, 16, 51, 102] {
        let scene = || {
            let host = TestHost::cold();
            many(sessions, |at| {
                host.create(&format!("{at}"));
            });
            (host, ())
        };
        let requests = each_failure(scene, |host, ()| host.try_create("new").map(drop));
        assert!(requests > 0);
    }
}

#[test]
fn preserve_with_flbs() {
    for files in [0, 12, 63] {
        let scene = || {
            let host = TestHost::cold();
            host.depend(0, 1).unwrap();
            host.depend(0, 2).unwrap();
            let session = host.create("vm");
            // Of a kind without FLBs.
            many(files, |at| {
                host.preserve_kind(session, at, 1, at).unwrap();
            });
            (host, session)
        };
        let requests = each_failure(scene, |host, &session| host.preserve(session, 999, 999));
        // Two FLBs and the handler ask at least.
        assert!(requests >= 3);
    }
}

#[test]
fn retrieve() {
    let scene = || {
        let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
        let session = host.claim("vm").unwrap();
        (host, session)
    };
    // The handler's own failure is final, so only the engine's request is tried: the
    // index's links, before the handler is asked.
    retrieve_without_memory(scene, 1);
    let (host, session) = scene();
    fault::fail_after(2);
    assert!(host.retrieve(session, 7).is_ok());
    assert!(fault::disarm(), "nothing is asked for after the handler");
}

#[test]
fn retrieve_what_needs_another() {
    let scene = || {
        let host = TestHost::cold();
        let session = host.create("vm");
        host.preserve(session, 7, 70).unwrap();
        host.preserve(session, 8, 80).unwrap();
        host.needs(session, 7, Needed::Here(8)).unwrap();
        let host = host.next();
        let session = host.claim("vm").unwrap();
        (host, session)
    };
    // The plan, and the index's links for the file that is needed.
    retrieve_without_memory(scene, 2);
}

/// Each of the engine's first requests fails in turn when a file is retrieved.
fn retrieve_without_memory(scene: impl Fn() -> (TestHost, SessionId), requests: u64) {
    for requests in 0..requests {
        let (host, session) = scene();
        let before = host.visible();
        fault::fail_after(requests);
        assert_eq!(host.retrieve(session, 7).err(), Some(Error::NoMemory));
        assert!(!fault::disarm());
        assert_eq!(host.visible(), before);
        assert!(host.retrieve(session, 7).is_ok());
    }
}

#[test]
fn what_lets_go_needs_no_memory() {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    let session = host.create("vm");
    let other = host.create("other");
    many(100, |at| host.preserve(session, at, at).unwrap());
    host.preserve(other, 1, 1000).unwrap();
    fault::fail_after(0);
    host.freeze().unwrap();
    host.unfreeze();
    host.close(session).unwrap();
    host.freeze().unwrap();
    assert!(fault::disarm());

    let host = TestHost::opened(host.kexec());
    let session = host.claim("other").unwrap();
    host.retrieve(session, 1).unwrap();
    fault::fail_after(0);
    host.script().stuck.insert(1000);
    assert!(host.finish(session).is_err());
    assert!(host.close(session).is_err());
    host.open().unwrap();
    host.script().stuck.clear();
    let session = host.claim("other").unwrap();
    ops::put_back_session(&host, session);
    host.open().unwrap();
    assert!(fault::disarm());
    assert_eq!(host.visible().files, 0);
}

fn several_sessions() -> Handed {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    for at in 0..20u64 {
        let session = host.create(&format!("{at}"));
        many(at % 5, |token| {
            host.preserve(session, token, at * 100 + token).unwrap();
        });
    }
    host.update()
}

#[test]
fn open_device() {
    let scene = || (TestHost::warm(several_sessions()), several_sessions().pages);
    let requests = each_failure(scene, |host, pages| {
        let outcome = host.open();
        if let Err(why) = outcome {
            assert_eq!(host.arrived.lock().unwrap().pages, *pages);
            return Err(why);
        }
        assert_eq!(host.arrived_pages(), 0);
        assert_eq!(host.visible().incoming, 20);
        Ok(())
    });
    assert!(requests > 10);
}

#[test]
fn admit() {
    for requests in 0.. {
        let handed = several_sessions();
        let pages = handed.pages.len();
        let host = TestHost::boot(Some(handed), false);
        host.register(0);
        fault::fail_after(requests);
        let outcome = host.admit();
        if fault::disarm() {
            assert!(outcome.is_ok());
            assert!(requests > 0);
            return;
        }
        // Drivers cannot be told later, so this one is final.
        assert_eq!(outcome, Err(Error::NoMemory));
        assert_eq!(host.arrived_pages(), pages);
        assert!(host.open().is_err());
    }
}

#[test]
fn register() {
    let scene = || (TestHost::boot(None, false), ());
    assert!(each_failure(scene, |host, ()| host.try_register(0)) > 0);
    let scene = || {
        let host = TestHost::boot(None, false);
        host.register(0);
        (host, ())
    };
    assert!(each_failure(scene, |host, ()| host.depend(0, 1)) > 0);
    // What failed has not left its name behind.
    let host = scene().0;
    fault::fail_after(1);
    assert_eq!(host.depend(0, 1), Err(Error::NoMemory));
    fault::disarm();
    let other =
        host.engine(|engine| engine.register_flb(&TestHandler(0), compat("flb", 1), TestFlb(9)));
    assert_eq!(other, Ok(()));
}

#[test]
fn claiming_needs_no_memory() {
    let host = TestHost::opened(handed(&[("vm", &[])]));
    fault::fail_after(0);
    let session =
        ops::retrieve_session(&host, luo_core::Actor::Administrator, &name("vm")).unwrap();
    host.finish(session).unwrap();
    host.close(session).unwrap();
    assert!(fault::disarm());
}
