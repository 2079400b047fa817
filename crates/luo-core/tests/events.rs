// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Events and those who wait for them. What each event does in each state, with a
//! fault at each place, is in `exhaustive`.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::thread;

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::ops::{self, Needed};
use luo_core::{Error, Failure};

use crate::support::{handed, Call, TestHost};

/// Runs `other` while the preserve of object 1 runs, and lets it wait there.
fn meanwhile<R: Send + 'static>(
    prepare: impl FnOnce(&TestHost),
    other: impl Fn(&TestHost) -> R + Send + Sync + Clone + 'static,
) -> R {
    let host = Arc::new(TestHost::cold_as(true));
    let device = host.device();
    host.register_file(device, 1).unwrap();
    let (its, (told, answer)) = (Arc::clone(&host), std::sync::mpsc::channel());
    host.set_hook(move |host, call, _| {
        if call == Call::Preserve {
            let (its, other) = (Arc::clone(&its), other.clone());
            let thread = thread::spawn(move || other(&its));
            while host.waiting.load(Ordering::SeqCst) == 0 {
                assert!(!thread.is_finished(), "did not wait");
                thread::yield_now();
            }
            told.send(thread).unwrap();
        }
    });
    prepare(&host);
    let outcome = answer.recv().unwrap().join().unwrap();
    drop(host.script().hook.take());
    outcome
}

fn prepare(host: &TestHost) {
    ops::prepare(host).unwrap();
}

fn vetoed(host: &TestHost) {
    host.fail(Call::Preserve, 0, Errno::EIO);
    assert!(ops::prepare(host).is_err());
}

#[test]
fn changes_wait_for_the_outcome_of_a_transition() {
    let create = |host: &TestHost| host.try_create("vm").map(drop);
    assert_eq!(meanwhile(prepare, create), Ok(()));
    assert_eq!(meanwhile(vetoed, create), Ok(()));
    let register = |host: &TestHost| ops::create_device_session(host).map(drop);
    assert_eq!(meanwhile(prepare, register), Err(Error::Prepared));
    let restore = |host: &TestHost| host.restore(1).map(drop);
    assert_eq!(meanwhile(prepare, restore), Err(Error::NotUpdated));
}

#[test]
fn a_transition_waits_for_the_one_under_way() {
    let event = |host: &TestHost| ops::freeze(host).map(|report| report.to);
    assert_eq!(meanwhile(prepare, event), Ok(State::Frozen));
    let again = |host: &TestHost| ops::prepare(host).map_err(|why| why.errno()).map(drop);
    assert_eq!(meanwhile(prepare, again), Err(Errno::EINVAL));
    assert_eq!(meanwhile(vetoed, again), Ok(()));
    let reboot = |host: &TestHost| host.reboot().map(|report| report.from);
    assert_eq!(meanwhile(prepare, reboot), Ok(State::Prepared));
}

#[test]
fn who_is_killed_while_waiting_has_done_nothing() {
    let host = TestHost::cold();
    let device = host.device();
    host.register_file(device, 1).unwrap();
    let before = host.visible();
    host.kills.store(true, Ordering::SeqCst);
    // Behind a transition.
    host.set_hook(|host, call, _| {
        if call == Call::Preserve {
            let killed = Failure::Engine(Error::Host(Errno::EAGAIN));
            assert_eq!(ops::prepare(host), Err(killed));
            assert_eq!(host.reboot(), Err(killed));
        }
    });
    ops::prepare(&host).unwrap();
    drop(host.script().hook.take());
    ops::cancel(&host).unwrap();
    assert_eq!(host.visible(), before);
    // Behind an operation: whoever was kept from beginning may again.
    let session = host.create("vm");
    host.set_hook(|host, call, object| {
        if (call, object) == (Call::Preserve, 2) {
            assert_eq!(ops::prepare(host).unwrap_err().errno(), Errno::EAGAIN);
            assert!(!host.engine(|engine| engine.is_moving()));
            host.create("other");
        }
    });
    host.preserve(session, 2, 2).unwrap();
    assert_eq!(host.last_failure(), None);
    assert_eq!(ops::prepare(&host).unwrap().to, State::Prepared);
}

#[test]
fn what_is_prepared_is_fixed() {
    let host = TestHost::cold();
    let (session, device) = (host.create("vm"), host.device());
    host.preserve(session, 1, 10).unwrap();
    host.preserve(session, 2, 20).unwrap();
    let token = host.register_file(device, 30).unwrap();
    for frozen in [false, true] {
        ops::prepare(&host).unwrap();
        let mut why = Error::Prepared;
        if frozen {
            ops::freeze(&host).unwrap();
            why = Error::Frozen;
        }
        assert_eq!(why.errno(), Errno::EBUSY);
        assert_eq!(ops::create_device_session(&host), Err(why));
        assert_eq!(host.register_file(device, 4), Err(why));
        assert_eq!(ops::unpreserve_file(&host, session, 1), Err(why));
        assert_eq!(ops::unpreserve_file(&host, device, token), Err(why));
        assert_eq!(host.needs(session, 1, Needed::Here(2)), Err(why));
        assert_eq!(host.drops(session, 1, Needed::Here(2)), Err(why));
        assert_eq!(host.subsystem(1), Err(why));
        ops::cancel(&host).unwrap();
    }
    host.needs(session, 1, Needed::Here(2)).unwrap();
}

