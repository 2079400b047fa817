// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Taking over what the previous kernel left.

use std::sync::atomic::Ordering;
use std::thread;

use luo_abi::errno::Errno;
use luo_core::mem::fault;
use luo_core::ops;
use luo_core::{Actor, Error, RootFields};

use crate::support::{compat, handed, Call, Handed, TestHost};

fn two_sessions() -> Handed {
    handed(&[("a", &[(1, 10), (2, 20)]), ("b", &[(1, 30)])])
}

#[test]
fn the_first_open_takes_over_and_gives_the_pages_away() {
    let handed = two_sessions();
    let pages = handed.pages.len();
    let fields = RootFields {
        update_number: 1,
        sessions: handed.sessions(),
        flbs: handed.flbs(),
        supplement: None,
    };
    let host = TestHost::boot(Some(handed), false);
    host.register(0);
    let told = host.admit().unwrap();
    assert_eq!(told.supplement.unwrap().record_count, 3);
    let supplement = None;
    assert_eq!(RootFields { supplement, ..told }, fields);
    host.arm();
    // Nothing is taken or given away at boot.
    assert_eq!(host.arrived_pages(), pages);
    assert_eq!(host.claim("a"), Err(Error::NoSession));
    host.open().unwrap();
    assert_eq!(host.taken_over(), Some((2, 3)));
    assert_eq!(host.arrived_pages(), 0);
    let visible = host.visible();
    assert_eq!((visible.incoming, visible.files), (2, 3));
    assert_eq!(visible.counts.pins, 3);
    host.open().unwrap();
    assert_eq!(host.taken_over(), None);
}

/// It cannot happen, because memory is set aside. If it did, no session would get another's.
#[test]
fn files_of_a_session_that_cannot_be_added_are_in_no_other() {
    let files: [(&str, &[(u64, u64)]); 3] = [
        ("a", &[(1, 10)]),
        ("b", &[(1, 20), (2, 21)]),
        ("c", &[(1, 30)]),
    ];
    let handed = handed(&files);
    fault::refuse_session_after(1);
    let host = TestHost::opened(handed);
    assert_eq!(host.claim("b"), Err(Error::NoSession));
    for (text, object) in [("a", 10), ("c", 30)] {
        let session = host.claim(text).unwrap();
        assert_eq!(host.retrieve(session, 1).unwrap().object, object);
        assert_eq!(host.retrieve(session, 2).err(), Some(Error::NoToken));
        host.close(session).unwrap();
    }
    assert_eq!(host.counts(), TestHost::cold().counts());
}

#[test]
fn a_cold_machine_opens_too() {
    let host = TestHost::cold();
    host.open().unwrap();
    assert_eq!(host.taken_over(), None);
}

#[test]
fn everything_survives_a_chain_of_kernels() {
    let mut handed = two_sessions();
    for _ in 0..3 {
        let host = TestHost::opened(handed);
        for (text, tokens) in [("a", 1..3u64), ("b", 1..2)] {
            let old = host.claim(text).unwrap();
            let files: Vec<_> = tokens
                .map(|token| (token, host.retrieve(old, token).unwrap().object))
                .collect();
            host.close(old).unwrap();
            let new = host.create(text);
            for (token, object) in files {
                host.preserve(new, token, object).unwrap();
            }
        }
        assert_eq!(host.visible().incoming, 0);
        handed = host.update();
    }
    let host = TestHost::opened(handed);
    let session = host.claim("b").unwrap();
    assert_eq!(host.retrieve(session, 1).unwrap().object, 30);
}

/// Nothing but the files whose handler is missing waits for it; what that means for them is in
/// `late_handlers`.
#[test]
fn an_unknown_handler_is_waited_for() {
    let host = TestHost::boot(Some(two_sessions()), false);
    host.register(1);
    host.admit().unwrap();
    host.arm();
    host.open().unwrap();
    assert_eq!(host.taken_over(), Some((2, 3)));
    assert_eq!(host.refusals(), []);
    assert_eq!(host.arrived_pages(), 0);
    let line = "session \"a\", token 0x1, and 2 more files, wait for handler \"handler-0\", which \
                is not here: load its module, or the next reboot loses them";
    assert_eq!(host.said_of(line), 1);
    let session = host.claim("a").unwrap();
    let why = host.retrieve(session, 1).err().unwrap();
    assert_eq!(why, Error::AwaitsHandler(compat("handler", 0)));
    assert_eq!(why.errno(), Errno::EAGAIN);
    assert_eq!(host.counts().pins, 0);
    // Another handler is not it.
    host.register(2);
    assert_eq!(host.retrieve(session, 1).err(), Some(why));
    host.register(0);
    let line = "handler \"handler-0\" is here, for which files wait: 3";
    assert_eq!(host.said_of(line), 1);
    assert_eq!(host.retrieve(session, 1).unwrap().object, 10);
}

#[test]
fn a_handler_whose_owner_is_going_counts_as_unknown() {
    let host = TestHost::warm(two_sessions());
    // Two pins for the reading, then one a file; and one for those that wait.
    for skip in [4, 0, 0] {
        host.fail(Call::PinHandler, skip, Errno::ENODEV);
    }
    host.open().unwrap();
    assert_eq!(host.said_of("wait for handler \"handler-0\""), 1);
    let session = host.claim("b").unwrap();
    let why = Error::AwaitsHandler(compat("handler", 0));
    assert_eq!(host.retrieve(session, 1).err(), Some(why));
    // It has stayed.
    assert_eq!(host.retrieve(session, 1).unwrap().object, 30);
}

