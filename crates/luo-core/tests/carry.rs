// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Sessions that nobody has claimed when the machine goes on to another kernel.

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::mem::fault;
use luo_core::ops::{self, Needed};
use luo_core::{Access, Actor, Error, Failure, FileName};

use crate::support::{handed, name, Call, TestHost};

fn cache(token: u64) -> Needed {
    Needed::In(name("cache"), token)
}

/// "vm" (1 needs 2, and 2 in "cache"), "cache" (1, 2), and a device's file.
fn scene() -> (TestHost, u64) {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    let (vm, other, device) = (host.create("vm"), host.create("cache"), host.device());
    for (session, token) in [(vm, 1), (vm, 2), (other, 1), (other, 2)] {
        let object = token + if session == vm { 10 } else { 20 };
        let access = if object == 12 {
            Access::ReadOnly
        } else {
            Access::Full
        };
        let open = || Ok(host.new_file_with(0, object, access));
        ops::preserve_file(&host, Actor::Administrator, session, token, open).unwrap();
    }
    let device = host.register_file(device, 30).unwrap();
    host.needs(vm, 1, Needed::Here(2)).unwrap();
    host.needs(vm, 1, cache(2)).unwrap();
    host.needs(other, 2, Needed::OnDevice(device)).unwrap();
    host.reboot().unwrap();
    (updated(host), device)
}

fn updated(host: TestHost) -> TestHost {
    let host = TestHost::warm(host.kexec());
    host.depend(0, 1).unwrap();
    host.open().unwrap();
    host
}

#[test]
fn they_arrive_after_any_number_of_updates() {
    let (mut host, device) = scene();
    for update in 2..5 {
        let report = host.reboot().unwrap();
        assert_eq!((report.carried, report.lost, report.files), (3, 0, 5));
        assert_eq!((report.from, report.to), (State::Updated, State::Frozen));
        host = updated(host);
        assert_eq!(host.engine(|engine| engine.update_number()), update);
        assert_eq!(host.visible().incoming, 3);
    }
    let vm = host.claim("vm").unwrap();
    let files = ops::list_files(&host, vm, 0, 9).unwrap();
    let known: Vec<_> = files
        .entries
        .iter()
        .map(|f| (f.token, f.bytes, f.dependencies))
        .collect();
    // In the order they were preserved in.
    assert_eq!(known, [(1, 11 * 4096, 2), (2, 12 * 4096, 0)]);
    host.take_log();
    // What is needed of another session is for that one's owner to take back.
    assert!(matches!(host.retrieve(vm, 1), Err(Error::Awaits(_))));
    let other = host.claim("cache").unwrap();
    assert!(matches!(host.retrieve(other, 2), Err(Error::Awaits(_))));
    assert_eq!(host.restore(device).unwrap().object, 30);
    host.retrieve(other, 2).unwrap();
    host.retrieve(vm, 1).unwrap();
    let log = ["retrieve 30", "retrieve 22", "retrieve 12", "retrieve 11"];
    assert_eq!(host.take_log(), log);
    assert_eq!(host.retrieve(vm, 2).unwrap().access, Access::ReadOnly);
    assert_eq!(host.retrieve(other, 1).unwrap().object, 21);
    for session in [vm, other] {
        host.close(session).unwrap();
    }
    host.finish_update().unwrap();
    assert_eq!(host.counts(), TestHost::cold().counts());
}

#[test]
fn what_was_not_read_is_read_and_carried() {
    let host = TestHost::warm(handed(&[("vm", &[(1, 10)])]));
    assert_eq!(host.reboot().unwrap().carried, 1);
    assert_eq!(host.arrived_pages(), 0);
    let host = TestHost::opened(host.kexec());
    let vm = host.claim("vm").unwrap();
    assert_eq!(host.retrieve(vm, 1).unwrap().object, 10);
}

#[test]
fn a_claimed_one_is_its_owners() {
    let (host, _) = scene();
    host.claim("vm").unwrap();
    // It is counted once, however often.
    for _ in 0..2 {
        let report = host.reboot().unwrap();
        assert_eq!((report.carried, report.lost), (2, 1));
        assert_eq!(report.losses.sessions, 1);
        ops::cancel(&host).unwrap();
    }
    host.reboot().unwrap();
    assert_eq!(host.reboot().unwrap().losses.sessions, 1);
    let host = updated(host);
    let info = host.engine(|engine| engine.info(luo_core::Actor::Administrator, "", 0));
    assert_eq!(info.lost_sessions, 1);
    assert_eq!(host.claim("vm"), Err(Error::NoSession));
    assert!(host.claim("cache").is_ok());
}

