// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What comes when everybody has agreed to an update already.

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::ops::{self, Needed};
use luo_core::{Error, SessionId};

use crate::support::{handed, name, Call, TestHost};

/// "vm" with object 10, prepared, and frozen by the event if wanted.
fn fixed(frozen: bool) -> (TestHost, SessionId) {
    let host = TestHost::cold();
    let vm = host.create("vm");
    host.preserve(vm, 1, 10).unwrap();
    ops::prepare(&host).unwrap();
    if frozen {
        ops::freeze(&host).unwrap();
    }
    host.take_log();
    (host, vm)
}

#[test]
fn a_late_session_is_its_owners() {
    for frozen in [false, true] {
        let (host, vm) = fixed(frozen);
        let late = host.create("late");
        host.preserve(late, 1, 20).unwrap();
        host.preserve(late, 2, 21).unwrap();
        ops::unpreserve_file(&host, late, 1).unwrap();
        host.close(late).unwrap();
        let log = [
            "preserve 20",
            "preserve 21",
            "unpreserve 20",
            "unpreserve 21",
        ];
        assert_eq!(host.take_log(), log);
        host.close(vm).unwrap();
        assert!(host.take_log().is_empty());
        ops::cancel(&host).unwrap();
        assert_eq!(host.counts(), TestHost::cold().counts());
    }
}

#[test]
fn what_comes_late_survives_a_cancel_and_takes_part_the_next_time() {
    for frozen in [false, true] {
        let (host, vm) = fixed(frozen);
        let late = host.create("late");
        host.preserve(late, 1, 20).unwrap();
        host.preserve(vm, 2, 11).unwrap();
        host.take_log();
        ops::cancel(&host).unwrap();
        let log = host.take_log();
        assert_eq!(log, if frozen { vec!["unfreeze 10"] } else { vec![] });
        assert_eq!(host.visible().files, 3);
        let report = ops::prepare(&host).unwrap();
        assert_eq!((report.sessions, report.files), (2, 3));
        for (session, token) in [(late, 1), (vm, 2)] {
            let taken = ops::unpreserve_file(&host, session, token);
            assert_eq!(taken, Err(Error::Prepared));
        }
        host.close(late).unwrap();
        assert_eq!(host.visible().outgoing, 2);
    }
}

#[test]
fn the_event_asks_who_took_part_and_the_reboot_asks_all() {
    let (host, vm) = fixed(false);
    let late = host.create("late");
    host.preserve(late, 1, 20).unwrap();
    host.preserve(vm, 2, 11).unwrap();
    host.take_log();
    let report = ops::freeze(&host).unwrap();
    assert_eq!((report.sessions, report.files), (1, 1));
    host.preserve(late, 2, 21).unwrap();
    let report = host.reboot().unwrap();
    assert_eq!((report.from, report.to), (State::Frozen, State::Frozen));
    assert_eq!((report.sessions, report.files), (2, 4));
    let log = [
        "freeze 10",
        "preserve 21",
        "unfreeze 10",
        "freeze 10",
        "freeze 11",
        "freeze 20",
        "freeze 21",
    ];
    assert_eq!(host.take_log(), log);
    let next = TestHost::opened(host.kexec());
    for (text, objects) in [("vm", [10, 11]), ("late", [20, 21])] {
        let session = next.claim(text).unwrap();
        for (token, object) in (1..).zip(objects) {
            assert_eq!(next.retrieve(session, token).unwrap().object, object);
        }
    }
}

