// SPDX-License-Identifier: MIT OR Apache-2.0
//! Too much, too long, and never reading.

use std::io::ErrorKind;

use serde_json::json;

use crate::agent::{Luod, message, open_policy, until};

const MIB: usize = 1 << 20;

#[test]
fn a_message_of_a_gibibyte_is_cut_off() {
    let luod = Luod::start(&open_policy());
    luod.serves();
    let before = luod.resident();
    for begin in [
        &b"{\"method\":\""[..],
        b"",
        b"{\"method\":\"a.b\",\"parameters\":{\"x\":\"",
    ] {
        let mut peer = luod.connect("client");
        peer.send(begin).unwrap();
        let piece = vec![b'x'; MIB];
        let mut sent = 0;
        let why = loop {
            match peer.send(&piece) {
                Ok(()) => sent += piece.len(),
                Err(why) => break why,
            }
            assert!(sent < 1024 * MIB, "all of it was taken");
        };
        let closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        assert!(closed.contains(&why.kind()), "{why}");
        assert!(sent <= MIB, "{sent} bytes were taken");
        let parameter = peer.told();
        assert!(parameter.contains("65536 bytes"), "{parameter}");
        luod.serves();
    }
    let grown = luod.resident().saturating_sub(before);
    assert!(grown < 4 * MIB, "luod has {grown} bytes more");
}

#[test]
fn who_never_reads_is_disconnected_and_others_are_served_meanwhile() {
    let luod = Luod::start(&open_policy());
    let describe = message(
        "org.varlink.service.GetInterfaceDescription",
        json!({"interface": "org.liveupdate.Status"}),
    );
    let mut deaf: Vec<_> = (0..8).map(|_| luod.connect("client")).collect();
    for peer in &deaf {
        peer.stream().set_nonblocking(true).unwrap();
    }
    let before = luod.resident();
    // Until neither side takes any more.
    let mut full = 0;
    while full < deaf.len() {
        full = 0;
        for peer in &mut deaf {
            // A call that was sent in part is junk, which does as well.
            full += usize::from(peer.send(&describe).is_err());
        }
    }
    for _ in 0..200 {
        luod.serves();
    }
    let grown = luod.resident().saturating_sub(before);
    assert!(grown < 8 * MIB, "luod has {grown} bytes more");
    for peer in &mut deaf {
        peer.stream().set_nonblocking(false).unwrap();
        until("the end of who does not read", || {
            let broken = peer
                .send(b" ")
                .is_err_and(|why| why.kind() == ErrorKind::BrokenPipe);
            broken || peer.stream().take_error().unwrap().is_some()
        });
    }
    assert!(luod.log().contains("Slow"), "{}", luod.log());
}

#[test]
fn who_asks_far_ahead_while_an_answer_waits_is_disconnected() {
    let luod = Luod::start(&open_policy());
    let mut peer = luod.connect("status");
    let watch = b"{\"method\":\"org.liveupdate.Status.Watch\",\"more\":true}\0";
    peer.send(watch).unwrap();
    assert_eq!(peer.answer().unwrap()["continues"], true);
    for _ in 0..17 {
        let _ = peer.send(watch);
    }
    assert_eq!(peer.answer(), None);
    // Few, but large: what is kept of them is limited too.
    let mut peer = luod.connect("status");
    peer.send(watch).unwrap();
    peer.answer().unwrap();
    let large = json!({"x": "x".repeat(60_000)});
    for _ in 0..3 {
        let _ = peer.send(&message("org.liveupdate.Status.GetStatus", large.clone()));
    }
    assert_eq!(peer.answer(), None);
    luod.serves();
}

#[test]
fn a_flood_of_junk_does_not_flood_the_log() {
    let luod = Luod::start(&open_policy());
    for _ in 0..500 {
        let mut peer = luod.connect("status");
        peer.send(b"junk\0").unwrap();
        peer.told();
        assert_eq!(peer.answer(), None);
    }
    let lines = luod.log().lines().count();
    assert!(lines < 100, "{lines} lines");
}
