// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Calls that do not end: of a user's without privileges no event waits for one, and the
//! reboot loses what it has in its hands, alone.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::ops::{self, Needed};
use luo_core::{Actor, Error, Failure, SessionId, Unowned};

use crate::support::{handed, name, Call, Counts, TestHost};

const ALICE: Actor = Actor::User(1000);
/// The object of the file that a call has in its hands.
const HELD: u64 = 70;

fn alices(host: &TestHost, text: &str) -> SessionId {
    ops::create_session(host, ALICE, &name(text)).unwrap()
}

fn claim(host: &TestHost, text: &str) -> SessionId {
    ops::retrieve_session(host, ALICE, &name(text)).unwrap()
}

/// While a callback for the held file is under way: what `meanwhile` does. Whatever would wait
/// has no patience.
fn during(host: &TestHost, call: Call, meanwhile: impl FnOnce(&TestHost) + Send + 'static) {
    let mut meanwhile = Some(meanwhile);
    host.set_hook(move |host, at, object| {
        if (at, object) == (call, HELD) {
            if let Some(meanwhile) = meanwhile.take() {
                host.impatient.store(true, Ordering::SeqCst);
                meanwhile(host);
                host.impatient.store(false, Ordering::SeqCst);
            }
        }
    });
}

/// Runs a call that does not come back from the callback for the held file: the machine goes
/// on without it.
fn hang(host: &TestHost, call: Call, run: impl FnOnce()) {
    let _ = host.script().hook.take();
    host.set_hook(move |_, at, object| {
        if (at, object) == (call, HELD) {
            std::panic::resume_unwind(Box::new("it hangs"));
        }
    });
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "it came back");
    host.set_hook(|_, _, _| ());
    host.impatient.store(true, Ordering::SeqCst);
}

fn all_events(host: &TestHost) {
    for _ in 0..2 {
        ops::prepare(host).unwrap();
        ops::freeze(host).unwrap();
        ops::cancel(host).unwrap();
    }
}

/// The reboot that loses the held file, and a jump that does not come about.
fn lost_and_back(host: &TestHost) {
    let report = host.reboot_or_lose().unwrap();
    assert_eq!(report.losses.files, 1);
    let lost = std::mem::take(&mut host.script().lost);
    let [Failure::UnderWay { file }] = lost[..] else {
        panic!("{lost:?}");
    };
    assert_eq!((file.session, file.token), (name("uid:1000:hers"), 7));
    // Again, as it stands, and then not at all.
    assert_eq!(host.reboot_or_lose().unwrap().losses.files, 1);
    host.script().lost.clear();
    ops::cancel(host).unwrap();
}

/// A machine with a file of the administrator's, and a session of a user's with one.
fn scene() -> (TestHost, SessionId) {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    let vm = host.create("vm");
    host.preserve(vm, 1, 1).unwrap();
    let hers = alices(&host, "hers");
    host.preserve(hers, 1, 2).unwrap();
    (host, hers)
}

/// All that is left goes over, and comes back.
fn goes_over(host: TestHost, hers: &[(u64, u64)]) {
    host.reboot().unwrap();
    let host = TestHost::opened(host.kexec());
    let (vm, session) = (host.claim("vm").unwrap(), claim(&host, "hers"));
    assert_eq!(host.retrieve(vm, 1).unwrap().object, 1);
    for &(token, object) in hers {
        assert_eq!(host.retrieve(session, token).unwrap().object, object);
    }
    assert_eq!(host.visible().files, 1 + hers.len());
    all_let_go(&host, &[vm, session]);
}

fn all_let_go(host: &TestHost, sessions: &[SessionId]) {
    for &session in sessions {
        host.close(session).unwrap();
    }
    let visible = host.visible();
    assert_eq!((visible.incoming, visible.files), (0, 0));
    assert_eq!(visible.state, State::Normal);
    let nothing = Counts {
        blocks: 4,
        ..Counts::default()
    };
    assert_eq!(visible.counts, nothing);
}

#[test]
fn no_event_waits_for_a_users_preserve() {
    let (host, hers) = scene();
    during(&host, Call::Preserve, |host| {
        all_events(host);
        lost_and_back(host);
        // No user vetoes, whatever the administrator has chosen.
        assert_eq!(host.reboot().unwrap().losses.files, 1);
        host.script().lost.clear();
        ops::cancel(host).unwrap();
        ops::prepare(host).unwrap();
    });
    host.preserve(hers, 7, HELD).unwrap();
    // It was not there when the others had agreed, so it may go again.
    assert_eq!(host.state(), State::Prepared);
    ops::unpreserve_file(&host, hers, 7).unwrap();
    let refused = ops::unpreserve_file(&host, hers, 1);
    assert_eq!(refused, Err(Error::Prepared));
    host.preserve(hers, 7, HELD).unwrap();
    goes_over(host, &[(1, 2), (7, HELD)]);
}

