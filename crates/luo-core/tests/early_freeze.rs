// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! One session is frozen before the others.

use std::sync::atomic::Ordering;

use luo_abi::contract::{FILE_FROZEN, FILE_PRESERVED, SESSION_FROZEN};
use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::ops::{self, Needed};
use luo_core::{Actor, Error, SessionId};

use crate::support::{compat, name, Call, TestHost};

/// "vm" with objects 10, 11 and 12, of which the third needs the first, and "other" with 20.
fn scene() -> (TestHost, [SessionId; 2]) {
    let host = TestHost::cold();
    let sessions = ["vm", "other"].map(|text| host.create(text));
    let [vm, other] = sessions;
    for (token, object) in [(1, 10), (2, 11), (3, 12)] {
        host.preserve(vm, token, object).unwrap();
    }
    host.needs(vm, 3, Needed::Here(1)).unwrap();
    host.preserve(other, 1, 20).unwrap();
    host.take_log();
    (host, sessions)
}

pub fn freeze(host: &TestHost, session: SessionId) -> Result<(), Error> {
    ops::freeze_session(host, session)
}

pub fn is_frozen(host: &TestHost, session: SessionId) -> bool {
    let shown = host.engine(|engine| engine.describe_session(session));
    shown.unwrap().flags & SESSION_FROZEN != 0
}

/// The status and the error of each file of a session.
pub fn files(host: &TestHost, session: SessionId) -> Vec<(u32, u32)> {
    let page = ops::list_files(host, session, 0, 16).unwrap();
    let entries = page.entries.iter();
    entries.map(|file| (file.status, file.error)).collect()
}

/// Object 10 after 12, which needs it; else as they were preserved.
const FROZEN: [&str; 3] = ["freeze 11", "freeze 12", "freeze 10"];
const UNFROZEN: [&str; 3] = ["unfreeze 10", "unfreeze 12", "unfreeze 11"];

#[test]
fn its_handlers_have_their_last_look_then_and_not_again() {
    for by_events in [false, true] {
        let (host, [vm, other]) = scene();
        assert!(!is_frozen(&host, vm));
        freeze(&host, vm).unwrap();
        assert_eq!(host.take_log(), FROZEN);
        assert!(is_frozen(&host, vm) && !is_frozen(&host, other));
        assert_eq!(files(&host, vm), [(FILE_FROZEN, 0); 3]);
        if by_events {
            ops::prepare(&host).unwrap();
            ops::freeze(&host).unwrap();
            assert_eq!(host.take_log(), ["freeze 20"]);
        }
        host.reboot().unwrap();
        let expected: &[_] = match by_events {
            true => &["unfreeze 20", "freeze 20"],
            false => &["freeze 20"],
        };
        assert_eq!(host.take_log(), expected);
        let host = TestHost::opened(host.kexec());
        let vm = host.claim("vm").unwrap();
        for (token, object) in [(1, 10), (2, 11), (3, 12)] {
            assert_eq!(host.retrieve(vm, token).unwrap().object, object);
        }
    }
}

#[test]
fn it_does_not_change() {
    let (host, [vm, other]) = scene();
    freeze(&host, vm).unwrap();
    host.take_log();
    let on = Needed::Here(2);
    let refused = Err(Error::SessionFrozen);
    assert_eq!(freeze(&host, vm), refused);
    assert_eq!(host.preserve(vm, 9, 90), refused);
    assert_eq!(ops::unpreserve_file(&host, vm, 2), refused);
    assert_eq!(host.needs(vm, 1, on), refused);
    assert_eq!(host.drops(vm, 3, Needed::Here(1)), refused);
    // What would need a file of it would have had to be frozen first.
    assert_eq!(host.needs(other, 1, Needed::In(name("vm"), 2)), refused);
    assert_eq!(Error::SessionFrozen.errno(), Errno::EBUSY);
    assert!(host.take_log().is_empty());
    // Others go on.
    host.preserve(other, 2, 21).unwrap();
    ops::unpreserve_file(&host, other, 1).unwrap();
}

