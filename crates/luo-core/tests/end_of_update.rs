// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The end of an update: FINISH, and the end by itself.

use std::sync::atomic::Ordering;
use std::thread;

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::mem::fault;
use luo_core::ops::{self, Needed};
use luo_core::{Error, FileName};

use crate::support::{handed, name, Call, TestHost};

fn finish(host: &TestHost) -> (luo_core::ops::Report, Vec<String>) {
    let mut names = Vec::new();
    let report = ops::finish_update(host, |file: &FileName| names.push(file.to_string()));
    (report.unwrap(), names)
}

#[test]
fn what_was_not_reclaimed_is_released_and_named() {
    let host = TestHost::cold();
    let (vm, cache, device) = (host.create("vm"), host.create("cache"), host.device());
    host.preserve(vm, 1, 10).unwrap();
    host.preserve(vm, 2, 20).unwrap();
    host.preserve(cache, 1, 30).unwrap();
    let kept = host.register_file(device, 40).unwrap();
    host.register_file(device, 50).unwrap();
    let host = host.next();
    let vm = host.claim("vm").unwrap();
    host.retrieve(vm, 1).unwrap();
    host.restore(kept).unwrap();
    let (report, released) = finish(&host);
    assert_eq!((report.from, report.to), (State::Updated, State::Normal));
    assert_eq!((report.files, report.released, report.stuck), (5, 3, 0));
    assert_eq!(report.sessions, 3);
    let mut released = released;
    released.sort();
    let expected = [
        "session \"cache\", token 0x1",
        "session \"liveupdate-device:0.0\", token 0x2",
        "session \"vm\", token 0x2",
    ];
    assert_eq!(released, expected);
    assert_eq!(report.released_first.iter().flatten().count(), 3);
    // Whoever held a session holds an empty one.
    assert_eq!(host.retrieve(vm, 1).err(), Some(Error::NoToken));
    host.close(vm).unwrap();
    assert_eq!((host.visible().incoming, host.visible().files), (0, 0));
    assert_eq!(host.counts(), TestHost::cold().counts());
}

#[test]
fn a_file_that_was_carried_in_vain_is_released_by_name() {
    let host = TestHost::opened(handed(&[("vm", &[(1, 10)])]));
    host.reboot().unwrap();
    ops::cancel(&host).unwrap();
    // It is restored, but nobody has got it.
    assert_eq!(finish(&host).0.released, 1);
}

#[test]
fn what_was_never_read_is_released_too() {
    let handed = handed(&[("vm", &[(1, 10), (2, 20)])]);
    let host = TestHost::warm(handed);
    let (report, _) = finish(&host);
    assert_eq!((report.files, report.released), (2, 2));
    assert_eq!(host.arrived_pages(), 0);
    assert_eq!(
        host.take_log(),
        ["can_finish 20", "finish 20", "can_finish 10", "finish 10"]
    );
}

#[test]
fn a_refused_handover_stays_and_is_no_longer_waited_for() {
    let mut handed = handed(&[("vm", &[(1, 10)])]);
    handed.set_bytes(handed.files(0), 72, &[0xff]);
    let pages = handed.pages.clone();
    let host = TestHost::warm(handed);
    assert!(host.open().is_err());
    assert_eq!(host.state(), State::Updated);
    let (report, released) = finish(&host);
    assert_eq!((report.to, released.len()), (State::Normal, 0));
    assert_eq!(host.arrived.lock().unwrap().pages, pages);
    assert!(host.open().is_err());
}

