// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Files that need others: declaring, missing, order, and the next kernel.

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::ops::{self, Needed};
use luo_core::{Error, Failure, FileName, SessionId};

use crate::support::{name, Call, TestHost};

fn vm(token: u64) -> Needed {
    Needed::In(name("vm"), token)
}

fn cache(token: u64) -> Needed {
    Needed::In(name("cache"), token)
}

fn named(session: &str, token: u64) -> FileName {
    FileName {
        session: name(session),
        token,
        of_device: false,
    }
}

/// Sessions "vm" (1, 2, 3) and "cache" (1, 2); objects are ten and twenty more.
fn scene() -> (TestHost, SessionId, SessionId) {
    let host = TestHost::cold();
    let (vm, cache) = (host.create("vm"), host.create("cache"));
    for token in 1..4 {
        host.preserve(vm, token, token + 10).unwrap();
    }
    for token in 1..3 {
        host.preserve(cache, token, token + 20).unwrap();
    }
    host.take_log();
    (host, vm, cache)
}

#[test]
fn what_cannot_be_declared_is_refused() {
    let (host, session, _) = scene();
    let before = host.visible();
    let refused = |token, on, why: Error, errno| {
        assert_eq!(host.needs(session, token, on), Err(why));
        assert_eq!(why.errno(), errno);
    };
    refused(9, Needed::Here(1), Error::NoToken, Errno::ENOENT);
    refused(1, Needed::Here(9), Error::NoToken, Errno::ENOENT);
    refused(1, cache(9), Error::NoToken, Errno::ENOENT);
    let nowhere = Needed::In(name("nowhere"), 1);
    refused(1, nowhere, Error::NoSession, Errno::ENOENT);
    refused(1, Needed::OnDevice(1), Error::NoToken, Errno::ENOENT);
    refused(1, Needed::Here(1), Error::DependencyCycle, Errno::ELOOP);
    refused(1, vm(1), Error::DependencyCycle, Errno::ELOOP);
    assert_eq!(host.visible(), before);
    host.needs(session, 1, Needed::Here(2)).unwrap();
    refused(1, vm(2), Error::DependencyExists, Errno::EEXIST);
    let outcome = host.drops(session, 1, Needed::Here(3));
    assert_eq!(outcome, Err(Error::NoDependency));
    assert_eq!(Error::NoDependency.errno(), Errno::ENOENT);
    host.drops(session, 1, vm(2)).unwrap();
    assert_eq!(host.visible(), before);
}

#[test]
fn a_cycle_is_refused_across_sessions() {
    let (host, vm_id, cache_id) = scene();
    let device = host.device();
    let token = host.register_file(device, 30).unwrap();
    host.needs(vm_id, 1, cache(1)).unwrap();
    host.needs(cache_id, 1, Needed::OnDevice(token)).unwrap();
    let outcome = host.needs(device, token, vm(1));
    assert_eq!(outcome, Err(Error::DependencyCycle));
    host.drops(cache_id, 1, Needed::OnDevice(token)).unwrap();
    host.needs(device, token, vm(1)).unwrap();
}

#[test]
fn an_incoming_session_is_as_it_is() {
    let (host, vm_id, _) = scene();
    host.needs(vm_id, 1, Needed::Here(2)).unwrap();
    let host = host.next();
    let session = host.claim("vm").unwrap();
    for on in [Needed::Here(2), Needed::Here(3)] {
        let wrong = Err(Error::WrongDirection);
        assert_eq!(host.needs(session, 1, on), wrong);
        assert_eq!(host.drops(session, 1, on), wrong);
        assert_eq!(ops::unpreserve_file(&host, session, 1), wrong);
    }
}

