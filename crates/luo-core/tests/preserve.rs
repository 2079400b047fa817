// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Preserving files.

use luo_abi::errno::Errno;
use luo_core::{ops, Actor, Error};

use crate::support::{handed, Call, TestHost};

#[test]
fn a_preserved_file_is_held_with_its_handler() {
    let host = TestHost::cold();
    let session = host.create("vm");
    host.preserve(session, 5, 50).unwrap();
    let counts = host.counts();
    assert_eq!((counts.files, counts.pins, counts.privates), (1, 1, 1));
    assert_eq!(host.take_log(), ["preserve 50"]);
    assert_eq!(host.visible().files, 1);
}

#[test]
fn a_taken_token_is_told_before_the_descriptor_is_looked_at() {
    let host = TestHost::cold();
    let session = host.create("vm");
    host.preserve(session, 5, 50).unwrap();
    let open = || panic!("the token is taken");
    let outcome = ops::preserve_file(&host, Actor::Administrator, session, 5, open);
    assert_eq!(outcome, Err(Error::TokenExists));
    let open = || Err(Errno::EBADF);
    let outcome = ops::preserve_file(&host, Actor::Administrator, session, 6, open);
    assert_eq!(outcome, Err(Error::Host(Errno::EBADF)));
    // The token of the failed one is free again.
    host.preserve(session, 6, 60).unwrap();
}

#[test]
fn each_session_has_tokens_of_its_own() {
    let host = TestHost::cold();
    let (first, second) = (host.create("a"), host.create("b"));
    host.preserve(first, 5, 50).unwrap();
    host.preserve(second, 5, 51).unwrap();
    assert_eq!(host.preserve(second, 5, 52), Err(Error::TokenExists));
}

#[test]
fn an_object_is_preserved_once_in_all_sessions() {
    let host = TestHost::cold();
    let (first, second) = (host.create("a"), host.create("b"));
    host.preserve(first, 1, 50).unwrap();
    let before = host.visible();
    assert_eq!(host.preserve(first, 2, 50), Err(Error::AlreadyPreserved));
    assert_eq!(host.preserve(second, 2, 50), Err(Error::AlreadyPreserved));
    assert_eq!(host.visible(), before);
    host.close(first).unwrap();
    host.preserve(second, 2, 50).unwrap();
}

#[test]
fn only_an_outgoing_session_takes_files() {
    let host = TestHost::opened(handed(&[("vm", &[])]));
    let session = host.claim("vm").unwrap();
    assert_eq!(host.preserve(session, 1, 1), Err(Error::WrongDirection));
    assert_eq!(Error::WrongDirection.errno(), Errno::EINVAL);
}

#[test]
fn a_file_that_no_handler_knows_is_refused() {
    let host = TestHost::cold();
    let session = host.create("vm");
    let before = host.visible();
    let outcome = host.preserve_kind(session, 1, 9, 1);
    assert_eq!(outcome, Err(Error::NoHandler));
    assert_eq!(host.visible(), before);
    host.register(9);
    host.preserve_kind(session, 1, 9, 1).unwrap();
}

#[test]
fn a_handler_whose_owner_is_going_is_not_asked() {
    let host = TestHost::cold();
    let session = host.create("vm");
    host.fail(Call::PinHandler, 0, Errno::ENODEV);
    assert_eq!(host.preserve(session, 1, 1), Err(Error::NoHandler));
    host.preserve(session, 1, 1).unwrap();
}

#[test]
fn a_handler_that_goes_while_it_is_asked_gets_no_file() {
    for keeps_files in [false, true] {
        let host = TestHost::cold();
        let session = host.create("vm");
        if keeps_files {
            host.preserve(session, 2, 2).unwrap();
        }
        let before = host.visible();
        host.set_hook(|host, call, _| {
            if call == Call::CanPreserve {
                let _ = host.unregister(0);
            }
        });
        assert_eq!(host.preserve(session, 1, 1), Err(Error::NoHandler));
        assert_eq!(host.visible(), before);
        host.close(session).unwrap();
        assert_eq!(host.counts().pins, 0);
    }
}

#[test]
fn what_the_handler_says_undoes_everything() {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    let session = host.create("vm");
    let before = host.visible();
    host.fail(Call::Preserve, 0, Errno::EFBIG);
    let outcome = host.preserve(session, 1, 50);
    assert_eq!(outcome, Err(Error::Host(Errno::EFBIG)));
    assert_eq!(host.visible(), before);
    let log = ["flb_preserve 1", "preserve 50", "flb_unpreserve 1"];
    assert_eq!(host.take_log(), log);
    host.preserve(session, 1, 50).unwrap();
}

#[test]
fn closing_undoes_the_last_file_first() {
    let host = TestHost::cold();
    let before = host.visible();
    let session = host.create("vm");
    for object in [3, 1, 2] {
        host.preserve(session, object, object).unwrap();
    }
    host.take_log();
    host.close(session).unwrap();
    assert_eq!(
        host.take_log(),
        ["unpreserve 2", "unpreserve 1", "unpreserve 3"]
    );
    assert_eq!(host.visible(), before);
}

#[test]
fn the_handler_knows_its_files_after_it_is_unregistered() {
    let host = TestHost::cold();
    let session = host.create("vm");
    host.preserve(session, 1, 50).unwrap();
    let gone = host.unregister(0);
    assert_eq!(gone, Ok(()));
    let gone = host.unregister(0);
    assert_eq!(gone, Err(Error::NotRegistered));
    assert_eq!(host.preserve(session, 2, 51), Err(Error::NoHandler));
    let handed = host.update();
    assert_eq!(TestHost::opened(handed).visible().files, 1);
}

#[test]
fn a_session_gives_back_pages_it_does_not_need() {
    let host = TestHost::cold();
    let session = host.create("vm");
    for object in 0..63 {
        host.preserve(session, object, object).unwrap();
    }
    let full = host.counts().blocks;
    host.fail(Call::Preserve, 0, Errno::EIO);
    assert!(host.preserve(session, 63, 63).is_err());
    assert_eq!(host.counts().blocks, full);
    host.preserve(session, 63, 63).unwrap();
    assert_eq!(host.counts().blocks, full + 2, "files and records");
    host.close(session).unwrap();
    assert_eq!(host.counts().blocks, 4);
}
