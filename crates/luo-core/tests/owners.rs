// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Whose a session is: in this kernel, in the next, and through one that records no owners.

use luo_abi::errno::Errno;
use luo_abi::supplement::{KIND_SESSION, SESSION_OF_NOBODY, SESSION_OF_USER};
use luo_core::ops::{self, Needed};
use luo_core::{Actor, BadRecord, Error, Refusal, SessionId, SessionName, Unowned};

use crate::support::{name, Handed, TestHost};

pub const ALICE: Actor = Actor::User(1000);
pub const BOB: Actor = Actor::User(1001);
pub const ROOT: Actor = Actor::Administrator;

pub fn create(host: &TestHost, by: Actor, text: &str) -> Result<SessionId, Error> {
    ops::create_session(host, by, &name(text))
}

pub fn claim(host: &TestHost, by: Actor, text: &str) -> Result<SessionId, Error> {
    ops::retrieve_session(host, by, &name(text))
}

fn called(host: &TestHost, id: SessionId) -> SessionName {
    host.engine(|engine| engine.session_info(id)).unwrap().0
}

pub fn names(host: &TestHost, by: Actor) -> Vec<SessionName> {
    let page = ops::list_sessions(host, by, 0, 0, 9).unwrap();
    assert_eq!(page.total as usize, page.entries.len());
    let names = page.entries.iter().map(|entry| entry.name);
    names
        .map(|room| SessionName::parse(&room).unwrap())
        .collect()
}

/// "vm" of the administrator, of Alice and of Bob, with a file each.
fn scene() -> TestHost {
    let host = TestHost::cold();
    for (at, by) in [ROOT, ALICE, BOB].into_iter().enumerate() {
        let session = create(&host, by, "vm").unwrap();
        host.preserve(session, 1, at as u64 + 10).unwrap();
    }
    host
}

/// The same, with nothing beside `luo-v5`: as if an orchestrator that records no owners had
/// been in between.
fn through_mainline(host: TestHost) -> TestHost {
    let mut handed = host.update();
    handed.supplement = None;
    TestHost::opened(handed)
}

fn taken_back_by_their_owners(host: &TestHost) {
    for (by, object) in [(ALICE, 11), (BOB, 12)] {
        let own = claim(host, by, "vm").unwrap();
        assert_eq!(host.retrieve(own, 1).unwrap().object, object);
        assert_eq!(claim(host, by, "vm"), Err(Error::AlreadyRetrieved));
        ops::put_back_session(host, own);
        // By the full name as well.
        let full = called(host, own);
        assert_eq!(ops::retrieve_session(host, by, &full), Ok(own));
        ops::put_back_session(host, own);
        assert_eq!(ops::retrieve_session(host, ROOT, &full), Ok(own));
        ops::put_back_session(host, own);
    }
    let alices = name("uid:1000:vm");
    let refused = ops::retrieve_session(host, BOB, &alices);
    assert_eq!(refused, Err(Error::NoSession));
}

#[test]
fn names_are_each_users_own() {
    let host = scene();
    assert_eq!(create(&host, ALICE, "vm"), Err(Error::SessionExists));
    assert_eq!(
        create(&host, ROOT, "uid:1000:vm"),
        Err(Error::SessionExists)
    );
    assert_eq!(names(&host, ALICE), [name("vm")]);
    let all = ["vm", "uid:1000:vm", "uid:1001:vm"].map(name);
    assert_eq!(names(&host, ROOT), all);
    // What is made for a user is the user's.
    create(&host, ROOT, "uid:1001:more").unwrap();
    assert_eq!(names(&host, BOB), [name("vm"), name("more")]);
    let info = host.engine(|engine| engine.info(BOB, "", 0));
    assert_eq!((info.outgoing, info.files), (2, 1));
}

#[test]
fn the_next_kernel_gives_each_its_own() {
    let host = TestHost::opened(scene().update());
    taken_back_by_their_owners(&host);
    // What is the administrator's is nobody else's.
    assert!(claim(&host, ROOT, "vm").is_ok());
    assert_eq!(names(&host, ALICE), [name("vm")]);
}

#[test]
fn what_nobody_claims_is_carried_on_with_its_owner() {
    let mut host = TestHost::opened(scene().update());
    for _ in 0..2 {
        assert_eq!(host.reboot().unwrap().carried, 3);
        host = TestHost::opened(host.kexec());
    }
    taken_back_by_their_owners(&host);
    let stranger = Actor::User(5);
    assert_eq!(claim(&host, stranger, "vm"), Err(Error::NoSession));
}

#[test]
fn through_mainline_the_name_carries_the_owner() {
    let mut host = through_mainline(scene());
    for carried in [false, true] {
        if carried {
            host.reboot().unwrap();
            host = TestHost::opened(host.kexec());
        }
        taken_back_by_their_owners(&host);
        // The administrator's is nobody's now, in the kernel after it, too, and for the
        // administrator.
        let stranger = Actor::User(5);
        assert_eq!(claim(&host, stranger, "vm"), Err(Error::NoSession));
        let nobodys = claim(&host, ROOT, "vm").unwrap();
        ops::put_back_session(&host, nobodys);
        host.engine(|engine| engine.set_unowned(Unowned::Anybody));
        let nobodys = claim(&host, stranger, "vm").unwrap();
        assert_eq!(host.retrieve(nobodys, 1).unwrap().object, 10);
        ops::put_back_session(&host, nobodys);
        // A user with a session of that name gets that.
        let own = claim(&host, ALICE, "vm").unwrap();
        assert_eq!(called(&host, own), name("uid:1000:vm"));
        ops::put_back_session(&host, own);
        assert_eq!(names(&host, stranger), []);
    }
}