/// Prepared, and then nobody holds it any more.
fn closed_while_prepared() -> (TestHost, u64) {
    let host = TestHost::cold();
    let (session, device) = (host.create("vm"), host.device());
    host.preserve(session, 1, 10).unwrap();
    let token = host.register_file(device, 30).unwrap();
    ops::prepare(&host).unwrap();
    host.close(session).unwrap();
    host.close(device).unwrap();
    assert_eq!((host.visible().outgoing, host.visible().files), (2, 2));
    (host, token)
}

#[test]
fn a_session_that_is_closed_while_prepared_goes_with_a_cancel() {
    let (host, _) = closed_while_prepared();
    ops::cancel(&host).unwrap();
    assert_eq!((host.visible().outgoing, host.visible().files), (0, 0));
    assert_eq!(host.counts(), TestHost::cold().counts());
    // And with a freeze that fails.
    let (host, _) = closed_while_prepared();
    host.fail(Call::Freeze, 1, Errno::EIO);
    assert!(ops::freeze(&host).is_err());
    assert_eq!(host.counts(), TestHost::cold().counts());
}

#[test]
fn a_session_that_is_closed_while_prepared_goes_over() {
    let (host, token) = closed_while_prepared();
    host.reboot().unwrap();
    let next = TestHost::opened(host.kexec());
    assert!(next.claim("vm").is_ok());
    assert_eq!(next.restore(token).unwrap().object, 30);
}

#[test]
fn a_machine_is_updated_if_there_is_something_to_finish() {
    // A plain kexec, with a root that says nothing.
    let host = TestHost::opened(TestHost::cold().update());
    assert_eq!(host.state(), State::Normal);
    // The same, but somebody asked for it.
    assert_eq!(TestHost::cold().next().state(), State::Updated);
    let host = TestHost::warm(handed(&[("vm", &[])]));
    assert_eq!(host.state(), State::Updated);
    let host = TestHost::cold();
    host.subsystem(1).unwrap();
    assert_eq!(TestHost::warm(host.update()).state(), State::Updated);
    // An event that was cancelled is forgotten.
    let host = TestHost::cold();
    ops::prepare(&host).unwrap();
    ops::freeze(&host).unwrap();
    ops::cancel(&host).unwrap();
    assert_eq!(TestHost::warm(host.update()).state(), State::Normal);
}

#[test]
fn changes_of_state_are_counted_and_failures_too() {
    let host = TestHost::cold();
    let changes = || host.engine(|engine| engine.state_changes());
    let device = host.device();
    host.register_file(device, 1).unwrap();
    assert_eq!(changes(), 0);
    ops::prepare(&host).unwrap();
    ops::freeze(&host).unwrap();
    assert_eq!(changes(), 2);
    ops::cancel(&host).unwrap();
    assert_eq!(changes(), 3);
    for sequence in 1..4 {
        host.fail(Call::Preserve, 0, Errno::EIO);
        assert!(ops::prepare(&host).is_err());
        assert_eq!(host.last_failure().unwrap().sequence, sequence);
    }
    // It was never anything but NORMAL in between.
    assert_eq!(changes(), 3);
}

/// A session is finished while a reboot that then fails waits for it: the update
/// is over all the same.
#[test]
fn the_last_finish_before_a_failed_reboot_ends_the_update() {
    let host = Arc::new(TestHost::warm_as(handed(&[("vm", &[(1, 10)])]), true));
    host.open().unwrap();
    let (session, next) = (host.claim("vm").unwrap(), host.create("next"));
    host.preserve(next, 1, 20).unwrap();
    host.fail(Call::Freeze, 0, Errno::EIO);
    let (its, (told, outcome)) = (Arc::clone(&host), std::sync::mpsc::channel());
    host.set_hook(move |host, call, _| {
        if call == Call::Finish {
            let its = Arc::clone(&its);
            told.send(thread::spawn(move || its.reboot())).unwrap();
            while host.waiting.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
        }
    });
    host.finish(session).unwrap();
    assert!(outcome.recv().unwrap().join().unwrap().is_err());
    drop(host.script().hook.take());
    assert_eq!(host.state(), State::Normal);
}

#[test]
fn a_handler_that_goes_away_is_still_asked_for_what_it_preserved() {
    let host = TestHost::cold();
    let device = host.device();
    host.register_file(device, 1).unwrap();
    let gone = host.unregister(0);
    assert_eq!(gone, Ok(()));
    host.take_log();
    ops::prepare(&host).unwrap();
    ops::cancel(&host).unwrap();
    assert_eq!(host.take_log(), ["preserve 1", "unpreserve 1"]);
}

#[test]
fn a_vetoed_freeze_leaves_no_mark_on_the_next_kernel() {
    let host = TestHost::cold();
    let session = host.create("vm");
    host.preserve(session, 1, 1).unwrap();
    ops::prepare(&host).unwrap();
    host.fail(Call::Freeze, 0, Errno::EBUSY);
    ops::freeze(&host).unwrap_err();
    host.close(session).unwrap();
    // A plain kexec with nothing to hand over.
    let next = TestHost::warm(host.update());
    assert_eq!(next.state(), State::Normal);
}