#[test]
fn it_is_for_sessions_of_the_next_kernel() {
    let (host, _) = scene();
    let host = TestHost::opened(host.update());
    let vm = host.claim("vm").unwrap();
    assert_eq!(freeze(&host, vm), Err(Error::WrongDirection));
    assert_eq!(Error::WrongDirection.errno(), Errno::EINVAL);
    host.close(vm).unwrap();
    assert_eq!(freeze(&host, vm), Err(Error::NoSession));
    // In UPDATED as well.
    assert_eq!(host.state(), State::Updated);
    let new = host.create("new");
    host.preserve(new, 1, 30).unwrap();
    freeze(&host, new).unwrap();
}

#[test]
fn one_without_files_is_frozen_too() {
    let host = TestHost::cold();
    let empty = host.create("empty");
    freeze(&host, empty).unwrap();
    assert_eq!(host.preserve(empty, 1, 1), Err(Error::SessionFrozen));
    ops::prepare(&host).unwrap();
    ops::cancel(&host).unwrap();
    host.preserve(empty, 1, 1).unwrap();
}

#[test]
fn its_close_undoes_it_in_reverse() {
    let (host, [vm, _]) = scene();
    freeze(&host, vm).unwrap();
    host.take_log();
    host.close(vm).unwrap();
    let log = host.take_log();
    assert_eq!(log[..3], UNFROZEN);
    assert_eq!(
        log[3..],
        ["unpreserve 12", "unpreserve 11", "unpreserve 10"]
    );
    assert_eq!(host.visible().files, 1);
}

/// Whatever undoes a freeze of all undoes this one with it.
#[test]
fn a_cancel_undoes_it() {
    for frozen in [false, true] {
        let (host, [vm, other]) = scene();
        freeze(&host, vm).unwrap();
        ops::prepare(&host).unwrap();
        if frozen {
            ops::freeze(&host).unwrap();
        }
        host.take_log();
        ops::cancel(&host).unwrap();
        let log = host.take_log();
        let rest = log.strip_prefix(&["unfreeze 20".to_owned()][..]);
        assert_eq!(rest.unwrap_or(&log), UNFROZEN);
        assert_eq!(rest.is_some(), frozen);
        assert!(!is_frozen(&host, vm));
        assert_eq!(files(&host, vm), [(FILE_PRESERVED, 0); 3]);
        // It is as if it had not been.
        host.preserve(vm, 9, 90).unwrap();
        freeze(&host, vm).unwrap();
        freeze(&host, other).unwrap();
        host.reboot().unwrap();
    }
}

#[test]
fn a_freeze_or_a_reboot_that_fails_undoes_it_and_a_prepare_that_fails_does_not() {
    let (host, [vm, other]) = scene();
    host.subsystem(1).unwrap();
    freeze(&host, vm).unwrap();
    host.fail(Call::SubsystemPrepare, 0, Errno::EPERM);
    ops::prepare(&host).unwrap_err();
    assert!(is_frozen(&host, vm));
    for call in [Call::SubsystemPrepare, Call::Freeze] {
        host.fail(call, 0, Errno::EPERM);
        host.reboot().unwrap_err();
        assert!(!is_frozen(&host, vm));
        freeze(&host, vm).unwrap();
    }
    ops::prepare(&host).unwrap();
    host.fail(Call::Freeze, 0, Errno::EPERM);
    ops::freeze(&host).unwrap_err();
    assert!(!is_frozen(&host, vm));
    host.preserve(vm, 9, 90).unwrap();
    host.preserve(other, 9, 91).unwrap();
}

#[test]
fn a_jump_that_does_not_come_about_leaves_it_frozen_until_the_cancel() {
    let (host, [vm, _]) = scene();
    freeze(&host, vm).unwrap();
    host.reboot().unwrap();
    host.take_log();
    assert_eq!(freeze(&host, vm), Err(Error::Frozen));
    host.reboot().unwrap();
    assert_eq!(host.take_log(), ["unfreeze 20", "freeze 20"]);
    ops::cancel(&host).unwrap();
    assert!(!is_frozen(&host, vm));
}

#[test]
fn what_has_agreed_to_an_update_may_be_frozen_for_it() {
    let (host, [vm, other]) = scene();
    ops::prepare(&host).unwrap();
    freeze(&host, vm).unwrap();
    // It stays with its session closed, as all that took part.
    host.close(vm).unwrap();
    assert_eq!(host.take_log(), FROZEN);
    ops::freeze(&host).unwrap();
    assert_eq!(host.take_log(), ["freeze 20"]);
    // That one is frozen with all others; one that comes late is not.
    assert_eq!(freeze(&host, other), Err(Error::Frozen));
    let late = host.create("late");
    host.preserve(late, 1, 40).unwrap();
    freeze(&host, late).unwrap();
    host.take_log();
    host.reboot().unwrap();
    assert_eq!(host.take_log(), ["unfreeze 20", "freeze 20"]);
    let host = TestHost::opened(host.kexec());
    assert_eq!(host.visible().files, 5);
}