/// Where the record of a session with one of these flags is.
fn record_of(handed: &Handed, flag: u32) -> (u64, usize) {
    let page = handed.word(handed.supplement(), 48);
    let count = handed.word(page, 8) as usize;
    let kind = |at: usize| handed.word(page, at) as u32;
    let flags = |at: usize| handed.word(page, at + 8) as u32;
    let mut all = (0..count).map(|at| 16 + 64 * at);
    let at = all.find(|&at| kind(at) == KIND_SESSION && flags(at) & flag != 0);
    (page, at.unwrap())
}

fn refusal(mut handed: Handed) -> Refusal {
    handed.seal();
    let host = TestHost::warm(handed);
    match host.open() {
        Err(Error::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_owner_that_the_name_does_not_give_refuses_the_handover() {
    let change = |flags: u32, user: u32| {
        let mut handed = scene().update();
        let (page, at) = record_of(&handed, SESSION_OF_USER);
        let word = u64::from(user) << 32 | u64::from(flags);
        handed.set_word(page, at + 8, word);
        match refusal(handed) {
            Refusal::Record { kind, why, .. } => (kind, why),
            other => panic!("{other}"),
        }
    };
    let owner = (KIND_SESSION, BadRecord::Owner);
    assert_eq!(change(SESSION_OF_USER, 1001), owner);
    assert_eq!(change(SESSION_OF_NOBODY, 0), owner);
    assert_eq!(change(SESSION_OF_NOBODY, 1000), owner);
    let flags = (KIND_SESSION, BadRecord::Flags);
    assert_eq!(change(SESSION_OF_USER | SESSION_OF_NOBODY, 1000), flags);
    assert_eq!(change(16, 1000), flags);
    // Nor can a session that is not a user's by its name become one.
    let mut handed = scene().update();
    let (page, at) = record_of(&handed, SESSION_OF_USER);
    let position = handed.word(page, at) & 0xffff_ffff;
    handed.set_word(page, at, position);
    assert!(matches!(refusal(handed), Refusal::Record { .. }));
}

#[test]
fn a_dependency_needs_the_consent_of_the_other_session() {
    let host = scene();
    let others = create(&host, ROOT, "roots").unwrap();
    host.preserve(others, 1, 19).unwrap();
    let [roots, alices, bobs] = ["roots", "uid:1000:vm", "uid:1001:vm"].map(name);
    let own = create(&host, ALICE, "own").unwrap();
    host.preserve(own, 1, 20).unwrap();
    let add = |by, on| ops::add_dependency(&host, by, own, 1, on);
    for foreign in [roots, bobs] {
        let on = Needed::In(foreign, 1);
        assert!(matches!(
            add(ALICE, on),
            Err(Error::NoToken | Error::NoSession)
        ));
    }
    assert_eq!(add(ROOT, Needed::In(bobs, 1)), Err(Error::NoConsent));
    assert_eq!(add(ROOT, Needed::In(roots, 1)), Err(Error::NoConsent));
    assert_eq!(Error::NoConsent.errno(), Errno::EACCES);
    assert_eq!(add(ROOT, Needed::In(alices, 1)), Ok(()));
    let device = host.device();
    let token = host.register_file(device, 30).unwrap();
    assert_eq!(add(ALICE, Needed::OnDevice(token)), Err(Error::NoToken));
    assert_eq!(add(ROOT, Needed::OnDevice(token)), Err(Error::NoConsent));
    let shown = create(&host, BOB, "shown").unwrap();
    host.preserve(shown, 1, 40).unwrap();
    assert_eq!(add(ALICE, Needed::Of(shown, 1)), Ok(()));
    assert_eq!(add(ALICE, Needed::Of(shown, 2)), Err(Error::NoToken));
    // It is taken back by the name that the list has, whosever it is.
    let on = Needed::In(name("uid:1001:shown"), 1);
    assert_eq!(ops::drop_dependency(&host, ALICE, own, 1, on), Ok(()));
    let again = ops::drop_dependency(&host, ALICE, own, 1, on);
    assert_eq!(again, Err(Error::NoDependency));
}

#[test]
fn one_opener_of_each_kind() {
    let host = TestHost::cold();
    let enter = |by| host.engine(|engine| engine.enter_device(by));
    let leave = |opener| host.engine(|engine| engine.leave_device(opener));
    let root = enter(ROOT).unwrap();
    let alice = enter(ALICE).unwrap();
    assert_eq!(enter(ALICE), Err(Error::DeviceBusy));
    let bob = enter(BOB).unwrap();
    assert_eq!(enter(ROOT), Err(Error::DeviceBusy));
    leave(alice);
    leave(root);
    assert!(enter(ALICE).is_ok() && enter(ROOT).is_ok());
    leave(bob);
}
