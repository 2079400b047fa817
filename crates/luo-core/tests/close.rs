// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Closing incoming sessions, and those that cannot be finished.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use luo_core::ops::Needed;
use luo_core::{ops, Error};

use crate::support::{handed, name, Call, TestHost};

/// Opens the device and says which tokens were reported.
fn open(host: &TestHost) -> (usize, Vec<u64>) {
    let mut tokens = Vec::new();
    let report = ops::catch_up(host, luo_core::Actor::Administrator, |why| match why {
        Error::CannotFinish { token, .. } => tokens.push(*token),
        other => panic!("{other}"),
    });
    (report.unwrap(), tokens)
}

#[test]
fn closing_finishes() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70), (8, 80)])]));
    let session = host.claim("vm").unwrap();
    drop(host.retrieve(session, 7).unwrap());
    host.close(session).unwrap();
    let visible = host.visible();
    assert_eq!((visible.incoming, visible.files), (0, 0));
    assert_eq!((visible.counts.files, visible.counts.pins), (0, 0));
}

#[test]
fn one_that_cannot_be_finished_is_tried_again_at_each_open() {
    let host = TestHost::opened(handed(&[
        ("a", &[(1, 10)]),
        ("b", &[(2, 20)]),
        ("c", &[(3, 30)]),
        ("nobody", &[(4, 40)]),
    ]));
    for text in ["a", "b", "c"] {
        let session = host.claim(text).unwrap();
        host.script().stuck.extend([10, 20, 30]);
        let why = host.close(session).unwrap_err();
        assert!(matches!(why, Error::CannotFinish { .. }));
    }
    assert_eq!(open(&host), (3, vec![1, 2, 3]));
    assert_eq!(open(&host), (3, vec![1, 2, 3]));
    host.script().stuck.remove(&20);
    assert_eq!(open(&host), (2, vec![1, 3]));
    host.script().stuck.clear();
    host.take_log();
    assert_eq!(open(&host), (0, vec![]));
    assert_eq!(open(&host), (0, vec![]));
    // The one that nobody asked for is left alone.
    let log = ["can_finish 10", "finish 10", "can_finish 30", "finish 30"];
    assert_eq!(host.take_log(), log);
    assert_eq!(host.visible().incoming, 1);
}

#[test]
fn one_that_cannot_be_finished_can_be_had_by_its_name() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    let session = host.claim("vm").unwrap();
    let file = host.retrieve(session, 7).unwrap();
    host.script().stuck.insert(70);
    assert!(host.close(session).is_err());
    let again = host.claim("vm").unwrap();
    // Held again, an open of the device leaves it alone.
    assert_eq!(open(&host), (0, vec![]));
    assert_eq!(host.retrieve(again, 7).unwrap().serial, file.serial);
    host.script().stuck.clear();
    host.close(again).unwrap();
    assert_eq!(host.visible().incoming, 0);
}

#[test]
fn an_open_does_not_close_what_somebody_takes_meanwhile() {
    let host = TestHost::opened(handed(&[("a", &[(1, 10)]), ("b", &[(2, 20)])]));
    host.script().stuck.extend([10, 20]);
    for text in ["a", "b"] {
        let session = host.claim(text).unwrap();
        assert!(host.close(session).is_err());
    }
    host.script().stuck.clear();
    // While the first is being finished somebody takes the second.
    host.set_hook(|host, call, object| {
        if call == Call::CanFinish && object == 10 {
            host.claim("b").unwrap();
        }
    });
    assert_eq!(open(&host), (0, vec![]));
    assert_eq!(host.claim("b"), Err(Error::AlreadyRetrieved));
    assert_eq!(host.visible().files, 1);
}

#[test]
fn an_open_while_frozen_marks_nothing_for_later() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    host.script().stuck.insert(70);
    let session = host.claim("vm").unwrap();
    assert!(host.close(session).is_err());
    host.freeze().unwrap();
    let mut reported = Vec::new();
    let report = ops::catch_up(&host, luo_core::Actor::Administrator, |why| {
        reported.push(*why)
    })
    .unwrap();
    assert_eq!((report, reported), (1, vec![Error::Frozen]));
    // Unfreezing is not the time to finish it: somebody may have it by then.
    host.script().stuck.clear();
    host.take_log();
    host.unfreeze();
    assert!(host.take_log().is_empty());
    assert!(host.claim("vm").is_ok());
}

/// Somebody takes a session and closes it again, which may make others of hers ready to be
/// finished, each time that the administrator's first call gets on with another's.
#[test]
fn a_first_call_ends_whatever_others_want_meanwhile() {
    const ALICE: luo_core::Actor = luo_core::Actor::User(1000);
    const STUCK: u64 = 30;
    const ENOUGH: usize = 9;
    let host = TestHost::cold();
    let made = |by, text: &str, object| {
        let id = ops::create_session(&host, by, &name(text)).unwrap();
        host.preserve(id, 1, object).unwrap();
        id
    };
    made(luo_core::Actor::Administrator, "stuck", STUCK);
    let [x, y, z] = [("x", 1), ("y", 2), ("z", 3)].map(|(text, object)| made(ALICE, text, object));
    for (by, on) in [(y, x), (z, y)] {
        ops::add_dependency(&host, ALICE, by, 1, Needed::Of(on, 1)).unwrap();
    }
    let host = TestHost::opened(host.update());
    let take_and_close = |host: &TestHost, text: &str| {
        let id = ops::retrieve_session(host, ALICE, &name(text)).unwrap();
        host.close(id).unwrap_err();
    };
    take_and_close(&host, "y");
    host.script().stuck.insert(STUCK);
    let stuck = host.claim("stuck").unwrap();
    assert!(host.close(stuck).is_err());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    host.set_hook(move |host, call, object| {
        let is_it = call == Call::CanFinish && object == STUCK;
        if is_it && counted.fetch_add(1, Ordering::Relaxed) < ENOUGH {
            take_and_close(host, "x");
        }
    });
    let left = ops::catch_up(&host, luo_core::Actor::Administrator, |_| ());
    assert_eq!(left, Ok(3));
    // Two passes, each of which asks for it with others, and alone.
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}