#[test]
fn no_event_waits_for_a_preserve_that_fails_in_the_end() {
    let (host, hers) = scene();
    let vm = host.create("needs");
    host.preserve(vm, 1, 3).unwrap();
    during(&host, Call::Preserve, |host| {
        all_events(host);
        lost_and_back(host);
    });
    host.fail(Call::Preserve, 0, Errno::EINVAL);
    assert_eq!(host.preserve(hers, 7, HELD), Err(Errno::EINVAL.into()));
    host.close(vm).unwrap();
    goes_over(host, &[(1, 2)]);
}

#[test]
fn no_event_waits_for_a_user_who_takes_a_file_back() {
    let (host, hers) = scene();
    host.preserve(hers, 7, HELD).unwrap();
    during(&host, Call::Unpreserve, |host| {
        all_events(host);
        assert_eq!(host.reboot_or_lose().unwrap().losses.files, 2);
        ops::cancel(host).unwrap();
    });
    ops::unpreserve_file(&host, hers, 7).unwrap();
    goes_over(host, &[(1, 2)]);
}

#[test]
fn no_event_waits_for_a_users_close() {
    let (host, _) = scene();
    let more = alices(&host, "more");
    for (token, object) in [(1, 4), (2, HELD), (3, 5), (4, 6)] {
        host.preserve(more, token, object).unwrap();
    }
    // So that the files are gone along in the order of these.
    host.needs(more, 1, Needed::Here(3)).unwrap();
    host.needs(more, 4, Needed::Here(2)).unwrap();
    during(&host, Call::Unpreserve, |host| {
        all_events(host);
        assert!(host.reboot_or_lose().unwrap().losses.files > 0);
        ops::cancel(host).unwrap();
    });
    host.close(more).unwrap();
    goes_over(host, &[(1, 2)]);
}

/// What is handed over is whole, and who had the file in its hands is told.
#[test]
fn a_call_that_never_ends_is_left_behind() {
    let (host, hers) = scene();
    let needs = host.create("needs");
    host.preserve(needs, 1, 3).unwrap();
    hang(&host, Call::Preserve, || {
        host.preserve(hers, 7, HELD).unwrap();
    });
    host.needs(needs, 1, Needed::Of(hers, 7)).unwrap();
    ops::prepare(&host).unwrap();
    ops::freeze(&host).unwrap();
    let report = host.reboot_or_lose().unwrap();
    // With the one that needs it.
    assert_eq!(report.losses.files, 2);
    let host = TestHost::opened(host.kexec());
    host.depend(0, 1).unwrap();
    assert_eq!(
        host.engine(|e| e.info(Actor::Administrator, "", 0).lost_files),
        2
    );
    let [vm, needs] = ["vm", "needs"].map(|text| host.claim(text).unwrap());
    let hers = claim(&host, "hers");
    assert_eq!(host.retrieve(vm, 1).unwrap().object, 1);
    assert_eq!(host.retrieve(hers, 1).unwrap().object, 2);
    let lost = host.retrieve(hers, 7).map(drop);
    assert_eq!(lost, Err(Error::Lost(Errno::EBUSY)));
    assert!(matches!(host.retrieve(needs, 1), Err(Error::Lost(_))));
    all_let_go(&host, &[needs, vm, hers]);
    // It counts the files that came: with one more it would be held for ever.
    let log = host.take_log();
    assert!(log.contains(&"flb_finish 1".into()), "{log:?}");
}

#[test]
fn a_session_that_is_being_closed_for_ever_is_left_behind() {
    let (host, hers) = scene();
    host.preserve(hers, 7, HELD).unwrap();
    hang(&host, Call::Unpreserve, || host.close(hers).unwrap());
    ops::prepare(&host).unwrap();
    assert_eq!(host.reboot_or_lose().unwrap().losses.files, 2);
    let host = TestHost::opened(host.kexec());
    let (vm, hers) = (host.claim("vm").unwrap(), claim(&host, "hers"));
    assert_eq!(host.retrieve(vm, 1).unwrap().object, 1);
    for token in [1, 7] {
        let lost = host.retrieve(hers, token).map(drop);
        assert_eq!(lost, Err(Error::Lost(Errno::EBUSY)));
    }
    all_let_go(&host, &[vm, hers]);
}

/// The administrator's own call holds events up, and is named; the reboot goes without.
#[test]
fn the_reboot_goes_without_an_administrators_call() {
    let (host, _) = scene();
    let slow = host.create("slow");
    hang(&host, Call::Preserve, || {
        host.preserve(slow, 7, HELD).unwrap();
    });
    let why = Error::Busy(Some(name("slow")));
    assert_eq!(ops::prepare(&host), Err(why.into()));
    assert_eq!(host.reboot(), Err(why.into()));
    assert_eq!(host.reboot_or_lose().unwrap().losses.files, 1);
    // It stands still, so nobody waits for it.
    ops::cancel(&host).unwrap();
    assert_eq!(host.reboot_or_lose().unwrap().losses.files, 1);
    let host = TestHost::opened(host.kexec());
    assert_eq!(host.visible().files, 3);
    let slow = host.claim("slow").unwrap();
    let lost = host.retrieve(slow, 7).map(drop);
    assert_eq!(lost, Err(Error::Lost(Errno::EBUSY)));
}

