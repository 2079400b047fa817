// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Making sessions and taking those of the previous kernel.

use luo_abi::errno::Errno;
use luo_core::{ops, Direction, Error, SessionName, TextError};

use crate::support::{handed, name, Call, TestHost};

#[test]
fn a_session_is_known_by_its_name_and_direction() {
    let host = TestHost::cold();
    let id = host.create("vm");
    let info = host.engine(|engine| engine.session_info(id));
    assert_eq!(info, Some((name("vm"), Direction::Outgoing)));
    assert_eq!(host.try_create("vm"), Err(Error::SessionExists));
    assert_eq!(host.visible().outgoing, 1);
}

#[test]
fn a_closed_session_frees_its_name_and_its_id_is_stale() {
    let host = TestHost::cold();
    let before = host.visible();
    let first = host.create("vm");
    host.close(first).unwrap();
    assert_eq!(host.visible(), before);
    let second = host.create("vm");
    assert_ne!(first, second);
    assert_eq!(host.preserve(first, 1, 1), Err(Error::NoSession));
    assert_eq!(host.close(first), Err(Error::NoSession));
    assert_eq!(host.finish(first), Err(Error::NoSession));
    assert_eq!(host.visible().outgoing, 1);
}

#[test]
fn there_are_no_sessions_before_the_host_has_armed() {
    let host = TestHost::boot(None, false);
    assert_eq!(host.try_create("early"), Err(Error::NotReady));
    assert_eq!(host.freeze().unwrap_err().errno(), Errno::EIO);
    host.arm();
    assert!(host.try_create("early").is_ok());
    let pages = host.engine(|engine| engine.disarm());
    assert!(pages.iter().all(Option::is_some));
    assert_eq!(host.try_create("late"), Err(Error::NotReady));
}

#[test]
fn what_the_memory_of_the_host_says_reaches_the_caller() {
    let host = TestHost::cold();
    let before = host.visible();
    host.fail(Call::AllocBlock, 0, Errno::EPERM);
    assert_eq!(host.try_create("vm"), Err(Error::Host(Errno::EPERM)));
    assert_eq!(host.visible(), before);
}

#[test]
fn sessions_share_pages_and_give_back_those_they_do_not_need() {
    let host = TestHost::cold();
    let sessions: Vec<_> = (0..52).map(|at| host.create(&format!("s{at}"))).collect();
    // Two roots, FLBs, subsystems, and 51 sessions to a page.
    assert_eq!(host.counts().blocks, 6);
    host.close(sessions[0]).unwrap();
    assert_eq!(host.counts().blocks, 5);
    for &session in &sessions[1..] {
        host.close(session).unwrap();
    }
    assert_eq!(host.counts().blocks, 4);
}

#[test]
fn an_incoming_session_is_taken_once() {
    let host = TestHost::opened(handed(&[("vm", &[])]));
    assert_eq!(host.claim("other"), Err(Error::NoSession));
    let id = host.claim("vm").unwrap();
    let info = host.engine(|engine| engine.session_info(id));
    assert_eq!(info, Some((name("vm"), Direction::Incoming)));
    assert_eq!(host.claim("vm"), Err(Error::AlreadyRetrieved));
    host.close(id).unwrap();
    assert_eq!(host.claim("vm"), Err(Error::NoSession));
}

#[test]
fn both_directions_have_names_of_their_own() {
    let host = TestHost::opened(handed(&[("vm", &[])]));
    let outgoing = host.create("vm");
    let incoming = host.claim("vm").unwrap();
    assert_ne!(outgoing, incoming);
    host.close(outgoing).unwrap();
    assert_eq!(host.claim("vm"), Err(Error::AlreadyRetrieved));
}

#[test]
fn a_session_that_is_put_back_keeps_its_files() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    let first = host.claim("vm").unwrap();
    ops::put_back_session(&host, first);
    assert_eq!(host.retrieve(first, 7).err(), Some(Error::NoSession));
    let second = host.claim("vm").unwrap();
    assert_eq!(host.retrieve(second, 7).unwrap().object, 70);
    assert_eq!(host.take_log(), ["retrieve 70"]);
}

#[test]
fn a_session_that_is_put_back_is_still_to_be_finished_if_it_was() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    host.script().stuck.insert(70);
    let id = host.claim("vm").unwrap();
    assert!(host.close(id).is_err());
    let again = host.claim("vm").unwrap();
    ops::put_back_session(&host, again);
    assert_eq!(host.open().unwrap(), 1);
    host.script().stuck.clear();
    assert_eq!(host.open().unwrap(), 0);
    assert_eq!(host.visible().incoming, 0);
}

#[test]
fn putting_back_what_nobody_holds_changes_nothing() {
    let host = TestHost::opened(handed(&[("vm", &[(7, 70)])]));
    let outgoing = host.create("new");
    ops::put_back_session(&host, outgoing);
    host.preserve(outgoing, 1, 1).unwrap();
    let id = host.claim("vm").unwrap();
    host.close(id).unwrap();
    ops::put_back_session(&host, id);
    assert_eq!(host.claim("vm"), Err(Error::NoSession));
}

#[test]
fn names_are_bytes_with_a_terminator() {
    let longest = "n".repeat(63);
    let host = TestHost::cold();
    host.create(&longest);
    assert_eq!(host.try_create(&longest), Err(Error::SessionExists));
    let too_long = SessionName::parse(&[b'n'; 64]);
    assert_eq!(too_long, Err(TextError::Unterminated));
    assert_eq!(Error::from(TextError::Empty).errno(), Errno::EINVAL);
}

#[test]
fn a_frozen_machine_makes_and_gives_no_sessions() {
    let host = TestHost::opened(handed(&[("vm", &[])]));
    host.freeze().unwrap();
    assert_eq!(host.try_create("new"), Err(Error::Frozen));
    assert_eq!(host.claim("vm"), Err(Error::Frozen));
    host.unfreeze();
    assert!(host.try_create("new").is_ok());
    assert!(host.claim("vm").is_ok());
}

#[test]
fn each_error_has_its_number() {
    let table = [
        (Error::NoMemory, Errno::ENOMEM),
        (Error::SessionExists, Errno::EEXIST),
        (Error::NoSession, Errno::ENOENT),
        (Error::AlreadyRetrieved, Errno::EINVAL),
        (Error::WrongDirection, Errno::EINVAL),
        (Error::TokenExists, Errno::EEXIST),
        (Error::NoToken, Errno::ENOENT),
        (Error::AlreadyPreserved, Errno::EBUSY),
        (Error::NoHandler, Errno::ENOENT),
        (Error::Full, Errno::ENOSPC),
        (Error::Frozen, Errno::EBUSY),
        (Error::NameTaken, Errno::EEXIST),
        (Error::NotRegistered, Errno::EINVAL),
        (Error::OwnerGone, Errno::ENODEV),
        (Error::NoData, Errno::ENODATA),
        (Error::NoFlb, Errno::ENOENT),
        (Error::NotReady, Errno::EIO),
        (Error::Inconsistent, Errno::EIO),
        (Error::Host(Errno::EFBIG), Errno::EFBIG),
    ];
    for (error, errno) in table {
        assert_eq!(error.errno(), errno, "{error}");
    }
}