#[test]
fn what_is_missing_fails_prepare_and_reboot_by_name() {
    let (host, vm_id, cache_id) = scene();
    host.needs(vm_id, 1, cache(2)).unwrap();
    ops::unpreserve_file(&host, cache_id, 2).unwrap();
    let failure = Failure::Dependency {
        file: named("vm", 1),
        on: named("cache", 2),
    };
    assert_eq!(failure.errno(), Errno::ENOLINK);
    host.take_log();
    assert_eq!(ops::prepare(&host).err(), Some(failure));
    assert_eq!(host.reboot().err(), Some(failure));
    assert_eq!(host.state(), State::Normal);
    assert!(host.take_log().is_empty());
    assert_eq!(host.last_failure().unwrap().failure, failure);
    // The same token again is another file.
    host.preserve(cache_id, 2, 99).unwrap();
    assert_eq!(ops::prepare(&host).err(), Some(failure));
    // To declare it again does not help as long as the old one is declared.
    host.needs(vm_id, 1, cache(2)).unwrap();
    assert_eq!(ops::prepare(&host).err(), Some(failure));
    host.drops(vm_id, 1, cache(2)).unwrap();
    host.drops(vm_id, 1, cache(2)).unwrap();
    assert_eq!(host.drops(vm_id, 1, cache(2)), Err(Error::NoDependency));
    ops::prepare(&host).unwrap();
}

#[test]
fn closing_makes_missing_and_unpreserving_the_dependent_mends() {
    let (host, vm_id, cache_id) = scene();
    host.needs(vm_id, 1, cache(1)).unwrap();
    host.needs(vm_id, 2, cache(1)).unwrap();
    host.close(cache_id).unwrap();
    assert!(ops::prepare(&host).is_err());
    ops::unpreserve_file(&host, vm_id, 1).unwrap();
    assert!(ops::prepare(&host).is_err());
    host.drops(vm_id, 2, cache(1)).unwrap();
    ops::prepare(&host).unwrap();
    ops::cancel(&host).unwrap();
    // All that was set aside for them is given back.
    host.close(vm_id).unwrap();
    assert_eq!(host.counts(), TestHost::cold().counts());
}

#[test]
fn a_device_file_that_goes_is_missed_by_its_token() {
    let (host, vm_id, _) = scene();
    let device = host.device();
    let token = host.register_file(device, 30).unwrap();
    host.needs(vm_id, 1, Needed::OnDevice(token)).unwrap();
    host.close(device).unwrap();
    assert_eq!(ops::prepare(&host).unwrap_err().errno(), Errno::ENOLINK);
    host.drops(vm_id, 1, Needed::OnDevice(token)).unwrap();
    ops::prepare(&host).unwrap();
}

#[test]
fn the_order_goes_across_sessions() {
    let (host, vm_id, cache_id) = scene();
    // 11 needs 22, which needs 13.
    host.needs(vm_id, 1, cache(2)).unwrap();
    host.needs(cache_id, 2, vm(3)).unwrap();
    host.reboot().unwrap();
    let frozen = [
        "freeze 11",
        "freeze 12",
        "freeze 21",
        "freeze 22",
        "freeze 13",
    ];
    assert_eq!(host.take_log(), frozen);
    ops::cancel(&host).unwrap();
    let log = frozen.map(|line| line.replace("freeze", "unfreeze"));
    assert_eq!(host.take_log(), log.into_iter().rev().collect::<Vec<_>>());
    let host = host.next();
    let session = host.claim("vm").unwrap();
    let other = host.claim("cache").unwrap();
    // Each call restores files of its own session alone.
    let awaits = |on| Some(Error::Awaits(on));
    assert_eq!(host.retrieve(session, 1).err(), awaits(named("cache", 2)));
    assert_eq!(host.retrieve(other, 2).err(), awaits(named("vm", 3)));
    assert_eq!(Error::Awaits(named("vm", 3)).errno(), Errno::ENOTCONN);
    assert!(host.take_log().is_empty());
    host.retrieve(session, 3).unwrap();
    assert_eq!(host.retrieve(session, 1).err(), awaits(named("cache", 2)));
    host.retrieve(other, 2).unwrap();
    host.retrieve(session, 1).unwrap();
    assert_eq!(
        host.take_log(),
        ["retrieve 13", "retrieve 22", "retrieve 11"]
    );
    host.finish_update().unwrap();
    let finished = |line: &String| line.starts_with("finish");
    let log: Vec<_> = host.take_log().into_iter().filter(finished).collect();
    // From the end of: 13, 22, 11, 12, 21.
    let expected = [
        "finish 21",
        "finish 11",
        "finish 22",
        "finish 13",
        "finish 12",
    ];
    let place = |what: &str| log.iter().position(|line| line == what).unwrap();
    assert_eq!(log.len(), expected.len());
    assert!(place("finish 11") < place("finish 22") && place("finish 22") < place("finish 13"));
}

