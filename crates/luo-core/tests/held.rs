// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Files that programs hold: how long calls and transitions wait for them.

use luo_abi::errno::Errno;
use luo_core::held::PAUSES;
use luo_core::{ops, Error, Failure};

use crate::support::{Call, Handed, TestHost};

/// Objects that somebody has locked.
const FIRST: u64 = 10;
const MANY: u64 = 300;

/// Somebody has objects locked, for so many pauses.
fn lock(host: &TestHost, objects: impl Iterator<Item = u64>, pauses: u32) {
    let mut script = host.script();
    script.locked.extend(objects.map(|object| (object, pauses)));
}

/// Pauses that were waited since this was asked last.
fn waited(host: &TestHost) -> u64 {
    std::mem::take(&mut host.script().pauses)
}

fn all() -> impl Iterator<Item = u64> {
    FIRST..FIRST + MANY
}

/// One that somebody has locked for a moment, behind some of those.
const MOMENT: u64 = 9;
const BEHIND: u64 = 4;

/// A machine with that many objects registered, all of which somebody has locked for ever, and one
/// that is locked for a moment.
fn held() -> TestHost {
    let host = TestHost::cold();
    let device = host.device();
    for object in all() {
        if object == FIRST + BEHIND {
            host.register_file(device, MOMENT).unwrap();
        }
        host.register_file(device, object).unwrap();
    }
    lock(&host, all(), u32::MAX);
    lock(&host, MOMENT..FIRST, 1);
    host
}

#[test]
fn a_call_waits_for_one_file_and_no_longer() {
    let host = TestHost::cold();
    let vm = host.create("vm");
    lock(&host, 1..2, PAUSES);
    host.preserve(vm, 1, 1).unwrap();
    assert_eq!(waited(&host), u64::from(PAUSES));
    lock(&host, 2..4, PAUSES + 1);
    for token in 2..4 {
        // Each call has a patience of its own.
        assert_eq!(
            host.preserve(vm, token, token),
            Err(Error::Host(Errno::EBUSY))
        );
        assert_eq!(waited(&host), u64::from(PAUSES));
    }
}

#[test]
fn a_prepare_that_one_file_vetoes_has_waited_once() {
    let host = held();
    for _ in 0..2 {
        match ops::prepare(&host).unwrap_err() {
            Failure::Handler { errno, .. } => assert_eq!(errno, Errno::EBUSY),
            other => panic!("{other:?}"),
        }
        let waited = waited(&host);
        assert!((1..=u64::from(PAUSES)).contains(&waited), "{waited}");
    }
}

/// However many are held for ever, a reboot has one patience for all of them. One that is locked for
/// a moment comes along.
#[test]
fn a_transition_has_one_patience_for_all_files() {
    let host = held();
    let report = host.reboot_or_lose().unwrap();
    let pauses = waited(&host);
    assert!((1..=u64::from(PAUSES)).contains(&pauses), "{pauses}");
    assert_eq!(report.losses.files, MANY);
}

/// What a reboot that does not come about has let go of is preserved again with the same patience.
#[test]
fn what_is_preserved_again_has_the_same_patience() {
    let host = TestHost::cold();
    let vm = host.create("vm");
    for object in all() {
        host.preserve(vm, object, object).unwrap();
        host.fail(Call::Freeze, 0, Errno::EFBIG);
    }
    let report = host.reboot_or_lose().unwrap();
    assert_eq!(report.losses.files, MANY);
    lock(&host, all(), u32::MAX);
    ops::cancel(&host).unwrap();
    let pauses = waited(&host);
    assert!((1..=u64::from(PAUSES)).contains(&pauses), "{pauses}");
}

/// What nobody has claimed is carried on with the same patience.
#[test]
fn what_is_carried_on_has_the_same_patience() {
    let host = TestHost::cold();
    let vm = host.create("vm");
    for object in all() {
        host.preserve(vm, object, object).unwrap();
    }
    let handed: Handed = host.update();
    let host = TestHost::warm(handed);
    host.open().unwrap();
    lock(&host, all(), u32::MAX);
    let report = host.reboot_or_lose().unwrap();
    let pauses = waited(&host);
    assert!((1..=u64::from(PAUSES)).contains(&pauses), "{pauses}");
    assert_eq!(report.losses.files, MANY);
}
