// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Files that are registered on the device: tokens, owners, and who gets them back.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::{ops, Error};

use crate::support::{Call, TestHost};

/// A machine after an update with these objects, each of a device of its own if
/// `apart`, and their tokens.
fn updated(objects: &[u64], apart: bool) -> (TestHost, Vec<u64>) {
    let host = TestHost::cold();
    let mut device = host.device();
    let mut tokens = Vec::new();
    for &object in objects {
        tokens.push(host.register_file(device, object).unwrap());
        if apart {
            device = host.device();
        }
    }
    (host.next(), tokens)
}

#[test]
fn nothing_is_pinned_down_before_prepare() {
    let host = TestHost::cold();
    let device = host.device();
    let token = host.register_file(device, 10).unwrap();
    assert!(host.take_log().is_empty());
    // The object is taken all the same, and so is its handler.
    assert_eq!(host.register_file(device, 10), Err(Error::AlreadyPreserved));
    let session = host.create("vm");
    assert_eq!(host.preserve(session, 1, 10), Err(Error::AlreadyPreserved));
    let counts = host.counts();
    assert_eq!((counts.files, counts.pins, counts.privates), (1, 1, 0));
    ops::prepare(&host).unwrap();
    assert_eq!(host.counts().privates, 1);
    ops::cancel(&host).unwrap();
    assert_eq!(host.take_log(), ["preserve 10", "unpreserve 10"]);
    // Registered again, under the same token.
    assert_eq!(host.counts(), {
        let mut counts = counts;
        counts.privates = 0;
        counts
    });
    ops::unpreserve_file(&host, device, token).unwrap();
    host.register_file(device, 10).unwrap();
}

#[test]
fn each_documented_error_is_told() {
    let host = TestHost::cold();
    let device = host.device();
    let bad = ops::register_file(&host, device, |_| Ok(()), || Err(Errno::EBADF));
    assert_eq!(bad, Err(Error::Host(Errno::EBADF)));
    let foreign = ops::register_file(&host, device, |_| Ok(()), || Ok(host.new_file(9, 1)));
    assert_eq!(foreign, Err(Error::NoHandler));
    assert_eq!(host.visible().files, 0);
    assert_eq!(host.restore(1).err(), Some(Error::NotUpdated));
    let token = host.register_file(device, 10).unwrap();
    // Another instance's token is nobody's.
    let other = host.device();
    let outcome = ops::unpreserve_file(&host, other, token);
    assert_eq!(outcome, Err(Error::NoToken));
}

#[test]
fn closing_the_device_unregisters() {
    let host = TestHost::cold();
    let before = host.visible();
    let device = host.device();
    for object in 0..70 {
        host.register_file(device, object).unwrap();
    }
    host.close(device).unwrap();
    assert_eq!(host.visible(), before);
    assert!(host.take_log().is_empty());
}

#[test]
fn tokens_are_unique_over_a_chain_of_kernels() {
    let mut seen = BTreeSet::new();
    let mut host = TestHost::cold();
    let first = host.device();
    seen.insert(host.register_file(first, 1).unwrap());
    for kernel in 1..5u64 {
        // The first one is never fetched, and carried on each time.
        host.reboot().unwrap();
        host = TestHost::opened(host.kexec());
        let (one, two) = (host.device(), host.device());
        for device in [one, two, one] {
            let object = kernel * 10 + seen.len() as u64;
            let token = host.register_file(device, object).unwrap();
            assert!(seen.insert(token), "{token:#x} twice");
            assert_eq!(token >> 32, kernel);
        }
        // One that is taken back is not given again.
        let token = host.register_file(two, 999).unwrap();
        ops::unpreserve_file(&host, two, token).unwrap();
        assert!(seen.insert(token));
    }
    assert_eq!(host.restore(1).unwrap().object, 1);
}

#[test]
fn a_file_is_given_once() {
    let (host, tokens) = updated(&[10, 20], false);
    assert_eq!(host.restore(tokens[0]).unwrap().object, 10);
    let outcome = host.restore(tokens[0]).err();
    assert_eq!(outcome, Some(Error::AlreadyRestored));
    assert_eq!(Error::AlreadyRestored.errno(), Errno::EINVAL);
    assert_eq!(host.restore(7777).err(), Some(Error::NoToken));
    // It cannot be had by the name of a session.
    let name = host.engine(|engine| engine.info(luo_core::Actor::Administrator, "", 0).incoming);
    assert_eq!(name, 1);
    assert_eq!(host.claim("liveupdate-device:0.0"), Err(Error::NoSession));
}

