// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What users have at most, each and together.

use luo_abi::errno::Errno;
use luo_core::ops::{self, Needed};
use luo_core::{Actor, Error, Quota, Quotas, Whom, MOST_SESSIONS_OF_USERS};

use crate::owners::{claim, create, ALICE, BOB, ROOT};
use crate::support::{Call, TestHost};

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

/// An orchestrator that records no sizes was in between: what is taken back counts from then on.
#[test]
fn what_came_without_a_size_counts_when_it_is_back() {
    let host = TestHost::cold();
    let session = create(&host, ALICE, "vm").unwrap();
    host.preserve(session, 1, 3).unwrap();
    let mut handed = host.update();
    handed.supplement = None;
    let host = TestHost::opened(handed);
    let session = claim(&host, ALICE, "vm").unwrap();
    let bytes = || ops::list_files(&host, session, 0, 1).unwrap().entries[0].bytes;
    assert_eq!(bytes(), 0);
    host.retrieve(session, 1).unwrap();
    let known = bytes();
    assert!(known > 0);
    let all = Quotas {
        bytes: 2 * known,
        ..Quotas::DEFAULT
    };
    host.engine(|engine| engine.set_quotas(Whom::Each, all));
    let more = create(&host, ALICE, "more").unwrap();
    // An object's number is how large it is.
    let over = host.preserve(more, 1, 4);
    assert_eq!(over, Err(Error::OverQuota(Quota::Bytes)));
    host.finish(session).unwrap();
    host.preserve(more, 1, 4).unwrap();
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