/// Nothing is lost with one that is finished, or that its holder has made anew.
#[test]
fn a_claimed_one_is_lost_with_what_is_in_it_alone() {
    let host = TestHost::warm(handed(&[("vm", &[(1, 10)]), ("new", &[(1, 11)])]));
    host.open().unwrap();
    let [vm, new] = ["vm", "new"].map(|text| host.claim(text).unwrap());
    host.finish(vm).unwrap();
    host.create("new");
    assert_eq!(host.reboot().unwrap().losses.sessions, 0);
    ops::cancel(&host).unwrap();
    host.close(new).unwrap();
}

#[test]
fn one_that_needs_what_its_owner_has_cannot_be_carried() {
    let (host, _) = scene();
    let before = host.visible();
    let other = host.claim("cache").unwrap();
    let file = |session: &str, token| FileName {
        session: name(session),
        token,
        of_device: false,
    };
    let failure = Failure::Carry {
        session: name("vm"),
        token: Some(1),
        why: Error::NotCarried(file("cache", 2)),
    };
    assert_eq!(host.reboot().err(), Some(failure));
    assert_eq!(failure.errno(), Errno::ENOLINK);
    assert_eq!(host.state(), State::Updated);
    ops::put_back_session(&host, other);
    // It is known before anything is restored.
    assert_eq!(host.visible(), before);
    host.reboot().unwrap();
}

#[test]
fn a_file_that_somebody_got_on_the_device_is_theirs() {
    let host = TestHost::cold();
    let device = host.device();
    let tokens = [1, 2].map(|object| host.register_file(device, object).unwrap());
    let host = host.next();
    host.restore(tokens[0]).unwrap();
    host.reboot().unwrap();
    let host = TestHost::opened(host.kexec());
    assert_eq!(host.restore(tokens[0]).err(), Some(Error::NoToken));
    assert_eq!(host.restore(tokens[1]).unwrap().object, 2);
}

/// One of the ways in which "vm" cannot be carried on; `why` is what is told.
fn obstacle(place: impl Fn(&TestHost), why: Error) {
    let (host, _) = scene();
    place(&host);
    let before = host.visible();
    let failure = Failure::Carry {
        session: name("vm"),
        token: Some(2),
        why,
    };
    assert_eq!(host.reboot().err(), Some(failure), "{failure}");
    assert_eq!(host.last_failure().unwrap().failure, failure);
    assert_eq!(host.last_failure().unwrap().event, None);
    let mut after = host.visible();
    after.counts.files = before.counts.files;
    assert_eq!(after, before);
    // The rest is as it was; and goes on if that file may be lost, and the one that
    // needs it.
    let report = host.freeze().unwrap();
    assert_eq!((report.carried, report.lost), (3, 0));
    assert_eq!(report.losses.files, 2);
    // What was lost once is not forgotten.
    ops::cancel(&host).unwrap();
    assert_eq!(host.state(), State::Updated);
    let session = host.claim("vm").unwrap();
    host.retrieve(session, 2).err();
    host.close(session).unwrap();
    assert_eq!(host.reboot().unwrap().carried, 2);
    assert!(updated(host).claim("cache").is_ok());
}

#[test]
fn what_cannot_be_carried_vetoes_by_name() {
    let is_preserved = |host: &TestHost| {
        let session = host.create("other");
        host.preserve(session, 1, 12).unwrap();
    };
    obstacle(is_preserved, Error::AlreadyPreserved);
    let failed = |host: &TestHost| {
        let session = host.claim("vm").unwrap();
        host.fail(Call::Retrieve, 0, Errno::EFBIG);
        assert!(host.retrieve(session, 2).is_err());
        ops::put_back_session(host, session);
    };
    obstacle(failed, Error::Host(Errno::EFBIG));
}

#[test]
fn what_can_be_carried_later_is() {
    let (host, _) = scene();
    let in_the_way = host.create("vm");
    let report = host.reboot().unwrap();
    assert_eq!((report.carried, report.superseded), (2, 1));
    ops::cancel(&host).unwrap();
    host.close(in_the_way).unwrap();
    let report = host.reboot().unwrap();
    assert_eq!((report.carried, report.lost), (3, 0));
}

