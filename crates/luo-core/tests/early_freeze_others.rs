// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! One session is frozen before the others, and what others have to do with it: files of other
//! sessions that need one of it, users, and events meanwhile.

use std::sync::atomic::Ordering;

use luo_abi::contract::FILE_PRESERVED;
use luo_abi::errno::Errno;
use luo_core::ops::{self, Needed};
use luo_core::{Actor, Error, FileName, SessionId};

use crate::early_freeze::{files, freeze, is_frozen};
use crate::owners::{claim, create, ALICE, BOB};
use crate::support::{name, Call, TestHost};

/// "vm" needs what "disk" has, and both are the administrator's.
fn across() -> (TestHost, [SessionId; 2]) {
    let host = TestHost::cold();
    let sessions = ["vm", "disk"].map(|text| host.create(text));
    host.preserve(sessions[0], 1, 10).unwrap();
    host.preserve(sessions[1], 5, 50).unwrap();
    host.needs(sessions[0], 1, Needed::In(name("disk"), 5))
        .unwrap();
    host.take_log();
    (host, sessions)
}

#[test]
fn what_another_session_needs_is_frozen_after_that_one() {
    let (host, [vm, disk]) = across();
    let refused = Error::NeededFirst {
        token: 5,
        by: FileName {
            session: name("vm"),
            token: 1,
            of_device: false,
        },
    };
    assert_eq!(freeze(&host, disk), Err(refused));
    assert_eq!(refused.errno(), Errno::EBUSY);
    assert!(host.take_log().is_empty());
    freeze(&host, vm).unwrap();
    freeze(&host, disk).unwrap();
    assert_eq!(host.take_log(), ["freeze 10", "freeze 50"]);
    ops::prepare(&host).unwrap();
    ops::cancel(&host).unwrap();
    assert_eq!(host.take_log(), ["unfreeze 50", "unfreeze 10"]);
    // The first alone: the reboot freezes the other behind it.
    freeze(&host, vm).unwrap();
    host.reboot().unwrap();
    assert_eq!(host.take_log(), ["freeze 10", "freeze 50"]);
}

#[test]
fn what_misses_something_is_not_frozen() {
    let (host, [vm, disk]) = across();
    host.close(disk).unwrap();
    host.take_log();
    let refused = Error::Misses {
        token: 1,
        on: FileName {
            session: name("disk"),
            token: 5,
            of_device: false,
        },
    };
    assert_eq!(freeze(&host, vm), Err(refused));
    assert_eq!(refused.errno(), Errno::ENOLINK);
    assert!(host.take_log().is_empty());
    host.drops(vm, 1, Needed::In(name("disk"), 5)).unwrap();
    freeze(&host, vm).unwrap();
}

#[test]
fn a_user_freezes_its_own_and_keeps_nobody_elses() {
    let host = TestHost::cold();
    let disk = host.create("disk");
    host.preserve(disk, 5, 50).unwrap();
    let [hers, his] =
        [(ALICE, "hers"), (BOB, "his")].map(|(by, text)| create(&host, by, text).unwrap());
    for (session, object) in [(hers, 60), (his, 70)] {
        host.preserve(session, 1, object).unwrap();
        ops::add_dependency(&host, Actor::User(1000), session, 1, Needed::Of(disk, 5)).unwrap();
    }
    let more = create(&host, ALICE, "more").unwrap();
    host.preserve(more, 1, 61).unwrap();
    ops::add_dependency(&host, ALICE, more, 1, Needed::Of(hers, 1)).unwrap();
    host.take_log();
    // One user's own sessions keep their order.
    assert!(matches!(
        freeze(&host, hers),
        Err(Error::NeededFirst { .. })
    ));
    freeze(&host, disk).unwrap();
    freeze(&host, more).unwrap();
    freeze(&host, hers).unwrap();
    assert_eq!(host.take_log(), ["freeze 50", "freeze 61", "freeze 60"]);
    host.reboot().unwrap();
    assert_eq!(host.take_log(), ["freeze 70"]);
    let host = TestHost::opened(host.kexec());
    let hers = claim(&host, ALICE, "hers").unwrap();
    assert_eq!(
        host.retrieve(hers, 1).map(drop).unwrap_err().errno(),
        Errno::ENOTCONN
    );
}