#[test]
fn closing_undoes_dependents_first() {
    let (host, vm_id, _) = scene();
    host.needs(vm_id, 1, Needed::Here(3)).unwrap();
    host.close(vm_id).unwrap();
    let log = ["unpreserve 11", "unpreserve 13", "unpreserve 12"];
    let got = host.take_log();
    let place = |what: &str| got.iter().position(|line| line == what).unwrap();
    assert!(place(log[0]) < place(log[1]), "{got:?}");
    assert_eq!(got.len(), 3);
}

#[test]
fn a_dependency_that_cannot_be_restored_fails_its_dependents() {
    let (host, vm_id, _) = scene();
    host.needs(vm_id, 1, Needed::Here(2)).unwrap();
    host.needs(vm_id, 2, cache(1)).unwrap();
    let host = host.next();
    let session = host.claim("vm").unwrap();
    let other = host.claim("cache").unwrap();
    host.fail(Call::Retrieve, 0, Errno::EFBIG);
    assert_eq!(host.retrieve(other, 1).err(), Some(Errno::EFBIG.into()));
    let on = named("cache", 1);
    let errno = Errno::EFBIG;
    let why = Error::DependencyFailed { on, errno };
    for _ in 0..2 {
        assert_eq!(host.retrieve(session, 1).err(), Some(why));
        assert_eq!(host.retrieve(session, 2).err(), Some(why));
    }
    assert_eq!(why.errno(), Errno::EFBIG);
    assert_eq!(host.take_log(), ["retrieve 21"]);
    // What does not need it comes back.
    host.retrieve(session, 3).unwrap();
}

#[test]
fn who_is_needed_is_not_finished_before() {
    let (host, vm_id, _) = scene();
    host.needs(vm_id, 1, cache(1)).unwrap();
    let host = host.next();
    let (vm_id, cache_id) = (host.claim("vm").unwrap(), host.claim("cache").unwrap());
    let needed = Error::Needed {
        token: 1,
        by: named("vm", 1),
    };
    assert_eq!(host.finish(cache_id), Err(needed));
    assert_eq!(needed.errno(), Errno::EBUSY);
    assert!(host.take_log().is_empty());
    // It is as it was; and closed it waits.
    host.retrieve(cache_id, 1).unwrap();
    assert_eq!(host.close(cache_id), Err(needed));
    assert_eq!(host.open().unwrap(), 1);
    host.finish(vm_id).unwrap();
    assert_eq!(host.visible().files, 0);
    assert_eq!(host.state(), State::Normal);
    host.close(vm_id).unwrap();
    assert_eq!(host.visible().incoming, 0);
}

/// Each of two sessions needs a file of the other: they are finished together.
fn entangled() -> (TestHost, SessionId, SessionId) {
    let (host, vm_id, cache_id) = scene();
    host.needs(vm_id, 1, cache(1)).unwrap();
    host.needs(cache_id, 2, vm(2)).unwrap();
    let host = host.next();
    let (vm_id, cache_id) = (host.claim("vm").unwrap(), host.claim("cache").unwrap());
    (host, vm_id, cache_id)
}