#[test]
fn what_is_stuck_stays_with_what_it_needs_and_goes_later() {
    let host = TestHost::cold();
    let (vm, cache) = (host.create("vm"), host.create("cache"));
    host.preserve(vm, 1, 10).unwrap();
    host.preserve(vm, 2, 20).unwrap();
    host.preserve(cache, 1, 30).unwrap();
    host.needs(vm, 1, Needed::In(name("cache"), 1)).unwrap();
    let host = host.next();
    host.script().stuck.insert(10);
    let (report, _) = finish(&host);
    // It does not keep the machine in UPDATED.
    assert_eq!(report.to, State::Normal);
    assert_eq!((report.files, report.stuck), (1, 2));
    assert_eq!(
        host.finish_update(),
        Err(Error::Illegal {
            event: luo_abi::rfc::Event::Finish,
            state: State::Normal,
        })
    );
    assert_eq!(host.open().unwrap(), 2);
    // Its owner may come still.
    let vm = host.claim("vm").unwrap();
    assert_eq!(host.retrieve(vm, 1).unwrap().object, 10);
    host.script().stuck.clear();
    host.close(vm).unwrap();
    host.open().unwrap();
    assert_eq!(host.visible().incoming, 0);
    assert_eq!(host.counts(), TestHost::cold().counts());
}

#[test]
fn the_last_session_ends_the_update() {
    let host = TestHost::cold();
    host.subsystem(7).unwrap();
    host.create("a");
    host.create("b");
    let host = host.next();
    host.subsystem(7).unwrap();
    let (a, b) = (host.claim("a").unwrap(), host.claim("b").unwrap());
    host.finish(a).unwrap();
    assert_eq!(host.state(), State::Updated);
    host.script().transitions.clear();
    host.close(b).unwrap();
    assert_eq!(host.state(), State::Normal);
    assert_eq!(host.take_log(), ["subsystem_finish 7"]);
    let told = std::mem::take(&mut host.script().transitions);
    assert_eq!(told, ["finish begins", "finish: updated -> normal"]);
    // Its descriptor may stay open; it is finished.
    host.close(a).unwrap();
    assert_eq!(host.visible().incoming, 0);
}

/// A user's thread may be kept from running at any time, and all wait for a transition.
#[test]
fn an_end_that_is_left_to_a_worker_is_its_work_alone() {
    let host = TestHost::cold();
    host.subsystem(7).unwrap();
    host.create("a");
    host.create("b");
    host.reboot().unwrap();
    let host = &TestHost::warm_as(host.kexec(), true);
    host.open().unwrap();
    host.subsystem(7).unwrap();
    let [a, b] = ["a", "b"].map(|text| host.claim(text).unwrap());
    host.leaves_rest.store(true, Ordering::SeqCst);
    host.finish(a).unwrap();
    assert_eq!(host.rests_wanted.load(Ordering::SeqCst), 0);
    thread::scope(|scope| {
        let close = scope.spawn(|| host.close(b));
        while host.waiting.load(Ordering::SeqCst) < 1 {
            thread::yield_now();
        }
        // Until the worker comes, nothing keeps others.
        assert_eq!(host.rests_wanted.load(Ordering::SeqCst), 1);
        host.engine(|engine| assert!(!engine.is_moving()));
        assert_eq!(host.state(), State::Updated);
        assert!(host.take_log().is_empty());
        host.create("more");
        ops::do_rest(host);
        close.join().unwrap().unwrap();
    });
    assert_eq!(host.state(), State::Normal);
    assert_eq!(host.take_log(), ["subsystem_finish 7"]);
    // A worker that comes in vain changes nothing.
    ops::do_rest(host);
    assert_eq!(host.state(), State::Normal);
}

/// A worker may have much to do before: whoever waits for it can be killed, and does not wait
/// for ever.
#[test]
fn an_end_that_is_left_to_a_worker_comes_without_who_wanted_it() {
    for is_killed in [false, true] {
        let host = TestHost::cold();
        host.create("a");
        let host = host.next();
        host.open().unwrap();
        let a = host.claim("a").unwrap();
        host.leaves_rest.store(true, Ordering::SeqCst);
        host.impatient.store(!is_killed, Ordering::SeqCst);
        host.kills.store(is_killed, Ordering::SeqCst);
        host.close(a).unwrap();
        assert_eq!(host.rests_wanted.load(Ordering::SeqCst), 1);
        assert_eq!(host.state(), State::Updated);
        ops::do_rest(&host);
        assert_eq!(host.state(), State::Normal);
    }
}