#[test]
fn a_handler_that_goes_while_sessions_are_read_is_missed() {
    let host = TestHost::warm(two_sessions());
    host.set_hook(|host, call, _| {
        if call == Call::PinHandler {
            let _ = host.unregister(0);
        }
    });
    host.open().unwrap();
    assert_eq!(host.taken_over(), Some((2, 3)));
    assert_eq!(host.counts().pins, 0);
    host.set_hook(|_, _, _| ());
    let session = host.claim("a").unwrap();
    let why = host.retrieve(session, 1).err();
    assert!(matches!(why, Some(Error::AwaitsHandler(_))), "{why:?}");
    host.register(0);
    assert_eq!(host.retrieve(session, 1).unwrap().object, 10);
}

#[test]
fn memory_that_is_short_is_not_the_end() {
    let host = TestHost::warm(two_sessions());
    luo_core::mem::fault::fail_after(3);
    assert_eq!(host.open(), Err(Error::NoMemory));
    assert!(!luo_core::mem::fault::disarm());
    host.open().unwrap();
    assert_eq!(host.taken_over(), Some((2, 3)));
}

#[test]
fn order_is_kept() {
    let handed = handed(&[("z", &[(9, 1), (3, 2), (5, 3)]), ("a", &[])]);
    let host = TestHost::opened(handed);
    let session = host.claim("z").unwrap();
    host.finish(session).unwrap();
    let log = host.take_log();
    assert_eq!(log[..3], ["can_finish 1", "can_finish 2", "can_finish 3"]);
}

#[test]
fn chains_of_several_blocks_are_read() {
    let host = TestHost::cold();
    for at in 0..103 {
        host.create(&format!("s{at}"));
    }
    let session = host.create("big");
    for object in 0..127 {
        host.preserve(session, object, object).unwrap();
    }
    let handed = host.update();
    // Root, FLBs, three blocks of sessions, three of files; beside
    // them a root, subsystems, and three blocks of records.
    assert_eq!(handed.pages.len(), 13);
    let host = TestHost::opened(handed);
    assert_eq!(host.arrived.lock().unwrap().freed, 13);
    let visible = host.visible();
    assert_eq!((visible.incoming, visible.files), (104, 127));
    let session = host.claim("big").unwrap();
    for object in 0..127 {
        assert_eq!(host.retrieve(session, object).unwrap().object, object);
    }
}

/// A machine whose worker takes over, and not who comes first.
fn with_worker() -> TestHost {
    let host = TestHost::warm_as(two_sessions(), true);
    host.has_worker.store(true, Ordering::SeqCst);
    host
}

#[test]
fn who_comes_first_waits_for_the_worker() {
    let host = &with_worker();
    let alice = Actor::User(1000);
    // Neither for ever nor after it was killed.
    for (flag, errno) in [
        (&host.kills, Errno::EAGAIN),
        (&host.impatient, Errno::EBUSY),
    ] {
        flag.store(true, Ordering::SeqCst);
        let why = Error::Host(errno);
        assert_eq!(ops::catch_up(host, alice, |_| ()), Err(why));
        assert_eq!(host.finish_update(), Err(why));
        flag.store(false, Ordering::SeqCst);
    }
    assert!(host.engine(|engine| engine.wants_takeover()));
    thread::scope(|scope| {
        let first = scope.spawn(|| ops::catch_up(host, alice, |_| ()));
        let finish = scope.spawn(|| host.finish_update());
        while host.waiting.load(Ordering::SeqCst) < 2 {
            thread::yield_now();
        }
        assert_eq!(ops::take_over(host), Ok(()));
        assert_eq!(host.taken_over(), Some((2, 3)));
        assert_eq!(first.join().unwrap(), Ok(0));
        assert_eq!(finish.join().unwrap().unwrap().files, 3);
    });
    assert!(!host.engine(|engine| engine.wants_takeover()));
    assert_eq!(host.arrived_pages(), 0);
}

#[test]
fn who_waits_for_the_worker_hears_why_it_failed() {
    let mut handed = two_sessions();
    handed.set_bytes(handed.sessions(), 0, &[0xff; 8]);
    let host = &TestHost::warm_as(handed, true);
    host.has_worker.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        let first = scope.spawn(|| host.open());
        while host.waiting.load(Ordering::SeqCst) < 1 {
            thread::yield_now();
        }
        assert!(matches!(ops::take_over(host), Err(Error::Refused(_))));
        let told = first.join().unwrap();
        assert!(matches!(told, Err(Error::Refused(_))), "{told:?}");
    });
}

/// The reboot goes on without what nobody could read in time, and says so.
#[test]
fn the_reboot_does_not_wait_for_ever_for_the_worker() {
    let host = with_worker();
    let more = host.create("more");
    host.preserve(more, 1, 1).unwrap();
    host.impatient.store(true, Ordering::SeqCst);
    assert!(host.reboot().is_err());
    let report = host.reboot_or_lose().unwrap();
    assert!(report.losses.unread);
    let host = TestHost::opened(host.kexec());
    assert_eq!(host.visible().files, 1);
}