#[test]
fn sessions_that_need_each_other_are_finished_together() {
    let (host, vm_id, cache_id) = entangled();
    assert!(host.finish(vm_id).is_err() && host.finish(cache_id).is_err());
    assert!(host.close(vm_id).is_err());
    assert_eq!(host.visible().incoming, 2);
    host.take_log();
    host.close(cache_id).unwrap();
    let log = host.take_log();
    let place = |what: &str| log.iter().position(|line| line == what).unwrap();
    assert!(place("finish 11") < place("finish 21"));
    assert!(place("finish 22") < place("finish 12"));
    assert_eq!((host.visible().incoming, host.state()), (0, State::Normal));
    assert_eq!(host.counts(), TestHost::cold().counts());
}

#[test]
fn one_that_does_not_let_go_keeps_those_it_needs_whole() {
    let (host, vm_id, cache_id) = entangled();
    // It needs 21, and so its session needs the other one.
    host.script().stuck.insert(11);
    assert!(host.close(vm_id).is_err());
    assert!(host.close(cache_id).is_err());
    assert_eq!(host.visible().files, 5);
    assert_eq!(host.open().unwrap(), 2);
    // Either can be had again as long as that is so.
    let again = host.claim("cache").unwrap();
    assert_eq!(host.open().unwrap(), 1);
    assert_eq!(host.retrieve(again, 1).unwrap().object, 21);
    host.script().stuck.clear();
    assert_eq!(host.open().unwrap(), 1);
    host.close(again).unwrap();
    assert_eq!(host.visible().incoming, 0);
}

#[test]
fn one_that_needs_what_does_not_let_go_waits_whole() {
    let (host, vm_id, cache_id) = entangled();
    host.script().stuck.insert(12);
    for session in [vm_id, cache_id] {
        assert!(host.close(session).is_err());
    }
    // 22 needs 12, so all wait but what has nothing to do with it.
    assert_eq!(host.visible().incoming, 2);
    assert_eq!(host.open().unwrap(), 2);
    host.script().stuck.clear();
    assert_eq!(host.open().unwrap(), 0);
}

#[test]
fn the_graph_travels_and_is_carried_on() {
    let (host, vm_id, cache_id) = scene();
    let device = host.device();
    let token = host.register_file(device, 30).unwrap();
    host.needs(vm_id, 1, cache(1)).unwrap();
    host.needs(cache_id, 1, Needed::OnDevice(token)).unwrap();
    host.needs(device, token, vm(3)).unwrap();
    let mut host = host.next();
    for _ in 0..2 {
        host.reboot().unwrap();
        host = TestHost::opened(host.kexec());
    }
    let (session, other) = (host.claim("vm").unwrap(), host.claim("cache").unwrap());
    host.retrieve(session, 3).unwrap();
    host.restore(token).unwrap();
    host.retrieve(other, 1).unwrap();
    host.retrieve(session, 1).unwrap();
    let log = ["retrieve 13", "retrieve 30", "retrieve 21", "retrieve 11"];
    assert_eq!(host.take_log(), log);
}

#[test]
fn one_on_the_device_is_dropped_by_the_name_it_was_declared_by() {
    let host = TestHost::cold();
    let device = host.device();
    let token = host.register_file(device, 7).unwrap();
    let session = host.create("vm");
    host.preserve(session, 1, 1).unwrap();
    let (called, _) = host.engine(|engine| engine.session_info(device)).unwrap();
    ops::add_dependency(
        &host,
        luo_core::Actor::Administrator,
        session,
        1,
        Needed::In(called, token),
    )
    .unwrap();
    host.close(device).unwrap();
    let dropped = ops::drop_dependency(
        &host,
        luo_core::Actor::Administrator,
        session,
        1,
        Needed::In(called, token),
    );
    assert_eq!(dropped, Ok(()));
}
