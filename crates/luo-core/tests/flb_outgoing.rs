// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! FLBs on their way to the next kernel.

use luo_abi::errno::Errno;
use luo_core::Error;

use crate::support::{Call, TestHandler, TestHost};

/// A machine whose handler 0 depends on FLBs 1 and 2 and handler 1 on 2.
fn scene() -> TestHost {
    let host = TestHost::cold();
    for (handler, flb) in [(0, 1), (0, 2), (1, 2)] {
        host.depend(handler, flb).unwrap();
    }
    host
}

#[test]
fn the_first_file_preserves_and_the_last_one_undoes() {
    let host = scene();
    let before = host.visible();
    let (first, second) = (host.create("a"), host.create("b"));
    host.preserve(first, 1, 10).unwrap();
    host.preserve(second, 1, 20).unwrap();
    host.preserve_kind(second, 2, 1, 30).unwrap();
    let log = [
        "flb_preserve 1",
        "flb_preserve 2",
        "preserve 10",
        "preserve 20",
        "preserve 30",
    ];
    assert_eq!(host.take_log(), log);
    host.close(first).unwrap();
    assert_eq!(host.take_log(), ["unpreserve 10"]);
    host.close(second).unwrap();
    let log = [
        "unpreserve 30",
        "unpreserve 20",
        "flb_unpreserve 2",
        "flb_unpreserve 1",
    ];
    assert_eq!(host.take_log(), log);
    assert_eq!(host.visible(), before);
}

#[test]
fn one_that_fails_undoes_those_before_it() {
    let host = scene();
    let session = host.create("a");
    let before = host.visible();
    host.fail(Call::FlbPreserve, 1, Errno::EFBIG);
    let outcome = host.preserve(session, 1, 10);
    assert_eq!(outcome, Err(Error::Host(Errno::EFBIG)));
    let log = ["flb_preserve 1", "flb_preserve 2", "flb_unpreserve 1"];
    assert_eq!(host.take_log(), log);
    assert_eq!(host.visible(), before);
    host.fail(Call::PinFlb, 1, Errno::ENODEV);
    assert_eq!(host.preserve(session, 1, 10), Err(Error::OwnerGone));
    assert_eq!(host.visible(), before);
    host.preserve(session, 1, 10).unwrap();
}

#[test]
fn a_driver_can_have_what_a_file_has_caused() {
    let host = scene();
    assert_eq!(host.get_outgoing(1).err(), Some(Error::NoFlb));
    assert_eq!(host.get_outgoing(9).err(), Some(Error::NoFlb));
    let session = host.create("a");
    host.preserve(session, 1, 10).unwrap();
    let object = host.get_outgoing(1).unwrap();
    assert_eq!(object.flb, 1);
    host.take_log();
    host.close(session).unwrap();
    // The driver holds one of the two.
    assert_eq!(host.take_log(), ["unpreserve 10", "flb_unpreserve 2"]);
    let again = host.create("b");
    host.preserve(again, 1, 10).unwrap();
    assert_eq!(host.take_log(), ["flb_preserve 2", "preserve 10"]);
    host.put_outgoing(1);
    host.close(again).unwrap();
    drop(object);
    assert_eq!(host.counts().objects, 0);
    host.put_outgoing(1);
}

#[test]
fn an_flb_without_an_object_is_nothing_to_a_driver() {
    let host = TestHost::cold();
    host.depend(0, 100).unwrap();
    let session = host.create("a");
    host.preserve(session, 1, 10).unwrap();
    assert_eq!(host.get_outgoing(100).err(), Some(Error::NoFlb));
    host.close(session).unwrap();
    assert_eq!(host.counts().pins, 0);
}

#[test]
fn a_file_releases_what_it_took_and_nothing_else() {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    let (first, second) = (host.create("a"), host.create("b"));
    // Handler 1 gains the FLB when it has a file already.
    host.preserve_kind(first, 1, 1, 10).unwrap();
    host.depend(1, 1).unwrap();
    host.preserve(second, 1, 20).unwrap();
    host.take_log();
    host.close(first).unwrap();
    assert_eq!(host.take_log(), ["unpreserve 10"]);
    host.close(second).unwrap();
    assert_eq!(host.take_log(), ["unpreserve 20", "flb_unpreserve 1"]);
}

#[test]
fn a_file_releases_what_its_handler_has_lost() {
    let host = scene();
    let session = host.create("a");
    host.preserve(session, 1, 10).unwrap();
    host.undepend(0, 1).unwrap();
    assert_eq!(host.undepend(0, 1), Err(Error::NotRegistered));
    host.take_log();
    host.close(session).unwrap();
    let log = ["unpreserve 10", "flb_unpreserve 2", "flb_unpreserve 1"];
    assert_eq!(host.take_log(), log);
    let counts = host.counts();
    assert_eq!((counts.pins, counts.objects), (0, 0));
}

#[test]
fn a_dependency_that_changes_during_a_preserve_is_accounted_for() {
    for gain in [true, false] {
        let host = scene();
        let before = host.visible();
        let session = host.create("a");
        host.set_hook(move |host, call, flb| {
            if call == Call::FlbPreserve && flb == 1 {
                if gain {
                    host.depend(0, 3).unwrap();
                } else {
                    host.undepend(0, 1).unwrap();
                }
            }
        });
        host.preserve(session, 1, 10).unwrap();
        host.close(session).unwrap();
        let counts = host.counts();
        assert_eq!(counts, before.counts);
    }
}

#[test]
fn registration_has_its_errors() {
    let host = scene();
    assert_eq!(host.depend(0, 1), Err(Error::NameTaken));
    assert_eq!(host.depend(7, 1), Err(Error::NotRegistered));
    assert_eq!(host.undepend(7, 1), Err(Error::NotRegistered));
    assert_eq!(host.undepend(0, 9), Err(Error::NotRegistered));
    assert_eq!(host.undepend(1, 1), Err(Error::NotRegistered));
    assert_eq!(host.try_register(0), Err(Error::NameTaken));
    let other = host.engine(|engine| {
        let table = crate::support::TestFlb(55);
        engine.register_flb(&TestHandler(0), crate::support::compat("flb", 1), table)
    });
    assert_eq!(other, Err(Error::NameTaken));
    // An FLB that nobody depends on is forgotten.
    host.undepend(0, 1).unwrap();
    let other = host.engine(|engine| {
        let table = crate::support::TestFlb(55);
        engine.register_flb(&TestHandler(0), crate::support::compat("flb", 1), table)
    });
    assert_eq!(other, Ok(()));
}

#[test]
fn a_handler_that_goes_lets_its_flbs_go_but_not_what_its_files_hold() {
    let host = scene();
    let session = host.create("a");
    host.preserve(session, 1, 10).unwrap();
    let gone = host.unregister(0);
    assert_eq!(gone, Ok(()));
    host.take_log();
    host.close(session).unwrap();
    let log = host.take_log();
    assert_eq!(log[0], "unpreserve 10");
    // In the order of the handler's list no more, for that is gone.
    let mut flbs = log[1..].to_vec();
    flbs.sort();
    assert_eq!(flbs, ["flb_unpreserve 1", "flb_unpreserve 2"]);
    // FLB 1 is forgotten, FLB 2 has handler 1 still.
    host.register(0);
    host.depend(0, 1).unwrap();
    assert_eq!(host.depend(1, 2), Err(Error::NameTaken));
}