fn arrived() -> TestHost {
    let host = TestHost::cold();
    let vm = host.create("vm");
    host.preserve(vm, 1, 1).unwrap();
    let hers = alices(&host, "hers");
    host.preserve(hers, 7, HELD).unwrap();
    host.preserve(hers, 8, 8).unwrap();
    TestHost::opened(host.update())
}

#[test]
fn finish_passes_over_a_users_retrieve() {
    let host = arrived();
    let hers = claim(&host, "hers");
    during(&host, Call::Retrieve, |host| {
        let report = host.finish_update().unwrap();
        assert_eq!((report.files, report.stuck), (1, 2));
        assert_eq!(host.state(), State::Normal);
    });
    assert_eq!(host.retrieve(hers, 7).unwrap().object, HELD);
    assert_eq!(host.retrieve(hers, 8).unwrap().object, 8);
    all_let_go(&host, &[hers]);
}

/// Of a transition in its middle nothing can be lost alone: the reboot is given up, whatever the
/// administrator has chosen, and the machine is where it was.
#[test]
fn the_reboot_goes_on_without_no_transition_that_does_not_end() {
    let host = TestHost::cold();
    let device = host.device();
    host.register_file(device, HELD).unwrap();
    during(&host, Call::Preserve, |host| {
        for reboot in [TestHost::reboot_or_lose, TestHost::reboot] {
            let why = reboot(host).unwrap_err();
            assert_eq!(why, Failure::Engine(Error::Busy(None)));
            assert_eq!(why.errno(), Errno::EBUSY);
        }
    });
    ops::prepare(&host).unwrap();
    assert_eq!(host.state(), State::Prepared);
    assert_eq!(host.reboot_or_lose().unwrap().files, 1);
}

#[test]
fn finish_passes_over_a_users_finish_and_close() {
    for closed in [false, true] {
        let host = arrived();
        let hers = claim(&host, "hers");
        during(&host, Call::Finish, |host| {
            assert_eq!(host.finish_update().unwrap().files, 1);
            all_events(host);
            host.reboot_or_lose().unwrap();
            ops::cancel(host).unwrap();
        });
        let done = if closed {
            host.close(hers)
        } else {
            host.finish(hers)
        };
        done.unwrap();
        let times = host.take_log();
        let times = times
            .iter()
            .filter(|line| **line == format!("finish {HELD}"));
        assert_eq!(times.count(), 1);
    }
}

/// A session that nobody's owner is known of can be had by a user, too, where the
/// administrator lets users have such.
#[test]
fn no_event_waits_for_a_call_on_what_is_nobodys() {
    let mut handed = handed(&[("old", &[(7, HELD)]), ("vm", &[(1, 1)])]);
    handed.supplement = None;
    let host = TestHost::opened(handed);
    host.engine(|engine| engine.set_unowned(Unowned::Anybody));
    let old = claim(&host, "old");
    during(&host, Call::Retrieve, |host| {
        host.finish_update().unwrap();
        all_events(host);
    });
    assert_eq!(host.retrieve(old, 7).unwrap().object, HELD);
}

/// The call comes back from its handler while a transition works: what it does next has to
/// wait for the end.
#[test]
fn what_a_transition_has_passed_over_stays_so_until_its_end() {
    let host = Arc::new(TestHost::cold_as(true));
    let device = host.device();
    host.register_file(device, 1).unwrap();
    let hers = alices(&host, "hers");
    let works = Arc::new(AtomicBool::new(false));
    let prepare = Arc::new(Mutex::new(None));
    let (its, said, thread) = (Arc::clone(&host), Arc::clone(&works), Arc::clone(&prepare));
    host.set_hook(move |host, call, object| {
        if (call, object) != (Call::Preserve, HELD) {
            return;
        }
        let says = Arc::clone(&said);
        // For the callback of the prepare.
        host.set_hook(move |host, call, object| {
            if (call, object) == (Call::Preserve, 1) {
                says.store(true, Ordering::SeqCst);
                while host.waiting.load(Ordering::SeqCst) == 0 {
                    thread::yield_now();
                }
                let page = ops::list_files(host, hers, 0, 9).unwrap();
                assert_eq!(page.entries[0].status, luo_abi::contract::FILE_BUSY);
            }
        });
        let its = Arc::clone(&its);
        *thread.lock().unwrap() = Some(thread::spawn(move || ops::prepare(&*its)));
        while !said.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    });
    host.preserve(hers, 7, HELD).unwrap();
    let prepare = prepare.lock().unwrap().take().unwrap();
    assert_eq!(prepare.join().unwrap().unwrap().files, 1);
    assert_eq!(host.state(), State::Prepared);
    ops::unpreserve_file(&*host, hers, 7).unwrap();
    let _ = host.script().hook.take();
}
