// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What handlers say that their files need, and get back.

use luo_abi::errno::Errno;
use luo_core::ops::{self, Needed};
use luo_core::{Actor, Direction, Error, FileName, SessionId};

use crate::support::{name, Call, TestHost};

/// Session "vm" with object 11 under token 1.
fn scene() -> (TestHost, SessionId) {
    let host = TestHost::cold();
    let vm = host.create("vm");
    host.preserve(vm, 1, 11).unwrap();
    host.take_log();
    (host, vm)
}

/// How many dependencies a file has declared; 0 if it is not there.
fn declared(host: &TestHost, session: SessionId, token: u64) -> usize {
    let all = ops::list_dependencies(host, Actor::Administrator, session, token, 0, 8);
    all.map_or(0, |page| page.entries.len())
}

#[test]
fn what_a_handler_says_is_a_dependency_like_any_other() {
    let (host, vm) = scene();
    host.script().needs.insert(12, 11);
    host.preserve(vm, 2, 12).unwrap();
    assert_eq!(host.take_log(), ["needs token 1", "preserve 12"]);
    assert_eq!(declared(&host, vm, 2), 1);
    // The program that knows it as well says nothing new.
    let again = host.needs(vm, 2, Needed::Here(1));
    assert_eq!(again, Err(Error::DependencyExists));
    let back = host.needs(vm, 1, Needed::Here(2));
    assert_eq!(back, Err(Error::DependencyCycle));
    // It is frozen before, restored after; and its handler gets the other file.
    let next = TestHost::opened(host.update());
    next.script().wants.insert(12, 1);
    let vm = next.claim("vm").unwrap();
    next.retrieve(vm, 2).unwrap();
    assert_eq!(next.take_log(), ["retrieve 11", "retrieve 12", "with 11"]);
}

#[test]
fn it_is_said_once_however_often() {
    let (host, vm) = scene();
    host.script().needs.insert(12, 11);
    for _ in 0..3 {
        host.preserve(vm, 2, 12).unwrap();
        assert_eq!(declared(&host, vm, 2), 1);
        ops::unpreserve_file(&host, vm, 2).unwrap();
        assert_eq!(declared(&host, vm, 2), 0);
    }
    let before = host.visible();
    host.preserve(vm, 2, 12).unwrap();
    host.close(vm).unwrap();
    assert_eq!(declared(&host, vm, 2), 0);
    assert!(host.visible().files < before.files);
}

#[test]
fn a_handler_names_files_of_its_own_session_only() {
    let (host, vm) = scene();
    let other = host.create("other");
    host.preserve(other, 1, 21).unwrap();
    let before = host.visible();
    for needed in [21, 99, 12] {
        // In another session, nowhere, and the file itself.
        host.script().needs.insert(12, needed);
        let refused = host.preserve(vm, 2, 12);
        assert_eq!(refused, Err(Error::Host(Errno::ENOENT)), "{needed}");
        assert_eq!(host.visible(), before);
    }
}

/// What it has said goes with the file if the handler fails after that.
#[test]
fn a_handler_that_fails_has_said_nothing() {
    let (host, vm) = scene();
    let before = host.visible();
    host.script().needs.insert(12, 11);
    host.fail(Call::Preserve, 0, Errno::ENOMEM);
    let failed = host.preserve(vm, 2, 12);
    assert_eq!(failed, Err(Error::Host(Errno::ENOMEM)));
    host.script().relent();
    assert_eq!(declared(&host, vm, 2), 0);
    assert_eq!(host.visible(), before);
    host.preserve(vm, 2, 12).unwrap();
}

#[test]
fn without_what_it_needs_an_update_fails_with_the_pair_named() {
    let (host, vm) = scene();
    host.script().needs.insert(12, 11);
    host.preserve(vm, 2, 12).unwrap();
    ops::unpreserve_file(&host, vm, 1).unwrap();
    let failure = host.freeze().unwrap_err();
    let named = |token| FileName {
        session: name("vm"),
        token,
        of_device: false,
    };
    match failure {
        luo_core::Failure::Dependency { file, on, .. } => {
            assert_eq!((file, on), (named(2), named(1)));
        }
        other => panic!("{other:?}"),
    }
    let dropped = ops::drop_dependency(&host, Actor::Administrator, vm, 2, Needed::Here(1));
    assert_eq!(dropped, Ok(()));
    host.freeze().unwrap();
}

#[test]
fn a_handler_gets_what_was_said_to_be_needed_and_nothing_else() {
    let (host, vm) = scene();
    host.script().needs.insert(12, 11);
    host.preserve(vm, 2, 12).unwrap();
    host.preserve(vm, 3, 13).unwrap();
    let next = TestHost::opened(host.update());
    // Token 1 is there, and token 2 too; nobody has said that the third needs them.
    next.script().wants.insert(13, 1);
    let vm = next.claim("vm").unwrap();
    next.retrieve(vm, 2).unwrap();
    let refused = next.retrieve(vm, 3);
    assert_eq!(refused.err(), Some(Error::Host(Errno::ENOENT)));
    assert_eq!(
        next.engine(|engine| engine.session_count(Direction::Incoming)),
        1
    );
}

/// Registered files are preserved by the transition itself, which waits for nobody.
#[test]
fn a_handler_says_it_in_a_transition_too() {
    let host = TestHost::cold();
    let device = host.device();
    let first = host.register_file(device, 11).unwrap();
    host.script().needs.insert(12, 11);
    let second = host.register_file(device, 12).unwrap();
    ops::prepare(&host).unwrap();
    assert_eq!(declared(&host, device, second), 1);
    ops::cancel(&host).unwrap();
    ops::prepare(&host).unwrap();
    assert_eq!(declared(&host, device, second), 1);
    let next = TestHost::opened(host.update());
    assert_eq!(next.restore(second).unwrap().object, 12);
    assert_eq!(next.restore(first).unwrap().object, 11);
}

/// A handler has the other file and not its number, as one in C: what the other's own handler
/// knows it by counts, be it another handler.
#[test]
fn a_handler_says_it_of_a_file_that_it_has() {
    let (host, vm) = scene();
    host.preserve_kind(vm, 3, 1, 13).unwrap();
    host.script().needs_files.insert(12, (1, 13));
    host.take_log();
    host.preserve(vm, 2, 12).unwrap();
    assert_eq!(host.take_log(), ["needs token 3", "preserve 12"]);
    assert_eq!(declared(&host, vm, 2), 1);
    let next = TestHost::opened(host.update());
    next.script().wants.insert(12, 3);
    let vm = next.claim("vm").unwrap();
    next.retrieve(vm, 2).unwrap();
    assert_eq!(next.take_log(), ["retrieve 13", "retrieve 12", "with 13"]);
}

#[test]
fn a_file_that_no_handler_takes_or_nobody_has_preserved_cannot_be_needed() {
    let (host, vm) = scene();
    let other = host.create("other");
    host.preserve(other, 1, 21).unwrap();
    let (before, pins) = (host.visible(), host.counts());
    // Of no handler; not preserved; in another session; the file itself.
    for needed in [(7, 11), (0, 99), (0, 21), (0, 12)] {
        host.script().needs_files.insert(12, needed);
        let refused = host.preserve(vm, 2, 12);
        assert_eq!(refused, Err(Error::Host(Errno::ENOENT)), "{needed:?}");
        assert_eq!(host.visible(), before);
        assert_eq!(host.counts(), pins);
    }
}
