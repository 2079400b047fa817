// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Nobody gets more access than they had.

use luo_abi::errno::Errno;
use luo_core::{ops, Access, Actor, Error};

use crate::support::{Call, TestHost};

const ALL: [Access; 3] = [Access::Full, Access::ReadOnly, Access::WriteOnly];

fn scene() -> TestHost {
    let host = TestHost::cold();
    let session = host.create("vm");
    for (token, access) in (0..).zip(ALL) {
        let open = || Ok(host.new_file_with(0, token + 10, access));
        ops::preserve_file(&host, Actor::Administrator, session, token, open).unwrap();
    }
    host
}

#[test]
fn access_comes_back_as_it_was() {
    let host = scene().next();
    let session = host.claim("vm").unwrap();
    for (token, access) in (0..).zip(ALL) {
        assert_eq!(host.retrieve(session, token).unwrap().access, access);
    }
    // Each is in one piece: what was opened in between is closed.
    host.close(session).unwrap();
    assert_eq!(host.counts(), TestHost::cold().counts());
}

#[test]
fn a_device_file_too() {
    let host = TestHost::cold();
    let device = host.device();
    let open = || Ok(host.new_file_with(0, 10, Access::ReadOnly));
    let token = ops::register_file(&host, device, |_| Ok(()), open).unwrap();
    let host = host.next();
    assert_eq!(host.restore(token).unwrap().access, Access::ReadOnly);
}

#[test]
fn access_is_carried_on() {
    let mut host = scene().next();
    for _ in 0..2 {
        host.reboot().unwrap();
        host = TestHost::opened(host.kexec());
    }
    let session = host.claim("vm").unwrap();
    for (token, access) in (0..).zip(ALL) {
        assert_eq!(host.retrieve(session, token).unwrap().access, access);
    }
}

#[test]
fn what_cannot_be_narrowed_is_not_given_with_more() {
    let host = scene().next();
    let session = host.claim("vm").unwrap();
    host.fail(Call::Narrow, 0, Errno::EPERM);
    let outcome = host.retrieve(session, 1).err();
    assert_eq!(outcome, Some(Error::Host(Errno::EPERM)));
    // It is restored all the same: only the opening is tried again.
    assert_eq!(host.retrieve(session, 1).unwrap().access, Access::ReadOnly);
    assert_eq!(host.take_log(), ["retrieve 11"]);
    host.fail(Call::Narrow, 0, Errno::EPERM);
    assert!(host.retrieve(session, 2).is_err());
    host.close(session).unwrap();
    assert_eq!(host.counts(), TestHost::cold().counts());
}

/// A C kernel says nothing of it.
#[test]
fn from_c_all_access_comes() {
    let host = scene();
    host.reboot().unwrap();
    let host = TestHost::opened(host.kexec().plain());
    let session = host.claim("vm").unwrap();
    assert_eq!(host.retrieve(session, 1).unwrap().access, Access::Full);
}