/// A user's freeze that does not end: all events go on, and pass it over.
#[test]
fn no_event_waits_for_a_users_freeze() {
    for (veto, events) in [(false, true), (true, true), (false, false)] {
        let host = TestHost::cold();
        let vm = host.create("vm");
        host.preserve(vm, 1, 1).unwrap();
        let hers = create(&host, ALICE, "hers").unwrap();
        for (token, object) in [(1, 60), (2, 61)] {
            host.preserve(hers, token, object).unwrap();
        }
        host.take_log();
        let mut meanwhile = true;
        host.set_hook(move |host, call, object| {
            if (call, object) != (Call::Freeze, 61) || !std::mem::take(&mut meanwhile) {
                return;
            }
            host.impatient.store(true, Ordering::SeqCst);
            if events {
                ops::prepare(host).unwrap();
                ops::freeze(host).unwrap();
                ops::cancel(host).unwrap();
            } else {
                // Both are in its hands.
                assert_eq!(host.reboot_or_lose().unwrap().losses.files, 2);
                ops::cancel(host).unwrap();
            }
            host.impatient.store(false, Ordering::SeqCst);
        });
        if veto {
            host.fail(Call::Freeze, 1, Errno::EPERM);
        }
        assert_eq!(freeze(&host, hers).is_err(), veto);
        let mut log = vec!["freeze 60", "freeze 61", "freeze 1", "unfreeze 1"];
        if veto {
            log.push("unfreeze 60");
        }
        assert_eq!(host.take_log(), log);
        assert_eq!(is_frozen(&host, hers), !veto);
        host.close(hers).unwrap();
        assert_eq!(host.visible().files, 1);
    }
}

/// What had to be frozen first is unfrozen while a user's freeze is under way.
#[test]
fn a_freeze_looks_again_when_the_update_was_cancelled_meanwhile() {
    let host = TestHost::cold();
    let [first, hers] = ["first", "hers"].map(|text| create(&host, ALICE, text).unwrap());
    host.preserve(first, 1, 60).unwrap();
    host.preserve(hers, 1, 61).unwrap();
    ops::add_dependency(&host, ALICE, first, 1, Needed::Of(hers, 1)).unwrap();
    freeze(&host, first).unwrap();
    host.take_log();
    host.set_hook(|host, call, object| {
        if (call, object) == (Call::Freeze, 61) {
            ops::prepare(host).unwrap();
            ops::cancel(host).unwrap();
        }
    });
    assert!(matches!(
        freeze(&host, hers),
        Err(Error::NeededFirst { .. })
    ));
    assert_eq!(host.take_log(), ["freeze 61", "unfreeze 60", "unfreeze 61"]);
    assert!(!is_frozen(&host, first) && !is_frozen(&host, hers));
    host.preserve(hers, 2, 62).unwrap();
}

/// A lost file of a session that is frozen comes back, and is frozen again by the next reboot.
#[test]
fn what_a_reboot_loses_of_it_comes_back() {
    let (host, [vm, disk]) = across();
    freeze(&host, vm).unwrap();
    // Without what it needs it cannot go.
    host.close(disk).unwrap();
    host.take_log();
    assert_eq!(host.reboot_or_lose().unwrap().losses.files, 1);
    assert_eq!(host.take_log(), ["unfreeze 10", "unpreserve 10"]);
    ops::cancel(&host).unwrap();
    assert_eq!(host.take_log(), ["preserve 10"]);
    assert_eq!(files(&host, vm), [(FILE_PRESERVED, 0)]);
    host.drops(vm, 1, Needed::In(name("disk"), 5)).unwrap();
    freeze(&host, vm).unwrap();
}