/// Who was started anew has its name and its files again.
#[test]
fn a_closed_ones_name_and_files_are_free() {
    for frozen in [false, true] {
        let host = TestHost::cold();
        let vm = host.create("vm");
        for (token, object) in [(1, 10), (2, 11), (3, 12)] {
            host.preserve(vm, token, object).unwrap();
        }
        host.needs(vm, 1, Needed::Here(3)).unwrap();
        let other = host.create("other");
        host.preserve(other, 1, 30).unwrap();
        ops::prepare(&host).unwrap();
        if frozen {
            ops::freeze(&host).unwrap();
        }
        assert_eq!(host.try_create("vm"), Err(Error::SessionExists));
        host.close(vm).unwrap();
        host.take_log();
        let again = host.create("vm");
        // The last frozen is unfrozen first; what is needed is let go of last.
        let unfrozen = ["unfreeze 12", "unfreeze 11", "unfreeze 10"];
        let undone = ["unpreserve 10", "unpreserve 12", "unpreserve 11"];
        let unfrozen = if frozen { &unfrozen[..] } else { &[] };
        assert_eq!(host.take_log(), [unfrozen, &undone].concat());
        host.preserve(again, 1, 10).unwrap();
        assert_eq!(host.try_create("vm"), Err(Error::SessionExists));
        host.take_log();
        let report = host.reboot().unwrap();
        assert_eq!((report.sessions, report.files), (2, 2));
        let log = host.take_log();
        let thawed = if frozen { vec!["unfreeze 30"] } else { vec![] };
        assert_eq!(log, [&thawed[..], &["freeze 30", "freeze 10"]].concat());
        let next = TestHost::opened(host.kexec());
        let vm = next.claim("vm").unwrap();
        assert_eq!(next.retrieve(vm, 1).unwrap().object, 10);
        assert_eq!(next.visible().files, 2);
    }
}

/// The new one is late: nobody waits for it, and it outlives a cancel.
#[test]
fn one_in_a_closed_ones_place_is_its_owners() {
    for frozen in [false, true] {
        let (host, vm) = fixed(frozen);
        host.close(vm).unwrap();
        let again = host.create("vm");
        host.preserve(again, 1, 10).unwrap();
        ops::unpreserve_file(&host, again, 1).unwrap();
        host.preserve(again, 1, 10).unwrap();
        ops::cancel(&host).unwrap();
        assert_eq!((host.visible().outgoing, host.visible().files), (1, 1));
        host.close(again).unwrap();
        assert_eq!(host.counts(), TestHost::cold().counts());
    }
}

/// Those who took part have agreed to an update with the file that they need.
#[test]
fn a_closed_one_that_others_need_stays() {
    let host = TestHost::cold();
    let [vm, other] = ["vm", "other"].map(|text| host.create(text));
    host.preserve(vm, 1, 10).unwrap();
    host.preserve(other, 1, 30).unwrap();
    host.needs(other, 1, Needed::In(name("vm"), 1)).unwrap();
    ops::prepare(&host).unwrap();
    host.close(vm).unwrap();
    assert_eq!(host.try_create("vm"), Err(Error::SessionExists));
    ops::freeze(&host).unwrap();
    ops::cancel(&host).unwrap();
    host.create("vm");
}

/// Nor does it make room for a session of the same name that is another's.
#[test]
fn a_closed_one_of_the_device_stays() {
    let host = TestHost::cold();
    let device = host.device();
    let token = host.register_file(device, 10).unwrap();
    let (called, _) = host.engine(|engine| engine.session_info(device)).unwrap();
    ops::prepare(&host).unwrap();
    host.close(device).unwrap();
    let taken = host.try_create(&called.to_string());
    assert_eq!(taken, Err(Error::SessionExists));
    host.reboot().unwrap();
    let next = TestHost::opened(host.kexec());
    assert_eq!(next.restore(token).unwrap().object, 10);
}

/// Between the event and the reboot nothing is written that a kexec could find.
#[test]
fn an_event_alone_hands_nothing_over() {
    let (host, _) = fixed(true);
    let next = TestHost::warm(host.kexec());
    assert_eq!(next.visible().incoming, 0);
}