#[test]
fn without_sessions_only_the_event_ends_it() {
    let host = TestHost::cold();
    host.subsystem(7).unwrap();
    let host = host.next();
    host.subsystem(7).unwrap();
    host.open().unwrap();
    assert_eq!(host.state(), State::Updated);
    let session = host.create("new");
    host.close(session).unwrap();
    assert_eq!(host.state(), State::Updated);
    assert_eq!(finish(&host).0.subsystems, 1);
    assert_eq!(host.state(), State::Normal);
}

#[test]
fn a_session_of_the_device_is_finished_by_the_event_only() {
    let host = TestHost::cold();
    let (device, vm) = (host.device(), host.create("vm"));
    let token = host.register_file(device, 10).unwrap();
    host.preserve(vm, 1, 20).unwrap();
    let host = host.next();
    let vm = host.claim("vm").unwrap();
    host.close(vm).unwrap();
    host.restore(token).unwrap();
    assert_eq!(host.state(), State::Updated);
    assert_eq!(finish(&host).0.released, 0);
}

#[test]
fn one_that_failed_to_restore_is_released() {
    let host = TestHost::opened(handed(&[("vm", &[(1, 10)])]));
    let vm = host.claim("vm").unwrap();
    host.fail(Call::Retrieve, 0, Errno::EFBIG);
    assert!(host.retrieve(vm, 1).is_err());
    assert_eq!(finish(&host).1, ["session \"vm\", token 0x1"]);
}

#[test]
fn who_was_killed_before_it_began_has_finished_nothing() {
    let host = TestHost::opened(handed(&[("vm", &[(1, 10)])]));
    let next = host.create("next");
    host.kills.store(true, std::sync::atomic::Ordering::SeqCst);
    host.set_hook(|host, call, _| {
        if call == Call::Preserve {
            assert_eq!(host.finish_update(), Err(Error::Host(Errno::EAGAIN)));
        }
    });
    host.preserve(next, 1, 20).unwrap();
    assert_eq!(host.visible().files, 2);
    assert_eq!(host.state(), State::Updated);
}

/// Between the look at who needs its files and the note that it waits, the one who
/// needed them goes.
#[test]
fn a_close_that_waits_for_nobody_any_more_is_tried_again() {
    let host = TestHost::cold();
    let (vm, cache) = (host.create("vm"), host.create("cache"));
    host.preserve(vm, 1, 1).unwrap();
    host.preserve(cache, 1, 2).unwrap();
    ops::add_dependency(
        &host,
        luo_core::Actor::Administrator,
        vm,
        1,
        Needed::In(name("cache"), 1),
    )
    .unwrap();
    let handed = host.update();
    let mut interrupted = false;
    for step in 1..20 {
        let host = TestHost::opened(handed.clone());
        let (vm, cache) = (host.claim("vm").unwrap(), host.claim("cache").unwrap());
        let mut steps = 0;
        host.set_hook(move |host, call, _| {
            steps += usize::from(call == Call::Step);
            if call == Call::Step && steps == step {
                host.close(vm).unwrap();
            }
        });
        interrupted |= host.close(cache).is_err();
        host.set_hook(|_, _, _| ());
        if host.session_is_there("vm") {
            host.close(vm).unwrap();
        }
        let end = host.visible();
        assert_eq!((end.state, end.incoming), (State::Normal, 0), "step {step}");
    }
    assert!(
        interrupted,
        "the other came too early or too late each time"
    );
}

/// Found by the fuzz target `call_traces`: the update ended, and what could not be read
/// came to light at the next open, when FINISH was not legal any more.
#[test]
fn finish_does_not_end_an_update_that_it_has_no_memory_to_read() {
    let host = TestHost::cold();
    let device = host.device();
    host.register_file(device, 40).unwrap();
    let host = TestHost::warm(host.update());
    let before = host.visible();
    let mut refused = 0;
    loop {
        fault::fail_after(refused);
        let outcome = host.finish_update();
        if fault::disarm() {
            assert_eq!(outcome.unwrap().released, 1);
            break;
        }
        assert_eq!(outcome.err(), Some(Error::NoMemory), "request {refused}");
        assert_eq!(host.visible(), before);
        refused += 1;
    }
    assert!(refused > 0);
    host.open().unwrap();
    assert_eq!((host.visible().incoming, host.visible().files), (0, 0));
}
