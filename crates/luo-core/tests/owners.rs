// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Whose a session is: in this kernel, in the next, and through one that records no owners.

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_abi::supplement::{KIND_SESSION, SESSION_OF_NOBODY, SESSION_OF_USER};
use luo_core::ops::{self, Needed};
use luo_core::{
    Actor, BadRecord, Error, Quota, Quotas, Refusal, SessionId, SessionName, Unowned, Whom,
    MOST_SESSIONS_OF_USERS,
};

use crate::support::{name, Call, Handed, TestHost};

const ALICE: Actor = Actor::User(1000);
const BOB: Actor = Actor::User(1001);
const ROOT: Actor = Actor::Administrator;

fn create(host: &TestHost, by: Actor, text: &str) -> Result<SessionId, Error> {
    ops::create_session(host, by, &name(text))
}

fn claim(host: &TestHost, by: Actor, text: &str) -> Result<SessionId, Error> {
    ops::retrieve_session(host, by, &name(text))
}

fn called(host: &TestHost, id: SessionId) -> SessionName {
    host.engine(|engine| engine.session_info(id)).unwrap().0
}

fn names(host: &TestHost, by: Actor) -> Vec<SessionName> {
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
    handed.contract = None;
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

fn few() -> Quotas {
    Quotas {
        sessions: 1,
        files: 2,
        dependencies: 1,
        bytes: 1 << 40,
    }
}

#[test]
fn a_quota_is_a_users_and_comes_back() {
    let host = TestHost::cold();
    host.engine(|engine| engine.set_quotas(Whom::Each, few()));
    for _ in 0..3 {
        let session = create(&host, ALICE, "vm").unwrap();
        let more = create(&host, ALICE, "more");
        assert_eq!(more, Err(Error::OverQuota(Quota::Sessions)));
        assert_eq!(more.unwrap_err().errno(), Errno::EDQUOT);
        host.preserve(session, 1, 1).unwrap();
        host.preserve(session, 2, 2).unwrap();
        let more = host.preserve(session, 3, 3);
        assert_eq!(more, Err(Error::OverQuota(Quota::Files)));
        assert_eq!(host.preserve(session, 2, 2), Err(Error::TokenExists));
        host.needs(session, 1, Needed::Here(2)).unwrap();
        let more = host.needs(session, 2, Needed::Here(1));
        assert_eq!(more, Err(Error::OverQuota(Quota::Dependencies)));
        // Others are not concerned.
        let bobs = create(&host, BOB, "vm").unwrap();
        host.close(bobs).unwrap();
        host.close(session).unwrap();
        assert_eq!(host.counts(), TestHost::cold().counts());
    }
}

#[test]
fn bytes_count_until_they_are_let_go_of() {
    let host = TestHost::cold();
    let session = create(&host, ALICE, "vm").unwrap();
    host.preserve(session, 1, 3).unwrap();
    let bytes = ops::list_files(&host, session, 0, 1).unwrap().entries[0].bytes;
    assert!(bytes > 0);
    let all = Quotas {
        bytes: 2 * bytes,
        ..Quotas::DEFAULT
    };
    host.engine(|engine| engine.set_quotas(Whom::Each, all));
    // An object's number is how large it is.
    let more = host.preserve(session, 2, 4);
    assert_eq!(more, Err(Error::OverQuota(Quota::Bytes)));
    assert_eq!(host.visible().files, 1);
    ops::unpreserve_file(&host, session, 1).unwrap();
    host.preserve(session, 2, 4).unwrap();
}

/// A file may grow between the look at its size and the handler's.
#[test]
fn what_a_file_has_grown_counts_too() {
    let host = TestHost::cold();
    let session = create(&host, ALICE, "vm").unwrap();
    let all = Quotas {
        bytes: 8192,
        ..Quotas::DEFAULT
    };
    host.engine(|engine| engine.set_quotas(Whom::Each, all));
    host.set_hook(|host, call, _| {
        if call == Call::Preserve {
            host.script().grown = 1 << 30;
        }
    });
    let grown = host.preserve(session, 1, 1);
    assert_eq!(grown, Err(Error::OverQuota(Quota::Bytes)));
    assert_eq!(host.visible().files, 0);
    assert!(host.take_log().contains(&"unpreserve 1".to_owned()));
    host.script().grown = 0;
    host.set_hook(|_, _, _| ());
    host.preserve(session, 1, 2).unwrap();
}

/// A user who is many, by user namespaces, has as many quotas; what all have together is
/// bounded, and it comes back as a user's own does.
#[test]
fn users_together_have_a_quota() {
    let host = TestHost::cold();
    let few = Quotas {
        sessions: 3,
        files: 3,
        dependencies: 1,
        bytes: 1 << 40,
    };
    host.engine(|engine| engine.set_quotas(Whom::Together, few));
    let over = |quota| Err(Error::UsersOverQuota(quota));
    for _ in 0..2 {
        let [one, two, three] = [1000, 1001, 1002].map(|user| {
            let session = create(&host, Actor::User(user), "vm").unwrap();
            host.preserve(session, 1, user.into()).unwrap();
            session
        });
        let more = create(&host, Actor::User(1003), "vm");
        assert_eq!(more.map(drop), over(Quota::Sessions));
        assert_eq!(more.unwrap_err().errno(), Errno::EDQUOT);
        assert_eq!(host.preserve(one, 2, 2), over(Quota::Files));
        ops::unpreserve_file(&host, three, 1).unwrap();
        host.preserve(one, 2, 2).unwrap();
        host.needs(one, 1, Needed::Here(2)).unwrap();
        let needs = ops::add_dependency(&host, Actor::User(1001), two, 1, Needed::Of(one, 2));
        assert_eq!(needs, over(Quota::Dependencies));
        // The administrator has none.
        let roots = create(&host, ROOT, "vm").unwrap();
        host.preserve(roots, 1, 7).unwrap();
        for session in [one, two, three, roots] {
            host.close(session).unwrap();
        }
        assert_eq!(host.counts(), TestHost::cold().counts());
    }
}

#[test]
fn bytes_of_all_users_count_together() {
    let host = TestHost::cold();
    let [one, two] = [ALICE, BOB].map(|by| create(&host, by, "vm").unwrap());
    host.preserve(one, 1, 3).unwrap();
    let bytes = ops::list_files(&host, one, 0, 1).unwrap().entries[0].bytes;
    let all = Quotas {
        bytes: 2 * bytes,
        ..Quotas::TOGETHER
    };
    host.engine(|engine| engine.set_quotas(Whom::Together, all));
    // An object's number is how large it is.
    let more = host.preserve(two, 1, 4);
    assert_eq!(more, Err(Error::UsersOverQuota(Quota::Bytes)));
    ops::unpreserve_file(&host, one, 1).unwrap();
    host.preserve(two, 1, 4).unwrap();
}

/// It is said again only when the administrator has decided anew.
#[test]
fn that_users_have_all_is_told_once() {
    let host = TestHost::cold();
    let tells = |quota| host.engine(|engine| engine.tells_of_users(quota));
    assert!(tells(Quota::Files) && !tells(Quota::Files) && tells(Quota::Bytes));
    host.engine(|engine| engine.set_quotas(Whom::Together, Quotas::TOGETHER));
    assert!(tells(Quota::Files) && !tells(Quota::Files));
}

/// Whatever the administrator allows, half of what there is for all is not for users.
#[test]
fn what_is_the_administrators_no_quota_gives_away() {
    let host = TestHost::cold();
    for whom in Whom::ALL {
        let all = Quotas {
            sessions: u64::MAX,
            ..Quotas::DEFAULT
        };
        host.engine(|engine| engine.set_quotas(whom, all));
    }
    let mut made = 0;
    let refused = loop {
        match create(&host, ALICE, &made.to_string()) {
            Ok(_) => made += 1,
            Err(why) => break why,
        }
    };
    assert_eq!(refused, Error::UsersOverQuota(Quota::Sessions));
    assert_eq!(made, MOST_SESSIONS_OF_USERS);
    create(&host, ROOT, "vm").unwrap();
}

/// What has arrived counts, so a user does not have more after each update. A copy that
/// carries it on does not count once more, or the update could be refused.
#[test]
fn what_has_arrived_counts_once() {
    let host = TestHost::cold();
    let session = create(&host, ALICE, "vm").unwrap();
    host.preserve(session, 1, 1).unwrap();
    host.preserve(session, 2, 2).unwrap();
    host.needs(session, 1, Needed::Here(2)).unwrap();
    let mut host = TestHost::opened(host.update());
    for _ in 0..2 {
        host.engine(|engine| engine.set_quotas(Whom::Each, few()));
        let more = create(&host, ALICE, "more");
        assert_eq!(more, Err(Error::OverQuota(Quota::Sessions)));
        // All users together have no more than she has.
        host.engine(|engine| {
            engine.set_quotas(Whom::Each, Quotas::DEFAULT);
            engine.set_quotas(Whom::Together, few());
        });
        let others = create(&host, BOB, "more");
        assert_eq!(others, Err(Error::UsersOverQuota(Quota::Sessions)));
        host.engine(|engine| engine.set_quotas(Whom::Each, few()));
        // One that does not come about leaves the books as they were.
        assert_eq!(host.reboot().unwrap().carried, 1);
        ops::cancel(&host).unwrap();
        assert_eq!(create(&host, ALICE, "more"), more);
        assert_eq!(host.reboot().unwrap().carried, 1);
        host = TestHost::opened(host.kexec());
    }
    host.engine(|engine| engine.set_quotas(Whom::Each, few()));
    let session = claim(&host, ALICE, "vm").unwrap();
    host.finish(session).unwrap();
    host.close(session).unwrap();
    let session = create(&host, ALICE, "more").unwrap();
    host.preserve(session, 1, 1).unwrap();
    host.preserve(session, 2, 2).unwrap();
    host.needs(session, 1, Needed::Here(2)).unwrap();
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

/// What of a user's cannot go is lost alone, at the reboot: no user keeps the machine from
/// its update, even where the administrator has the reboot veto.
#[test]
fn no_file_of_a_users_vetoes() {
    let host = TestHost::cold();
    let own = create(&host, ALICE, "own").unwrap();
    for token in [1, 2, 3] {
        host.preserve(own, token, token).unwrap();
    }
    host.needs(own, 1, Needed::Here(2)).unwrap();
    let vm = create(&host, ROOT, "vm").unwrap();
    host.preserve(vm, 1, 10).unwrap();
    ops::unpreserve_file(&host, own, 2).unwrap();
    ops::prepare(&host).unwrap();
    // The first misses what it needs, the third's handler refuses, each time.
    host.fail(Call::Freeze, 1, Errno::EFBIG);
    ops::freeze(&host).unwrap();
    host.fail(Call::Freeze, 0, Errno::EFBIG);
    let report = host.reboot().unwrap();
    assert_eq!(report.losses.files, 2);
    let host = TestHost::opened(host.kexec());
    let own = claim(&host, ALICE, "own").unwrap();
    for (token, why) in [(1, Errno::ENOLINK), (3, Errno::EFBIG)] {
        let lost = host.retrieve(own, token).map(|file| file.object);
        assert_eq!(lost, Err(Error::Lost(why)));
    }
    let vm = claim(&host, ROOT, "vm").unwrap();
    assert_eq!(host.retrieve(vm, 1).unwrap().object, 10);
}

/// A handler that lets go of a file may wait for a lock which its user holds: in the reboot none
/// is asked to, and if the jump does not come about the file is as it was.
#[test]
fn a_users_lost_file_is_let_go_of_by_nobody() {
    let host = TestHost::cold();
    let own = create(&host, ALICE, "own").unwrap();
    for token in [1, 2, 3] {
        host.preserve(own, token, token).unwrap();
    }
    host.needs(own, 1, Needed::Here(2)).unwrap();
    ops::unpreserve_file(&host, own, 2).unwrap();
    host.take_log();
    for event in [None, Some(ops::freeze::<TestHost>)] {
        if let Some(freeze) = event {
            ops::prepare(&host).unwrap();
            freeze(&host).unwrap();
        }
        host.fail(Call::Freeze, 0, Errno::EFBIG);
        assert_eq!(host.reboot().unwrap().losses.files, 2);
        ops::cancel(&host).unwrap();
        let log = host.take_log();
        let touches =
            |line: &&String| line.starts_with("unpreserve") || line.starts_with("preserve");
        assert_eq!(log.iter().find(touches), None, "{log:?}");
    }
    ops::drop_dependency(&host, ALICE, own, 1, Needed::Here(2)).unwrap();
    assert_eq!(host.reboot().unwrap().losses.files, 0);
    let host = TestHost::opened(host.kexec());
    let own = claim(&host, ALICE, "own").unwrap();
    for token in [1, 3] {
        assert_eq!(host.retrieve(own, token).unwrap().object, token);
    }
}

/// Mended before the reboot, it goes.
#[test]
fn a_users_file_that_was_passed_over_may_be_mended() {
    let host = TestHost::cold();
    let own = create(&host, ALICE, "own").unwrap();
    host.preserve(own, 1, 1).unwrap();
    ops::prepare(&host).unwrap();
    host.fail(Call::Freeze, 0, Errno::EFBIG);
    ops::freeze(&host).unwrap();
    assert_eq!(host.reboot().unwrap().losses.files, 0);
    let host = TestHost::opened(host.kexec());
    let own = claim(&host, ALICE, "own").unwrap();
    assert_eq!(host.retrieve(own, 1).unwrap().object, 1);
}

/// The holder of what is needed has died: another user restores it as little as before. It
/// can be retrieved again by its name.
#[test]
fn a_closed_session_is_restored_for_its_own_user_alone() {
    let host = TestHost::cold();
    let vm = create(&host, ROOT, "vm").unwrap();
    host.preserve(vm, 1, 10).unwrap();
    let own = create(&host, ALICE, "own").unwrap();
    let other = create(&host, ROOT, "other").unwrap();
    for id in [own, other] {
        host.preserve(id, 1, 11 + u64::from(id == other)).unwrap();
    }
    let needs = |by, id| ops::add_dependency(&host, by, id, 1, Needed::Of(vm, 1));
    needs(ALICE, own).unwrap();
    needs(ROOT, other).unwrap();
    let host = TestHost::opened(host.update());
    let vm = claim(&host, ROOT, "vm").unwrap();
    assert!(host.close(vm).is_err());
    let own = claim(&host, ALICE, "own").unwrap();
    let awaits = host.retrieve(own, 1).map(|file| file.object);
    assert!(matches!(awaits, Err(Error::Awaits(_))), "{awaits:?}");
    assert!(!host.take_log().contains(&"retrieve 10".to_owned()));
    let other = claim(&host, ROOT, "other").unwrap();
    assert_eq!(host.retrieve(other, 1).unwrap().object, 12);
    assert_eq!(host.retrieve(own, 1).unwrap().object, 11);
}

/// Alice's file needs one of Bob's, who has shown his session. In the next kernel Bob has
/// closed it, and it waits.
fn waits_for_alice() -> (TestHost, SessionId) {
    let host = TestHost::cold();
    let bobs = create(&host, BOB, "bobs").unwrap();
    host.preserve(bobs, 1, 20).unwrap();
    let own = create(&host, ALICE, "own").unwrap();
    host.preserve(own, 1, 10).unwrap();
    ops::add_dependency(&host, ALICE, own, 1, Needed::Of(bobs, 1)).unwrap();
    for (by, object) in [(BOB, 21), (ROOT, 22)] {
        let more = create(&host, by, "more").unwrap();
        host.preserve(more, 1, object).unwrap();
    }
    let host = TestHost::opened(host.update());
    let bobs = claim(&host, BOB, "bobs").unwrap();
    assert!(matches!(host.close(bobs), Err(Error::Needed { .. })));
    let own = claim(&host, ALICE, "own").unwrap();
    host.take_log();
    (host, own)
}

/// Objects whose handlers were asked whether they let go.
fn asked(host: &TestHost) -> Vec<String> {
    let log = host.take_log();
    log.into_iter()
        .filter_map(|line| Some(line.strip_prefix("can_finish ")?.to_owned()))
        .collect()
}

#[test]
fn a_finish_runs_no_handler_of_another_owners_session() {
    let (host, own) = waits_for_alice();
    host.finish(own).unwrap();
    assert_eq!(asked(&host), ["10"]);
    let more = claim(&host, ROOT, "more").unwrap();
    host.finish(more).unwrap();
    assert_eq!(asked(&host), ["22"]);
    // Bob's next one finds it.
    let more = claim(&host, BOB, "more").unwrap();
    host.finish(more).unwrap();
    assert_eq!(asked(&host), ["21", "20"]);
    assert_eq!(host.state(), State::Normal);
}

#[test]
fn a_close_runs_no_handler_of_another_owners_session() {
    let (host, own) = waits_for_alice();
    host.close(own).unwrap();
    assert_eq!(asked(&host), ["10"]);
    let catch_up = |by| ops::catch_up(&host, by, |_| ()).unwrap();
    assert_eq!(catch_up(ALICE), 0);
    assert_eq!(asked(&host), [""; 0]);
    assert_eq!(catch_up(BOB), 0);
    assert_eq!(asked(&host), ["20"]);
}

#[test]
fn the_administrators_first_call_tries_everybodys() {
    let (host, own) = waits_for_alice();
    host.close(own).unwrap();
    assert_eq!(asked(&host), ["10"]);
    host.open().unwrap();
    assert_eq!(asked(&host), ["20"]);
}

/// Two sessions of each that need each other: they are finished in one go, while a handler
/// of another owner's takes its time.
#[test]
fn groups_of_several_owners_are_finished_side_by_side() {
    let host = TestHost::cold();
    for (by, first) in [(ALICE, 10), (BOB, 20)] {
        let [one, two] = ["one", "two"].map(|text| create(&host, by, text).unwrap());
        for (id, object) in [(one, first), (two, first + 2)] {
            host.preserve(id, 1, object).unwrap();
            host.preserve(id, 2, object + 1).unwrap();
        }
        let add = |id, on| ops::add_dependency(&host, by, id, 1, Needed::Of(on, 2));
        add(one, two).unwrap();
        add(two, one).unwrap();
    }
    let host = TestHost::opened(host.update());
    let close = |by, text: &str| {
        let id = claim(&host, by, text).unwrap();
        let _ = host.close(id);
    };
    close(ALICE, "one");
    close(BOB, "one");
    let bobs = claim(&host, BOB, "two").unwrap();
    let mut closed = false;
    host.set_hook(move |host, call, object| {
        // Alice's are a group already.
        if call == Call::Finish && object < 20 && !closed {
            closed = true;
            assert_eq!(names(host, ALICE).len(), 2);
            host.close(bobs).unwrap();
        }
    });
    close(ALICE, "two");
    assert_eq!((host.visible().incoming, host.state()), (0, State::Normal));
}