#[test]
fn one_that_could_not_be_told_of_can_be_restored_again() {
    let (host, tokens) = updated(&[10], false);
    let (id, file) = ops::restore_file(&host, tokens[0]).unwrap();
    ops::put_back_file(&host, id);
    assert_eq!(host.restore(tokens[0]).unwrap().serial, file.serial);
    assert_eq!(host.take_log(), ["retrieve 10"]);
    // What is gone cannot be put back.
    host.finish_update().unwrap();
    ops::put_back_file(&host, id);
    assert_eq!(host.state(), State::Normal);
}

#[test]
fn a_restore_that_failed_fails_the_same_way_again() {
    let (host, tokens) = updated(&[10], false);
    host.fail(Call::Retrieve, 0, Errno::EFBIG);
    for _ in 0..3 {
        let outcome = host.restore(tokens[0]).err();
        assert_eq!(outcome, Some(Error::Host(Errno::EFBIG)));
    }
    assert_eq!(host.take_log(), ["retrieve 10"]);
}

#[test]
fn of_many_who_race_one_gets_the_file() {
    for _ in 0..50 {
        let (host, tokens) = {
            let host = TestHost::cold();
            let device = host.device();
            let tokens = [1, 2, 3].map(|object| host.register_file(device, object).unwrap());
            host.reboot().unwrap();
            let host = TestHost::warm_as(host.kexec(), true);
            host.open().unwrap();
            (host, tokens)
        };
        let (host, barrier) = (&host, &Barrier::new(4));
        let got: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(move || {
                        barrier.wait();
                        let got = |&token: &u64| match host.restore(token) {
                            Ok(_) => true,
                            Err(why) => {
                                assert_eq!(why, Error::AlreadyRestored);
                                false
                            }
                        };
                        tokens.iter().filter(|token| got(token)).count()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(got, 3);
    }
}

/// A reboot that comes while a handler restores carries the file on: it is not
/// given away as well.
#[test]
fn a_reboot_meanwhile_keeps_a_file_from_being_given() {
    let (host, tokens) = updated(&[10], false);
    let mut steps = 0;
    host.set_hook(move |host, call, _| {
        if call == Call::Step && !host.script().log.is_empty() {
            steps += 1;
            // Behind the one that ends the retrieving.
            if steps == 2 {
                assert_eq!(host.reboot().unwrap().carried, 1);
            }
        }
    });
    assert_eq!(host.restore(tokens[0]).err(), Some(Error::NotUpdated));
    drop(host.script().hook.take());
    ops::cancel(&host).unwrap();
    assert_eq!(host.restore(tokens[0]).unwrap().object, 10);
}

#[test]
fn each_device_is_a_session_of_its_own() {
    let (host, tokens) = updated(&[10, 20, 30], true);
    // The last one has none, and is nothing to hand over.
    assert_eq!(host.visible().incoming, 3);
    for (&token, object) in tokens.iter().zip([10, 20, 30]) {
        assert_eq!(host.restore(token).unwrap().object, object);
    }
    // They count as sessions, and only the event finishes them.
    assert_eq!(host.state(), State::Updated);
    host.finish_update().unwrap();
    assert_eq!((host.visible().incoming, host.state()), (0, State::Normal));
    assert_eq!(host.restore(tokens[0]).err(), Some(Error::NotUpdated));
}

/// Programs may call a session what a device's would be called.
#[test]
fn a_name_that_a_program_took_is_not_a_devices() {
    let host = TestHost::cold();
    let program = host.create("liveupdate-device:0.0");
    host.preserve(program, 1, 10).unwrap();
    let device = host.device();
    let token = host.register_file(device, 20).unwrap();
    let host = host.next();
    let program = host.claim("liveupdate-device:0.0").unwrap();
    assert_eq!(host.retrieve(program, 1).unwrap().object, 10);
    assert_eq!(host.restore(token).unwrap().object, 20);
}
