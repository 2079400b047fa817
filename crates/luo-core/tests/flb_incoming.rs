// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! FLBs that the previous kernel handed over.

use luo_abi::errno::Errno;
use luo_core::Error;

use crate::support::{handed, Call, Handed, TestHost};

/// One session "vm" with files 1 and 2, each depending on FLB 1.
fn flb_handed() -> Handed {
    let host = TestHost::cold();
    host.depend(0, 1).unwrap();
    let session = host.create("vm");
    host.preserve(session, 1, 10).unwrap();
    host.preserve(session, 2, 20).unwrap();
    host.update()
}

fn scene() -> TestHost {
    let host = TestHost::opened(flb_handed());
    host.depend(0, 1).unwrap();
    host
}

#[test]
fn a_driver_can_have_it_before_the_device_is_opened() {
    let host = TestHost::warm(flb_handed());
    let object = host.get_incoming(1).unwrap().unwrap();
    assert_eq!(object.flb, 1);
    host.get_incoming(1).unwrap();
    assert_eq!(host.take_log(), ["flb_retrieve 1"]);
    assert_eq!(host.get_incoming(2).err(), Some(Error::NoFlb));
}

#[test]
fn the_last_file_finishes_it() {
    let host = scene();
    let session = host.claim("vm").unwrap();
    host.close(session).unwrap();
    let log = [
        "can_finish 10",
        "can_finish 20",
        "finish 20",
        "finish 10",
        "flb_retrieve 1",
        "flb_finish 1",
    ];
    assert_eq!(host.take_log(), log);
    assert_eq!(host.get_incoming(1).err(), Some(Error::NoData));
    let counts = host.counts();
    assert_eq!((counts.pins, counts.objects), (0, 0));
}

#[test]
fn the_last_holder_finishes_it_if_the_files_are_gone() {
    let host = scene();
    let objects = (host.get_incoming(1).unwrap(), host.get_incoming(1).unwrap());
    let session = host.claim("vm").unwrap();
    host.close(session).unwrap();
    host.take_log();
    drop(objects);
    host.put_incoming(1);
    assert!(host.take_log().is_empty());
    host.put_incoming(1);
    assert_eq!(host.take_log(), ["flb_finish 1"]);
    host.put_incoming(1);
    assert!(host.take_log().is_empty());
    assert_eq!(host.counts().objects, 0);
}

#[test]
fn a_holder_keeps_it_from_being_finished() {
    let host = scene();
    let session = host.claim("vm").unwrap();
    let object = host.get_incoming(1).unwrap();
    host.close(session).unwrap();
    assert!(!host.take_log().contains(&"flb_finish 1".into()));
    drop(object);
    host.put_incoming(1);
    assert_eq!(host.take_log(), ["flb_finish 1"]);
}

#[test]
fn one_that_failed_is_not_tried_again() {
    let host = scene();
    host.fail(Call::FlbRetrieve, 0, Errno::EFBIG);
    for _ in 0..2 {
        let outcome = host.get_incoming(1).err();
        assert_eq!(outcome, Some(Error::Host(Errno::EFBIG)));
    }
    let session = host.claim("vm").unwrap();
    host.close(session).unwrap();
    let log = host.take_log();
    assert_eq!(log.iter().filter(|line| line.contains("flb")).count(), 1);
    assert_eq!(host.counts().pins, 0);
}

#[test]
fn an_owner_that_is_going_away_may_come_back() {
    let host = scene();
    host.fail(Call::PinFlb, 0, Errno::ENODEV);
    assert_eq!(host.get_incoming(1).err(), Some(Error::OwnerGone));
    assert_eq!(Error::OwnerGone.errno(), Errno::ENODEV);
    assert!(host.get_incoming(1).is_ok());
}

#[test]
fn a_cold_machine_has_none() {
    let host = TestHost::cold();
    assert_eq!(host.get_incoming(1).err(), Some(Error::NoData));
    host.put_incoming(1);
    let host = TestHost::warm(handed(&[]));
    assert_eq!(host.get_incoming(1).err(), Some(Error::NoFlb));
}

#[test]
fn both_directions_are_apart() {
    let host = scene();
    let next = host.create("next");
    host.preserve(next, 1, 77).unwrap();
    assert!(host.get_outgoing(1).is_ok());
    let session = host.claim("vm").unwrap();
    host.close(session).unwrap();
    assert_eq!(host.get_incoming(1).err(), Some(Error::NoData));
    let handed = host.update();
    let host = TestHost::warm(handed);
    assert!(host.get_incoming(1).is_ok());
}

#[test]
fn a_handover_that_is_refused_has_no_flbs() {
    let mut handed = flb_handed();
    handed.set_word(handed.flbs(), 0, 2);
    let host = TestHost::warm(handed);
    let outcome = host.get_incoming(1).err();
    assert!(matches!(outcome, Some(Error::Refused(_))));
}
