// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What one does with a session runs no handler for a session of another owner.

use std::sync::atomic::Ordering;

use luo_abi::rfc::State;
use luo_core::ops::{self, Needed};
use luo_core::{Error, SessionId};

use crate::owners::{claim, create, names, ALICE, BOB, ROOT};
use crate::support::{Call, TestHost};

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
    // One that holds a session of the administrator's has that one alone.
    let other = claim(&host, ROOT, "other").unwrap();
    let passed = ops::retrieve_file(&host, ALICE, other, 1).map(|file| file.object);
    assert!(matches!(passed, Err(Error::Awaits(_))), "{passed:?}");
    assert!(!host.take_log().contains(&"retrieve 10".to_owned()));
    assert_eq!(host.retrieve(other, 1).unwrap().object, 12);
    assert_eq!(host.retrieve(own, 1).unwrap().object, 11);
    assert_eq!(
        ops::retrieve_file(&host, ALICE, other, 1).unwrap().object,
        12
    );
}

/// A session of Alice's that Bob was given: her closed one is restored for her, not for him.
#[test]
fn who_was_given_a_users_session_restores_none_of_that_users_others() {
    let host = TestHost::cold();
    let [closed, given] = ["closed", "given"].map(|text| create(&host, ALICE, text).unwrap());
    host.preserve(closed, 1, 10).unwrap();
    host.preserve(given, 1, 11).unwrap();
    ops::add_dependency(&host, ALICE, given, 1, Needed::Of(closed, 1)).unwrap();
    let host = TestHost::opened(host.update());
    let closed = claim(&host, ALICE, "closed").unwrap();
    assert!(host.close(closed).is_err());
    let given = claim(&host, ALICE, "given").unwrap();
    let bobs = ops::retrieve_file(&host, BOB, given, 1).map(|file| file.object);
    assert!(matches!(bobs, Err(Error::Awaits(_))), "{bobs:?}");
    assert!(!host.take_log().contains(&"retrieve 10".to_owned()));
    let hers = ops::retrieve_file(&host, ALICE, given, 1).unwrap();
    assert_eq!(hers.object, 11);
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

/// Who holds a session of the administrator's without being that works for no other one.
#[test]
fn a_holder_without_privileges_runs_no_handler_of_another_session() {
    for closes in [false, true] {
        let host = TestHost::cold();
        let [vm, passed] = ["vm", "passed"].map(|text| create(&host, ROOT, text).unwrap());
        host.preserve(vm, 1, 20).unwrap();
        host.preserve(passed, 1, 10).unwrap();
        ops::add_dependency(&host, ROOT, passed, 1, Needed::Of(vm, 1)).unwrap();
        let host = TestHost::opened(host.update());
        let [vm, passed] = ["vm", "passed"].map(|text| claim(&host, ROOT, text).unwrap());
        assert!(matches!(host.close(vm), Err(Error::Needed { .. })));
        host.take_log();
        host.leaves_rest.store(true, Ordering::SeqCst);
        if closes {
            host.close(passed).unwrap();
        } else {
            host.finish(passed).unwrap();
        }
        assert_eq!(asked(&host), ["10"]);
        // The worker does.
        assert_eq!(host.rests_wanted.load(Ordering::SeqCst), 1);
        ops::do_rest(&host);
        assert_eq!(asked(&host), ["20"]);
        assert_eq!(host.state(), State::Normal);
    }
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
