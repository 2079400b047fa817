// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Subsystems that take part by name. Their order and their vetoes are in
//! `exhaustive`.

use std::task::Poll;

use luo_abi::errno::Errno;
use luo_abi::supplement::MAX_SUBSYSTEMS;
use luo_core::{ops, Error};

use crate::support::host::{TestSubsystem, FROZEN};
use crate::support::{compat, Call, TestHost};

fn unregister(host: &TestHost, number: u32) -> Result<(), Error> {
    let table = TestSubsystem(number);
    let outcome = host.engine(|engine| engine.unregister_subsystem(&table));
    match outcome {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("a transition is under way"),
    }
}

fn data(host: &TestHost, number: u32) -> Result<u64, Error> {
    host.engine(|engine| engine.subsystem_data(&compat("subsystem", number)))
}

#[test]
fn each_documented_error_is_told() {
    let host = TestHost::cold();
    host.subsystem(1).unwrap();
    assert_eq!(host.subsystem(1), Err(Error::NameTaken));
    let other =
        host.engine(|engine| engine.register_subsystem(compat("subsystem", 1), &TestSubsystem(2)));
    assert_eq!(other, Poll::Ready(Err(Error::NameTaken)));
    assert_eq!(unregister(&host, 2), Err(Error::NotRegistered));
    for number in 2..=MAX_SUBSYSTEMS as u32 {
        host.subsystem(number).unwrap();
    }
    assert_eq!(host.subsystem(999), Err(Error::Full));
    ops::prepare(&host).unwrap();
    assert_eq!(unregister(&host, 1), Err(Error::Prepared));
    assert_eq!(unregister(&host, 999), Err(Error::NotRegistered));
    ops::freeze(&host).unwrap();
    assert_eq!(unregister(&host, 1), Err(Error::Frozen));
    ops::cancel(&host).unwrap();
    unregister(&host, 1).unwrap();
    host.subsystem(999).unwrap();
    assert_eq!(data(&host, 1), Err(Error::NoData));
    // All of them go over.
    let host = host.next();
    assert_eq!(data(&host, 2), Ok((2 + 0x2000) | FROZEN));
    assert_eq!(data(&host, 999), Ok((999 + 0x2000) | FROZEN));
    assert_eq!(data(&host, 1), Err(Error::NoData));
}

#[test]
fn what_is_left_is_there_at_boot_and_finished_once() {
    let host = TestHost::cold();
    host.subsystem(1).unwrap();
    host.subsystem(2).unwrap();
    host.subsystem(3).unwrap();
    ops::prepare(&host).unwrap();
    ops::freeze(&host).unwrap();
    host.reboot().unwrap();
    // Before the device is open, and before they are registered.
    let host = TestHost::warm(host.kexec());
    assert_eq!(data(&host, 1), Ok((1 + 0x2000) | FROZEN));
    host.subsystem(3).unwrap();
    host.subsystem(1).unwrap();
    // One that is new here has nothing to finish.
    host.subsystem(9).unwrap();
    let report = host.finish_update().unwrap();
    assert_eq!(report.subsystems, 2);
    // In the order of their registration here.
    assert_eq!(
        host.take_log(),
        ["subsystem_finish 3", "subsystem_finish 1"]
    );
    assert_eq!(data(&host, 1), Err(Error::NoData));
    assert!(host.finish_update().is_err());
    host.subsystem(2).unwrap();
    assert!(host.take_log().is_empty());
}

#[test]
fn one_that_goes_away_is_not_called() {
    let host = TestHost::cold();
    host.subsystem(1).unwrap();
    host.subsystem(2).unwrap();
    unregister(&host, 1).unwrap();
    ops::prepare(&host).unwrap();
    assert_eq!(host.take_log(), ["subsystem_prepare 2"]);
    // It is held from prepare on.
    assert_eq!(host.counts().pins, 1);
    ops::cancel(&host).unwrap();
    assert_eq!(host.take_log(), ["subsystem_cancel 2"]);
    assert_eq!(host.counts().pins, 0);
    host.fail(Call::PinSubsystem, 0, Errno::ENODEV);
    assert_eq!(ops::prepare(&host).unwrap_err().errno(), Errno::ENODEV);
    assert!(host.take_log().is_empty());
}

#[test]
fn a_registration_waits_for_a_transition() {
    let host = TestHost::cold();
    host.subsystem(1).unwrap();
    host.set_hook(|host, call, _| {
        if call == Call::SubsystemPrepare {
            let table = TestSubsystem(2);
            let name = compat("subsystem", 2);
            let waits = host.engine(|engine| engine.register_subsystem(name, &table));
            assert!(waits.is_pending());
            let waits = host.engine(|engine| engine.unregister_subsystem(&TestSubsystem(1)));
            assert!(waits.is_pending());
        }
    });
    ops::prepare(&host).unwrap();
}

#[test]
fn what_they_left_does_not_go_further_by_itself() {
    let host = TestHost::cold();
    host.subsystem(1).unwrap();
    let host = host.next();
    // Nobody registered it here: there is nobody to ask.
    host.reboot().unwrap();
    let host = TestHost::warm(host.kexec());
    assert_eq!(data(&host, 1), Err(Error::NoData));
}

/// What leaves nothing has nothing to finish.
#[test]
fn zero_is_not_handed_over() {
    let host = TestHost::cold();
    host.subsystem(TestSubsystem::LEAVES_NOTHING).unwrap();
    let next = TestHost::warm(host.update());
    assert_eq!(next.state(), luo_abi::rfc::State::Normal);
    assert_eq!(
        data(&next, TestSubsystem::LEAVES_NOTHING),
        Err(Error::NoData)
    );
}