/// A new session takes the place of one of the same name that nobody has claimed.
#[test]
fn a_new_session_supersedes_one_of_its_name() {
    let (host, _) = scene();
    let new = host.create("vm");
    host.preserve(new, 7, 70).unwrap();
    let report = host.reboot().unwrap();
    assert_eq!((report.carried, report.superseded, report.lost), (2, 1, 0));
    assert!(!report.losses.any());
    let host = updated(host);
    let vm = host.claim("vm").unwrap();
    assert_eq!(host.retrieve(vm, 7).unwrap().object, 70);
    assert_eq!(host.retrieve(vm, 1).err(), Some(Error::NoToken));
}

#[test]
fn what_needs_a_file_of_one_that_is_superseded_is_lost() {
    let (host, _) = scene();
    host.create("cache");
    // The first of "vm" needs a file of "cache".
    assert_eq!(host.reboot().unwrap_err().errno(), Errno::ENOLINK);
    let report = host.freeze().unwrap();
    assert_eq!((report.carried, report.superseded, report.lost), (2, 1, 0));
    assert_eq!(report.losses.files, 1);
    let host = updated(host);
    assert_eq!(host.visible().incoming, 3);
    let vm = host.claim("vm").unwrap();
    let lost = Error::Lost(Errno::ENOLINK);
    assert_eq!(host.retrieve(vm, 1).err(), Some(lost));
    assert_eq!(host.retrieve(vm, 2).unwrap().object, 12);
}

#[test]
fn a_handler_that_is_gone_cannot_carry() {
    let (host, _) = scene();
    let gone = host.unregister(0);
    assert_eq!(gone, Ok(()));
    host.fail(Call::PinHandler, 0, Errno::ENODEV);
    let why = host.reboot().unwrap_err();
    assert_eq!(why.errno(), Errno::ENODEV);
    // Pinned as it is by the incoming files, it can the next time.
    host.reboot().unwrap();
}

#[test]
fn a_failed_reboot_leaves_all_claimable() {
    for call in [
        Call::Freeze,
        Call::Preserve,
        Call::AllocBlock,
        Call::FlbPreserve,
    ] {
        for nth in 0.. {
            let (host, device) = scene();
            host.subsystem(1).unwrap();
            host.fail(call, nth, Errno::EIO);
            let outcome = host.reboot();
            if host.script().relent() {
                assert!(outcome.is_ok() && nth > 0);
                break;
            }
            assert_eq!(outcome.unwrap_err().errno(), Errno::EIO);
            assert_eq!(host.visible().outgoing, 0);
            let (vm, other) = (host.claim("vm").unwrap(), host.claim("cache").unwrap());
            assert_eq!(host.restore(device).unwrap().object, 30);
            assert_eq!(host.retrieve(other, 2).unwrap().object, 22);
            assert_eq!(host.retrieve(vm, 1).unwrap().object, 11);
            // Their objects are theirs: nobody else can preserve them.
            let session = host.create("new");
            assert_eq!(host.preserve(session, 1, 11), Err(Error::AlreadyPreserved));
            host.close(session).unwrap();
            host.close(vm).unwrap();
            host.close(other).unwrap();
            host.finish_update().unwrap();
            assert_eq!(host.counts(), TestHost::cold().counts());
        }
    }
}

#[test]
fn memory_that_fails_anywhere_leaves_nothing_over() {
    for requests in 0.. {
        let (host, _) = scene();
        let mut before = host.visible();
        fault::fail_after(requests);
        let outcome = host.reboot();
        if fault::disarm() {
            assert!(outcome.is_ok() && requests > 10);
            return;
        }
        assert_eq!(outcome.unwrap_err().errno(), Errno::ENOMEM);
        let after = host.visible();
        before.counts.files = after.counts.files;
        assert_eq!(after, before, "after failure {requests}");
        // A handler that could not restore is not asked again; all else can be.
        host.freeze().unwrap();
        ops::cancel(&host).unwrap();
        host.finish_update().unwrap();
        assert_eq!(host.counts(), TestHost::cold().counts());
    }
}