/// A new one of its name takes the place of one that an update keeps.
#[test]
fn a_closed_one_makes_room_with_what_is_frozen() {
    let (host, [vm, _]) = scene();
    ops::prepare(&host).unwrap();
    freeze(&host, vm).unwrap();
    host.close(vm).unwrap();
    host.take_log();
    let new = host.create("vm");
    assert_eq!(host.take_log()[..3], UNFROZEN);
    host.preserve(new, 1, 10).unwrap();
    host.reboot().unwrap();
}

#[test]
fn a_veto_leaves_the_session_as_it_was_and_names_the_file() {
    for (skip, token, undone) in [
        (0, 2, &[][..]),
        (1, 3, &UNFROZEN[2..]),
        (2, 1, &UNFROZEN[1..]),
    ] {
        let (host, [vm, _]) = scene();
        let before = host.visible();
        host.fail(Call::Freeze, skip, Errno::EPERM);
        let veto = Error::Veto {
            token,
            handler: compat("handler", 0),
            errno: Errno::EPERM,
        };
        assert_eq!(freeze(&host, vm), Err(veto));
        assert_eq!(veto.errno(), Errno::EPERM);
        let log = host.take_log();
        assert_eq!(log[..=skip], FROZEN[..=skip]);
        assert_eq!(log[skip + 1..], *undone);
        assert_eq!(host.visible(), before);
        assert!(!is_frozen(&host, vm));
        // Its owner can look which one it was.
        let mut shown = [(FILE_PRESERVED, 0); 3];
        shown[token as usize - 1].1 = Errno::EPERM.get().unsigned_abs();
        assert_eq!(files(&host, vm), shown);
        host.preserve(vm, 9, 90).unwrap();
        freeze(&host, vm).unwrap();
        assert_eq!(files(&host, vm), [(FILE_FROZEN, 0); 4]);
        host.reboot().unwrap();
    }
}

#[test]
fn a_caller_who_is_killed_has_frozen_nothing() {
    let (host, [vm, _]) = scene();
    host.set_hook(move |host, call, object| {
        if (call, object) == (Call::Preserve, 90) {
            host.kills.store(true, Ordering::SeqCst);
            assert_eq!(freeze(host, vm), Err(Error::Host(Errno::EAGAIN)));
            host.kills.store(false, Ordering::SeqCst);
        }
    });
    host.preserve(vm, 9, 90).unwrap();
    assert_eq!(host.take_log(), ["preserve 90"]);
    freeze(&host, vm).unwrap();
}

#[test]
fn both_ends_of_a_pipe_are_frozen_with_the_pauses_of_a_call() {
    use crate::support::host::TestHandler;
    use luo_core::held::PAUSES;
    use luo_core::pipe::End;
    let host = TestHost::cold();
    host.register(TestHandler::PIPES);
    let session = host.create("pipes");
    for (token, end) in [(1, End::Read), (2, End::Write)] {
        let open = || Ok(host.end_of(3, end));
        ops::preserve_file(&host, Actor::Administrator, session, token, open).unwrap();
    }
    host.change_pipe(3, |pipe| {
        pipe.held = vec![(b"kept".to_vec(), false)];
        // It is looked into twice. In a transition it would get half of the pauses.
        pipe.locked = PAUSES / 3;
    });
    freeze(&host, session).unwrap();
    host.change_pipe(3, |pipe| pipe.held = vec![(b"too late".to_vec(), false)]);
    host.reboot().unwrap();
    let host = TestHost::boot(Some(host.kexec()), false);
    host.register(TestHandler::PIPES);
    host.admit().unwrap();
    host.arm();
    host.open().unwrap();
    let session = host.claim("pipes").unwrap();
    let end = host.retrieve(session, 1).unwrap();
    assert_eq!(host.pipe_of(&end).held, [(b"kept".to_vec(), false)]);
}
