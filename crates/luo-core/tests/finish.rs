// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Finishing a retrieved session.

use luo_core::Error;

use crate::support::{compat, handed, TestHost};

#[test]
fn all_are_asked_and_then_all_are_finished() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70), (8, 80)])]));
    let session = host.claim("vm").unwrap();
    drop(host.retrieve(session, 7).unwrap());
    host.take_log();
    host.finish(session).unwrap();
    let log = ["can_finish 70", "can_finish 80", "finish 80", "finish 70"];
    assert_eq!(host.take_log(), log);
    let visible = host.visible();
    assert_eq!((visible.incoming, visible.files), (1, 0));
    assert_eq!((visible.counts.files, visible.counts.pins), (0, 0));
    // To finish it again changes nothing.
    host.finish(session).unwrap();
    assert!(host.take_log().is_empty());
    host.close(session).unwrap();
    assert_eq!(host.visible().incoming, 0);
}

#[test]
fn one_that_is_not_let_go_keeps_all() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70), (8, 80), (9, 90)])]));
    let session = host.claim("vm").unwrap();
    let before = host.visible();
    host.script().stuck.insert(80);
    let stuck = Error::CannotFinish {
        token: 8,
        handler: compat("handler", 0),
    };
    assert_eq!(host.finish(session), Err(stuck));
    assert_eq!(host.visible(), before);
    assert_eq!(host.take_log(), ["can_finish 70", "can_finish 80"]);
    // It is still held, and can be read.
    host.retrieve(session, 8).unwrap();
    host.script().stuck.clear();
    host.finish(session).unwrap();
    assert_eq!(host.visible().files, 0);
}

#[test]
fn each_documented_error_is_told() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    let outgoing = host.create("new");
    assert_eq!(host.finish(outgoing), Err(Error::WrongDirection));
    let session = host.claim("vm").unwrap();
    host.freeze().unwrap();
    assert_eq!(host.finish(session), Err(Error::Frozen));
    host.unfreeze();
    luo_core::ops::put_back_session(&host, session);
    assert_eq!(host.finish(session), Err(Error::NoSession));
    // The attempt left it as it was.
    assert_eq!(host.claim("vm"), Ok(session));
    host.finish(session).unwrap();
}

#[test]
fn an_attempt_on_an_abandoned_session_leaves_it_abandoned() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    host.script().stuck.insert(70);
    let session = host.claim("vm").unwrap();
    assert!(host.close(session).is_err());
    assert_eq!(host.finish(session), Err(Error::NoSession));
    assert_eq!(host.open().unwrap(), 1);
    host.script().stuck.clear();
    assert_eq!(host.open().unwrap(), 0);
    assert_eq!(host.visible().incoming, 0);
}
