// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Freezing, and the veto.

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::{ops, Error, Failure, FileName};

use crate::support::{compat, handed, name, Call, TestHost};

/// Sessions a (files 1, 2), b (none), c (3), d (4, 5).
fn scene() -> TestHost {
    let host = TestHost::cold();
    for (text, objects) in [("a", 1..3u64), ("b", 0..0), ("c", 3..4), ("d", 4..6)] {
        let session = host.create(text);
        for object in objects {
            host.preserve(session, object * 10, object).unwrap();
        }
    }
    host.take_log();
    host
}

#[test]
fn files_are_frozen_in_the_order_they_were_preserved_in() {
    let host = scene();
    let report = host.freeze().unwrap();
    assert_eq!((report.sessions, report.files, report.lost), (4, 5, 0));
    let log: Vec<_> = (1..6).map(|object| format!("freeze {object}")).collect();
    assert_eq!(host.take_log(), log);
    assert_eq!(host.visible().state, State::Frozen);
}

#[test]
fn frozen_already_it_is_frozen_anew() {
    let host = scene();
    let first = host.freeze().unwrap();
    host.take_log();
    let again = host.freeze().unwrap();
    assert_eq!((again.from, again.to), (State::Frozen, State::Frozen));
    assert_eq!(again.files, first.files);
    let mut log: Vec<_> = (1..6).rev().map(|o| format!("unfreeze {o}")).collect();
    log.extend((1..6).map(|object| format!("freeze {object}")));
    assert_eq!(host.take_log(), log);
    // One undoing is enough.
    host.unfreeze();
    assert_eq!(host.visible().state, State::Normal);
}

#[test]
fn a_veto_unwinds_in_reverse_across_sessions() {
    let host = scene();
    let before = host.visible();
    host.fail(Call::Freeze, 4, Errno::EBUSY);
    let veto = Failure::Handler {
        file: FileName {
            session: name("d"),
            token: 50,
            of_device: false,
        },
        handler: compat("handler", 0),
        errno: Errno::EBUSY,
    };
    assert_eq!(host.freeze(), Err(veto));
    assert_eq!(veto.errno(), Errno::EBUSY);
    let mut log: Vec<_> = (1..6).map(|object| format!("freeze {object}")).collect();
    log.extend((1..5).rev().map(|object| format!("unfreeze {object}")));
    assert_eq!(host.take_log(), log);
    assert_eq!(host.visible(), before);
    // It is as if nothing had been: the next attempt succeeds.
    assert_eq!(host.freeze().unwrap().files, 5);
}

#[test]
fn the_first_one_may_veto_too() {
    let host = scene();
    host.fail(Call::Freeze, 0, Errno::EPERM);
    assert_eq!(host.freeze().unwrap_err().errno(), Errno::EPERM);
    assert_eq!(host.take_log(), ["freeze 1"]);
    let session = host.create("still");
    host.preserve(session, 1, 77).unwrap();
}

#[test]
fn nothing_to_hand_over_is_a_handover_too() {
    let host = TestHost::cold();
    let report = host.freeze().unwrap();
    assert_eq!((report.sessions, report.files), (0, 0));
    let next = TestHost::opened(host.kexec());
    assert_eq!(next.visible().incoming, 0);
    assert_eq!(next.engine(|engine| engine.update_number()), 1);
}

#[test]
fn without_a_freeze_nothing_is_handed_over() {
    let host = scene();
    let next = TestHost::opened(host.kexec());
    assert_eq!(next.visible().incoming, 0);
}

#[test]
fn updates_are_counted_along_the_chain() {
    let mut handed = handed(&[("vm", &[])]);
    for number in 1..4 {
        let host = TestHost::warm(handed);
        assert_eq!(host.engine(|engine| engine.update_number()), number);
        handed = host.update();
    }
    // The number is right too in a kernel that armed first and never froze.
    let host = TestHost::boot(Some(handed), false);
    host.arm();
    host.admit().unwrap();
    let host = TestHost::warm(host.kexec());
    assert_eq!(host.engine(|engine| engine.update_number()), 5);
}

#[test]
fn sessions_that_are_lost_with_the_kexec_are_counted_and_others_carried() {
    let host = TestHost::opened(handed(&[
        ("finished", &[(1, 10)]),
        ("held", &[(2, 20)]),
        ("abandoned", &[(3, 30)]),
        ("unasked", &[]),
    ]));
    let finished = host.claim("finished").unwrap();
    host.finish(finished).unwrap();
    host.claim("held").unwrap();
    let abandoned = host.claim("abandoned").unwrap();
    host.script().stuck.insert(30);
    assert!(host.close(abandoned).is_err());
    let report = host.freeze().unwrap();
    assert_eq!((report.lost, report.carried), (2, 1));
    assert_eq!(host.freeze().unwrap().lost, 2);
}

#[test]
fn a_reboot_takes_over_and_nothing_changes_in_a_frozen_machine() {
    let host = TestHost::warm(handed(&[("vm", &[(7, 70)])]));
    let session = host.create("next");
    assert_eq!(host.freeze().unwrap().carried, 1);
    assert_eq!(host.taken_over(), Some((1, 1)));
    host.open().unwrap();
    assert_eq!(host.taken_over(), None);
    assert_eq!(host.preserve(session, 1, 1), Err(Error::Frozen));
    assert_eq!(host.finish(session), Err(Error::WrongDirection));
    let outcome = ops::retrieve_session(&host, luo_core::Actor::Administrator, &name("vm"));
    assert_eq!(outcome, Err(Error::Frozen));
    assert_eq!(Error::Frozen.errno(), Errno::EBUSY);
}

#[test]
fn flb_pages_hold_what_files_depend_on_only() {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    host.depend(0, 2).unwrap();
    let session = host.create("vm");
    host.preserve(session, 1, 10).unwrap();
    host.preserve(session, 2, 20).unwrap();
    let object = host.get_outgoing(1).unwrap();
    drop(object);
    host.freeze().unwrap();
    host.unfreeze();
    // A driver alone does not cause an FLB to be handed over.
    host.close(session).unwrap();
    let handed = host.update();
    assert_eq!(handed.word(handed.flbs(), 8), 0);
}

#[test]
fn sessions_that_cannot_be_read_are_told() {
    let host = TestHost::cold();
    assert!(!host.freeze().unwrap().losses.any());
    let mut handed = handed(&[("vm", &[(1, 10)])]).plain();
    // A file without the name of a handler.
    handed.set_bytes(handed.files(0), 16, &[0]);
    let host = TestHost::warm(handed);
    // Nothing is discarded without being asked to.
    let why = host.reboot().unwrap_err();
    assert!(matches!(why, Failure::Engine(Error::Refused(_))), "{why}");
    assert_eq!(host.visible().state, State::Updated);
    assert!(host.freeze().unwrap().losses.unread);
}
