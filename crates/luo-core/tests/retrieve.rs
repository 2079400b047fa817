// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Retrieving files.

use luo_abi::errno::Errno;
use luo_core::mem::fault;
use luo_core::{ops, Error};

use crate::support::host::FROZEN;
use crate::support::{handed, Call, TestHost};

#[test]
fn a_file_is_restored_once_and_given_each_time() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    let session = host.claim("vm").unwrap();
    let first = host.retrieve(session, 7).unwrap();
    let second = host.retrieve(session, 7).unwrap();
    assert_eq!((first.object, first.kind), (70, 0));
    assert_eq!(first.serial, second.serial);
    assert_eq!(host.take_log(), ["retrieve 70"]);
    // Two here, one in the engine.
    assert_eq!(host.counts().files, 3);
}

#[test]
fn the_handle_is_the_one_that_freeze_gave() {
    let handed = handed(&[("vm", &[(7, 70)])]);
    let file = handed.files(0);
    assert_eq!(handed.word(file, 16 + 48), 70 | FROZEN);
}

#[test]
fn a_handler_that_failed_is_not_asked_again() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70), (8, 80)])]));
    let session = host.claim("vm").unwrap();
    host.fail(Call::Retrieve, 0, Errno::EFBIG);
    for _ in 0..2 {
        let outcome = host.retrieve(session, 7);
        assert_eq!(outcome.err(), Some(Error::Host(Errno::EFBIG)));
    }
    assert_eq!(host.take_log(), ["retrieve 70"]);
    host.retrieve(session, 8).unwrap();
    // It does not keep the session from being finished.
    host.close(session).unwrap();
    assert_eq!(host.visible().files, 0);
}

/// What does not fit is not lost: it is tried again, for whoever needs it as well.
#[test]
fn a_handler_that_can_be_asked_again_is() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70), (8, 80)])]));
    let session = host.claim("vm").unwrap();
    host.script().too_large.insert(70);
    for _ in 0..2 {
        let outcome = host.retrieve(session, 7);
        assert_eq!(outcome.err(), Some(Error::Host(Errno::ENOMEM)));
    }
    assert_eq!(host.take_log(), ["retrieve 70", "retrieve 70"]);
    host.script().too_large.clear();
    assert_eq!(host.retrieve(session, 7).unwrap().object, 70);
    host.close(session).unwrap();
    assert_eq!(host.visible().files, 0);
}

/// Nobody has it, so its handler lets go of it at the end.
#[test]
fn what_did_not_fit_ends_as_what_nobody_asked_for() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    let session = host.claim("vm").unwrap();
    host.script().too_large.insert(70);
    assert!(host.retrieve(session, 7).is_err());
    host.take_log();
    host.finish(session).unwrap();
    assert_eq!(host.take_log(), ["can_finish 70", "finish 70"]);
}

#[test]
fn each_documented_error_is_told() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    let outgoing = host.create("new");
    let outcome = host.retrieve(outgoing, 7).err();
    assert_eq!(outcome, Some(Error::WrongDirection));
    let session = host.claim("vm").unwrap();
    let outcome = host.retrieve(session, 8).err();
    assert_eq!(outcome, Some(Error::NoToken));
    host.freeze().unwrap();
    let outcome = host.retrieve(session, 7).err();
    assert_eq!(outcome, Some(Error::Frozen));
    host.unfreeze();
    assert!(host.retrieve(session, 7).is_ok());
    host.finish(session).unwrap();
    let outcome = host.retrieve(session, 7).err();
    assert_eq!(outcome, Some(Error::NoToken));
}

#[test]
fn nobody_reads_a_session_that_is_not_claimed() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    let session = host.claim("vm").unwrap();
    ops::put_back_session(&host, session);
    let outcome = host.retrieve(session, 7).err();
    assert_eq!(outcome, Some(Error::NoSession));
}

#[test]
fn a_restored_object_counts_as_preserved_until_it_is_finished() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    let incoming = host.claim("vm").unwrap();
    let outgoing = host.create("next");
    host.retrieve(incoming, 7).unwrap();
    let outcome = host.preserve(outgoing, 1, 70);
    assert_eq!(outcome, Err(Error::AlreadyPreserved));
    host.finish(incoming).unwrap();
    host.preserve(outgoing, 1, 70).unwrap();
}

#[test]
fn memory_that_retrieve_set_aside_is_not_taken_by_others() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    let incoming = host.claim("vm").unwrap();
    let outgoing = host.create("next");
    // The table of objects has room for one more.
    for object in 0..11 {
        host.preserve(outgoing, object, object).unwrap();
    }
    host.set_hook(move |host, call, _| {
        if call == Call::Retrieve {
            host.preserve(outgoing, 11, 11).unwrap();
            // The handler's own request passes, any other fails.
            fault::fail_after(1);
        }
    });
    host.retrieve(incoming, 7).unwrap();
    assert!(fault::disarm(), "retrieve asked for memory at its end");
    let outcome = host.preserve(outgoing, 12, 70);
    assert_eq!(outcome, Err(Error::AlreadyPreserved));
}