#[test]
fn once_the_reboot_has_frozen_all_nothing_comes_any_more() {
    let (host, vm) = fixed(true);
    host.reboot().unwrap();
    assert_eq!(host.try_create("late"), Err(Error::Frozen));
    assert_eq!(host.preserve(vm, 2, 11), Err(Error::Frozen));
    assert_eq!(ops::unpreserve_file(&host, vm, 1), Err(Error::Frozen));
    ops::cancel(&host).unwrap();
    host.preserve(vm, 2, 11).unwrap();
}

#[test]
fn a_late_file_may_need_what_took_part_and_not_the_other_way_round() {
    let (host, vm) = fixed(false);
    let late = host.create("late");
    host.preserve(late, 1, 20).unwrap();
    let in_late = Needed::In(name("late"), 1);
    assert_eq!(host.needs(vm, 1, in_late), Err(Error::Prepared));
    let in_vm = Needed::In(name("vm"), 1);
    host.needs(late, 1, in_vm).unwrap();
    assert_eq!(host.drops(vm, 1, in_late), Err(Error::Prepared));
    host.take_log();
    host.reboot().unwrap();
    assert_eq!(host.take_log(), ["freeze 20", "freeze 10"]);
    let next = TestHost::opened(host.kexec());
    let (vm, late) = (next.claim("vm").unwrap(), next.claim("late").unwrap());
    next.retrieve(vm, 1).unwrap();
    next.retrieve(late, 1).unwrap();
    assert_eq!(next.take_log(), ["retrieve 10", "retrieve 20"]);
}

/// A dependency across the border is looked at when the reboot freezes.
#[test]
fn what_a_late_file_misses_does_not_fail_the_event() {
    let (host, _) = fixed(false);
    let (late, other) = (host.create("late"), host.create("other"));
    host.preserve(late, 1, 20).unwrap();
    host.preserve(other, 1, 30).unwrap();
    host.needs(late, 1, Needed::In(name("other"), 1)).unwrap();
    host.close(other).unwrap();
    ops::freeze(&host).unwrap();
    let why = host.reboot().unwrap_err();
    assert_eq!(why.errno(), Errno::ENOLINK);
    // All is undone, and what came late is there still.
    assert_eq!((host.state(), host.visible().files), (State::Normal, 2));
}

#[test]
fn a_handler_that_vetoes_the_second_freeze_fails_the_reboot() {
    let (host, vm) = fixed(true);
    host.fail(Call::Freeze, 0, Errno::EFBIG);
    assert_eq!(host.reboot().unwrap_err().errno(), Errno::EFBIG);
    assert_eq!(host.take_log(), ["unfreeze 10", "freeze 10"]);
    assert_eq!(host.state(), State::Normal);
    host.close(vm).unwrap();
    assert_eq!(host.counts(), TestHost::cold().counts());
}

/// A closed session of the previous kernel that its handler kept from being finished.
fn leftover() -> TestHost {
    let host = TestHost::opened(handed(&[("old", &[(1, 70)])]));
    host.script().stuck.insert(70);
    let old = host.claim("old").unwrap();
    assert!(host.close(old).is_err());
    host.finish_update().unwrap();
    host.script().stuck.clear();
    assert_eq!(host.state(), State::Normal);
    host
}

#[test]
fn what_came_from_the_previous_kernel_is_had_in_every_state() {
    for frozen in [false, true] {
        let host = leftover();
        ops::prepare(&host).unwrap();
        if frozen {
            ops::freeze(&host).unwrap();
        }
        let old = host.claim("old").unwrap();
        assert_eq!(host.retrieve(old, 1).unwrap().object, 70);
        host.finish(old).unwrap();
        host.close(old).unwrap();
        assert_eq!(host.visible().incoming, 0);
        ops::cancel(&host).unwrap();
    }
    // An open of the device tries again, too.
    let host = leftover();
    ops::prepare(&host).unwrap();
    ops::freeze(&host).unwrap();
    assert_eq!(host.open().unwrap(), 0);
    assert_eq!(host.visible().incoming, 0);
}
