// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The way back when the kexec did not happen.

use luo_core::Error;

use crate::support::{handed, Call, TestHost};

#[test]
fn the_last_is_unfrozen_first_across_sessions() {
    let host = TestHost::cold();
    for (text, objects) in [("a", 1..3u64), ("empty", 0..0), ("b", 3..5)] {
        let session = host.create(text);
        for object in objects {
            host.preserve(session, object, object).unwrap();
        }
    }
    let before = host.visible();
    host.freeze().unwrap();
    host.take_log();
    host.unfreeze();
    let log: Vec<_> = (1..5).rev().map(|o| format!("unfreeze {o}")).collect();
    assert_eq!(host.take_log(), log);
    assert_eq!(host.visible(), before);
    host.unfreeze();
    assert!(host.take_log().is_empty());
}

#[test]
fn the_handover_is_empty_again() {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    let session = host.create("vm");
    host.preserve(session, 1, 1).unwrap();
    host.freeze().unwrap();
    host.unfreeze();
    let next = TestHost::opened(host.kexec());
    assert_eq!(next.visible().incoming, 0);
    assert_eq!(next.get_incoming(1).err(), Some(Error::NoFlb));
}

#[test]
fn it_can_be_frozen_again_with_what_changed_meanwhile() {
    let host = TestHost::cold();
    let first = host.create("a");
    host.preserve(first, 1, 1).unwrap();
    host.freeze().unwrap();
    host.unfreeze();
    host.preserve(first, 2, 2).unwrap();
    host.create("b");
    let report = host.freeze().unwrap();
    assert_eq!((report.sessions, report.files), (2, 2));
    let next = TestHost::opened(host.kexec());
    let session = next.claim("a").unwrap();
    assert_eq!(next.retrieve(session, 2).unwrap().object, 2);
}

#[test]
fn sessions_closed_while_frozen_go_when_it_is_undone() {
    let host = TestHost::opened(handed(&[("old", &[(7, 70)])]));
    let incoming = host.claim("old").unwrap();
    let (kept, gone) = (host.create("kept"), host.create("gone"));
    host.preserve(kept, 1, 1).unwrap();
    host.preserve(gone, 2, 2).unwrap();
    host.freeze().unwrap();
    host.close(gone).unwrap();
    host.close(incoming).unwrap();
    let visible = host.visible();
    assert_eq!((visible.outgoing, visible.incoming), (2, 1));
    host.take_log();
    host.unfreeze();
    let log = [
        "unfreeze 2",
        "unfreeze 1",
        "unpreserve 2",
        "can_finish 70",
        "finish 70",
    ];
    assert_eq!(host.take_log(), log);
    let visible = host.visible();
    assert_eq!((visible.outgoing, visible.incoming), (1, 0));
    host.create("gone");
}

/// A new session takes the place of one that is to go next. Those behind it go as well.
#[test]
fn sessions_closed_while_frozen_go_whoever_takes_the_place_of_one_meanwhile() {
    let host = TestHost::cold();
    let sessions = [1, 2, 3, 4].map(|object| {
        let session = host.create(&format!("{object}"));
        host.preserve(session, 1, object).unwrap();
        session
    });
    host.freeze().unwrap();
    for session in sessions {
        host.close(session).unwrap();
    }
    host.set_hook(|host, call, object| {
        if call == Call::Unpreserve && object == 1 {
            host.create("2");
        }
    });
    host.unfreeze();
    assert_eq!(host.visible().outgoing, 1);
}

#[test]
fn sessions_closed_while_frozen_are_handed_over_still() {
    let host = TestHost::cold();
    let session = host.create("vm");
    host.preserve(session, 7, 70).unwrap();
    host.freeze().unwrap();
    host.close(session).unwrap();
    let next = TestHost::opened(host.kexec());
    assert!(next.claim("vm").is_ok());
}

#[test]
fn an_orphan_that_cannot_be_finished_stays_for_its_next_owner() {
    let host = TestHost::opened(handed(&[("old", &[(7, 70)])]));
    let session = host.claim("old").unwrap();
    host.script().stuck.insert(70);
    host.freeze().unwrap();
    host.close(session).unwrap();
    host.unfreeze();
    assert_eq!(host.open().unwrap(), 1);
    // Whoever takes it now is not disturbed by the next unfreeze.
    let again = host.claim("old").unwrap();
    host.script().stuck.clear();
    host.freeze().unwrap();
    host.unfreeze();
    assert!(host.retrieve(again, 7).is_ok());
}