#[test]
fn cancelling_gives_all_back() {
    let (host, device) = scene();
    let before = host.visible();
    let mut last = None;
    for _ in 0..3 {
        host.reboot().unwrap();
        // Nothing can be claimed now.
        assert_eq!(host.claim("vm"), Err(Error::Frozen));
        assert_eq!(host.restore(device).err(), Some(Error::NotUpdated));
        ops::cancel(&host).unwrap();
        let mut after = host.visible();
        assert_eq!(after.counts.files, 5);
        assert!(last.is_none() || last.as_ref() == Some(&after));
        last = Some(after.clone());
        after.counts.files = before.counts.files;
        assert_eq!(after, before);
    }
    let once = |line: &&String| line.starts_with("retrieve");
    assert_eq!(host.take_log().iter().filter(once).count(), 5);
}

#[test]
fn own_sessions_and_carried_ones_go_together() {
    let (host, _) = scene();
    let (own, device) = (host.create("own"), host.device());
    host.preserve(own, 1, 99).unwrap();
    let token = host.register_file(device, 98).unwrap();
    let report = host.reboot().unwrap();
    assert_eq!((report.sessions, report.files, report.carried), (5, 7, 3));
    let host = updated(host);
    assert_eq!(host.restore(token).unwrap().object, 98);
    for text in ["own", "vm", "cache"] {
        assert!(host.claim(text).is_ok());
    }
}

/// Its owner has closed it, but a file of another needs its file: it goes on with
/// that one, closed, and ends with it.
#[test]
fn a_closed_one_that_is_needed_goes_on() {
    let host = TestHost::cold();
    let (vm, other) = (host.create("vm"), host.create("cache"));
    host.preserve(vm, 1, 1).unwrap();
    host.preserve(other, 2, 2).unwrap();
    ops::add_dependency(&host, luo_core::Actor::Administrator, vm, 1, cache(2)).unwrap();
    let mut host = TestHost::opened(host.update());
    let other = host.claim("cache").unwrap();
    host.close(other).unwrap_err();
    for _ in 0..2 {
        let report = host.reboot().unwrap();
        assert_eq!((report.carried, report.lost), (2, 0));
        host = TestHost::opened(host.kexec());
    }
    let vm = host.claim("vm").unwrap();
    host.retrieve(vm, 1).unwrap();
    assert_eq!(host.take_log(), ["retrieve 2", "retrieve 1"]);
    host.close(vm).unwrap();
    let end = host.visible();
    assert_eq!((end.state, end.incoming), (State::Normal, 0));
}

#[test]
fn names_that_are_taken_are_superseded_alone() {
    let host = TestHost::cold();
    for number in 0..6 {
        let session = host.create(&format!("vm-{number}"));
        host.preserve(session, 1, number + 1).unwrap();
    }
    let host = TestHost::opened(host.update());
    for number in [1, 3] {
        host.create(&format!("vm-{number}"));
    }
    host.take_log();
    let report = host.reboot().unwrap();
    assert_eq!((report.carried, report.superseded), (4, 2));
    let log = host.take_log();
    let preserved = log.iter().filter(|line| line.starts_with("preserve "));
    assert_eq!(preserved.count(), 4, "nothing is undone and done again");
}

/// What cannot be carried on costs nobody else another attempt.
#[test]
fn each_file_is_tried_once_whoever_fails() {
    const SESSIONS: usize = 200;
    for discard in [false, true] {
        let host = TestHost::cold();
        for number in 0..SESSIONS as u64 {
            let session = host.create(&format!("{number}"));
            host.preserve(session, 1, number).unwrap();
        }
        host.reboot().unwrap();
        let host = TestHost::warm(host.kexec());
        host.open().unwrap();
        host.take_log();
        // Each second one.
        for _ in 0..SESSIONS / 2 {
            host.fail(Call::Preserve, 1, Errno::EFBIG);
        }
        let report = if discard {
            host.freeze()
        } else {
            host.reboot_or_lose()
        };
        let report = report.unwrap();
        assert_eq!(report.carried, SESSIONS);
        assert_eq!(report.losses.files, SESSIONS as u64 / 2);
        let log = host.take_log();
        for callback in ["retrieve ", "preserve "] {
            let calls = log.iter().filter(|line| line.starts_with(callback));
            assert_eq!(calls.count(), SESSIONS, "{callback}");
        }
    }
}
