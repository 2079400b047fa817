// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! A reboot into an image that takes nothing over.

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::ops::{self, Legacy};
use luo_core::Failure;

use crate::support::{handed, TestHost};

fn lost(files: usize, subsystems: usize) -> Failure {
    Failure::Image { files, subsystems }
}

fn refused(host: &TestHost, files: usize, subsystems: usize) {
    host.take_log();
    let (before, state) = (host.visible(), host.state());
    let why = host.reboot_into_legacy(Legacy::Refused).unwrap_err();
    assert_eq!(why, lost(files, subsystems));
    assert_eq!(why.errno(), Errno::EOPNOTSUPP);
    assert_eq!((host.visible(), host.state()), (before, state));
    // Nobody was asked.
    assert!(host.take_log().is_empty());
}

/// In each state, and the update goes on as if there had been no reboot.
#[test]
fn it_is_refused_while_something_is_preserved() {
    let host = TestHost::cold();
    host.subsystem(1).unwrap();
    let vm = host.create("vm");
    host.preserve(vm, 1, 11).unwrap();
    refused(&host, 1, 0);
    ops::prepare(&host).unwrap();
    refused(&host, 1, 1);
    ops::freeze(&host).unwrap();
    refused(&host, 1, 1);
    ops::cancel(&host).unwrap();
    assert_eq!(host.state(), State::Normal);
    let failure = host.engine(|engine| engine.last_failure().copied().unwrap());
    assert_eq!((failure.event, failure.sequence), (None, 3));
    host.reboot().unwrap();
}

/// What the previous kernel left would be carried on, whether anybody has read it or not.
#[test]
fn unclaimed_sessions_count() {
    let host = TestHost::warm(handed(&[("vm", &[(1, 10), (2, 20)])]));
    let why = host.reboot_into_legacy(Legacy::Refused).unwrap_err();
    assert_eq!(why, lost(2, 0));
    assert_eq!(host.state(), State::Updated);
    // A program that has claimed it has it.
    host.claim("vm").unwrap();
    host.reboot_into_legacy(Legacy::Refused).unwrap();
}

/// Sessions without files, and subsystems that have done nothing, are no reason.
#[test]
fn with_nothing_preserved_it_goes_on() {
    let host = TestHost::cold();
    host.subsystem(1).unwrap();
    host.create("empty");
    host.reboot_into_legacy(Legacy::Refused).unwrap();
    assert_eq!(host.state(), State::Frozen);
}

#[test]
fn an_administrator_may_lose_everything() {
    let host = TestHost::cold();
    let vm = host.create("vm");
    host.preserve(vm, 1, 11).unwrap();
    host.reboot_into_legacy(Legacy::Booted).unwrap();
    assert_eq!(host.script().lost.first(), Some(&lost(1, 0)));
}
