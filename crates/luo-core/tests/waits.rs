// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Who is woken by which step. That nobody sleeps on who could go on is asserted by the
//! host in every test.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::{ops, Error, QUEUES};

use crate::support::{name, Call, TestHost};

const FILES: u64 = 50;
const WAITERS: usize = 8;

/// In the first callback of a kind: waits until all waiters sleep. True from when it has
/// begun to.
fn gather(host: &TestHost, call: Call) -> Arc<AtomicBool> {
    let gathers = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&gathers);
    host.set_hook(move |host, at, _| {
        if at == call && !said.swap(true, Ordering::SeqCst) {
            while host.waiting.load(Ordering::SeqCst) < WAITERS {
                thread::yield_now();
            }
        }
    });
    gathers
}

#[test]
fn who_waits_for_a_transition_is_woken_by_its_end_alone() {
    let host = &TestHost::cold_as(true);
    let device = host.device();
    for object in 0..FILES {
        host.register_file(device, object).unwrap();
    }
    gather(host, Call::Preserve);
    thread::scope(|scope| {
        let prepare = scope.spawn(|| ops::prepare(host).unwrap());
        while !host.engine(|engine| engine.is_moving()) {
            thread::yield_now();
        }
        for at in 0..WAITERS {
            scope.spawn(move || {
                host.create(&format!("{at}"));
            });
        }
        prepare.join().unwrap();
    });
    assert_eq!(host.wake_ups.load(Ordering::SeqCst), WAITERS as u64);
}

/// How many sessions there are from one to the next that shares a queue with it.
const SHARED: usize = QUEUES - 5;

/// Whether they share a queue or not.
#[test]
fn who_waits_for_a_session_is_not_woken_by_another() {
    for between in [1, SHARED] {
        not_woken_by_another(between);
    }
}

fn not_woken_by_another(between: usize) {
    let host = &TestHost::cold_as(true);
    let sessions: Vec<_> = (0..=between)
        .map(|at| host.create(&format!("{at}")))
        .collect();
    let (busy, other) = (sessions[0], sessions[between]);
    let gathers = gather(host, Call::Preserve);
    thread::scope(|scope| {
        let preserve = scope.spawn(|| {
            host.preserve(busy, 1, 1).unwrap();
        });
        // Before it, there would be no file and nothing to wait for.
        while !gathers.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        for _ in 0..WAITERS {
            scope.spawn(|| {
                // Only one of them finds the file.
                let _ = ops::unpreserve_file(host, busy, 1);
            });
        }
        preserve.join().unwrap();
        for object in 2..FILES {
            host.preserve(other, object, object).unwrap();
        }
    });
    // The end of the preserving wakes all, then the end of each unpreserving those that
    // are left.
    let most = WAITERS * (WAITERS + 1);
    assert!(host.wake_ups.load(Ordering::SeqCst) <= most as u64);
}

/// In the first callback of a kind: what `meanwhile` does.
fn during(host: &TestHost, call: Call, meanwhile: impl FnOnce(&TestHost) + Send + 'static) {
    let mut meanwhile = Some(meanwhile);
    host.set_hook(move |host, at, _| {
        if at == call {
            if let Some(meanwhile) = meanwhile.take() {
                host.impatient.store(true, Ordering::SeqCst);
                meanwhile(host);
                host.impatient.store(false, Ordering::SeqCst);
            }
        }
    });
}

/// Whose call does not end is named, and whatever waited behind the event goes on.
#[test]
fn a_transition_does_not_wait_for_ever_for_a_call() {
    let host = TestHost::cold_as(true);
    let [busy, other] = ["busy", "other"].map(|text| host.create(text));
    during(&host, Call::Preserve, move |host| {
        let why = Error::Busy(Some(name("busy")));
        for event in [ops::prepare as fn(&TestHost) -> _, |host| host.reboot()] {
            assert_eq!(event(host), Err(why.into()));
            assert_eq!(why.errno(), Errno::EBUSY);
            assert_eq!(host.last_failure().unwrap().failure, why.into());
            assert_eq!(host.state(), State::Normal);
        }
        host.engine(|engine| assert!(!engine.is_moving()));
        host.create("more");
    });
    host.preserve(busy, 1, 1).unwrap();
    host.preserve(other, 1, 2).unwrap();
    ops::prepare(&host).unwrap();
}

#[test]
fn an_event_does_not_wait_for_ever_for_another() {
    let host = TestHost::cold_as(true);
    let device = host.device();
    host.register_file(device, 1).unwrap();
    during(&host, Call::Preserve, |host| {
        assert_eq!(ops::cancel(host), Err(Error::Busy(None)));
    });
    ops::prepare(&host).unwrap();
    assert_eq!(host.state(), State::Prepared);
    ops::cancel(&host).unwrap();
}
