// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Named limits, and sizes that show whether a look-up walks.

use luo_core::ops::{self, Needed, MAX_DEPENDENCIES_PER_SESSION};
use luo_core::{Error, SessionId};

use crate::support::{compat, TestHost};

const MANY: u64 = 20_000;

#[test]
fn handlers() {
    let host = TestHost::cold();
    for number in 2..256 {
        host.register(number);
    }
    assert_eq!(host.try_register(256), Err(Error::Full));
    let gone = host.unregister(7);
    assert_eq!(gone, Ok(()));
    host.register(256);
    // The last one is found.
    let session = host.create("vm");
    host.preserve_kind(session, 1, 256, 1).unwrap();
}

#[test]
fn flbs() {
    let host = TestHost::cold();
    for flb in 0..63 {
        host.depend(flb % 2, flb).unwrap();
    }
    assert_eq!(host.depend(0, 63), Err(Error::Full));
    // One that is known can still be shared.
    host.depend(1, 0).unwrap();
    let session = host.create("vm");
    host.preserve(session, 1, 1).unwrap();
    host.preserve_kind(session, 2, 1, 2).unwrap();
    host.freeze().unwrap();
    host.unfreeze();
    let full = host.counts();
    // One that is held is not forgotten, nor is its place given away.
    host.undepend(0, 62).unwrap();
    assert_eq!(host.depend(0, 63), Err(Error::Full));
    host.close(session).unwrap();
    assert_eq!(full.pins - host.counts().pins, 2 + 63);
    host.depend(0, 63).unwrap();
    let session = host.create("again");
    host.preserve(session, 1, 1).unwrap();
    host.preserve_kind(session, 2, 1, 2).unwrap();
    let next = TestHost::warm(host.update());
    for flb in (0..64).filter(|&flb| flb != 62) {
        assert!(next.get_incoming(flb).is_ok(), "{}", compat("flb", flb));
    }
}

/// One session cannot use up the records that are there for all.
#[test]
fn dependencies_of_a_session() {
    const SIDE: u64 = 512;
    let host = TestHost::cold();
    let [session, other] = ["vm", "other"].map(|text| host.create(text));
    for token in 0..=2 * SIDE {
        host.preserve(session, token, token).unwrap();
    }
    let needs = |from, on| host.needs(session, from, Needed::Here(on));
    for from in 0..SIDE {
        for on in SIDE..2 * SIDE {
            needs(from, on).unwrap();
        }
    }
    assert_eq!(SIDE * SIDE, MAX_DEPENDENCIES_PER_SESSION as u64);
    assert_eq!(needs(0, 2 * SIDE), Err(Error::TooManyDependencies));
    // Another has its own.
    for token in 0..2 {
        host.preserve(other, token, 10 * SIDE + token).unwrap();
    }
    host.needs(other, 0, Needed::Here(1)).unwrap();
    // What goes gives room back; a target that goes is missed by each that needs it.
    ops::unpreserve_file(&host, session, 2 * SIDE - 1).unwrap();
    assert_eq!(needs(0, 2 * SIDE), Err(Error::TooManyDependencies));
    ops::unpreserve_file(&host, session, 0).unwrap();
    needs(1, 2 * SIDE).unwrap();
}

#[test]
fn many_sessions() {
    let host = TestHost::cold();
    let sessions: Vec<SessionId> = (0..MANY).map(|at| host.create(&format!("{at}"))).collect();
    // Closing one in two in the middle of a freeze is where walking would show.
    host.freeze().unwrap();
    for &session in sessions.iter().skip(1).step_by(2) {
        host.close(session).unwrap();
    }
    host.unfreeze();
    assert_eq!(host.visible().outgoing as u64, MANY / 2);
    assert_eq!(host.freeze().unwrap().sessions as u64, MANY / 2);
    let host = TestHost::opened(host.kexec());
    assert_eq!(host.visible().incoming as u64, MANY / 2);
    for at in (0..MANY).step_by(2) {
        let session = host.claim(&format!("{at}")).unwrap();
        host.close(session).unwrap();
    }
    assert_eq!(host.visible().incoming, 0);
}

#[test]
fn many_files() {
    let host = TestHost::cold();
    let session = host.create("vm");
    for at in 0..MANY {
        host.preserve(session, at, at).unwrap();
    }
    assert_eq!(host.preserve(session, 0, MANY), Err(Error::TokenExists));
    assert_eq!(
        host.preserve(session, MANY, 0),
        Err(Error::AlreadyPreserved)
    );
    assert_eq!(host.freeze().unwrap().files as u64, MANY);
    let host = TestHost::opened(host.kexec());
    let session = host.claim("vm").unwrap();
    for at in (0..MANY).rev() {
        assert_eq!(host.retrieve(session, at).unwrap().object, at);
    }
    host.close(session).unwrap();
    let visible = host.visible();
    assert_eq!((visible.files, visible.counts.files), (0, 0));
}

#[test]
fn many_sessions_that_cannot_be_finished() {
    let host = TestHost::cold();
    for at in 0..MANY / 4 {
        let session = host.create(&format!("{at}"));
        host.preserve(session, 1, at).unwrap();
    }
    let host = TestHost::opened(host.update());
    host.script().stuck.extend(0..MANY / 4);
    for at in 0..MANY / 4 {
        let session = host.claim(&format!("{at}")).unwrap();
        assert!(host.close(session).is_err());
    }
    assert_eq!(host.open().unwrap() as u64, MANY / 4);
    host.script().stuck.clear();
    assert_eq!(host.open().unwrap(), 0);
    assert_eq!(host.visible().incoming, 0);
}
