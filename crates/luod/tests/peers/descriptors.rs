// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors where none belong, too many, of a wrong kind, and without a message.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use serde_json::json;

use crate::agent::{Luod, Raw, message, open_policy, until};

const BAD: &str = "org.liveupdate.Client.BadDescriptor";

fn memfd() -> OwnedFd {
    luo_sys::memfd::create("x", 4096).unwrap().into()
}

fn attach() -> Vec<u8> {
    message("org.liveupdate.Client.AttachSession", json!({"name": "s"}))
}

fn registered(luod: &Luod) -> Raw {
    let mut peer = luod.connect("client");
    assert!(peer.register("a")["error"].is_null());
    peer
}

#[test]
fn a_call_has_the_descriptors_it_takes() {
    let luod = Luod::start(&open_policy());
    let mut peer = registered(&luod);
    let fd = memfd();
    // None where one belongs.
    peer.refused(
        "org.liveupdate.Client.AttachSession",
        json!({"name": "s"}),
        BAD,
    );
    // One where none belongs.
    let call = message("org.liveupdate.Client.Restored", json!({}));
    peer.send_with(&call, &[fd.as_fd()]);
    assert_eq!(peer.answer().unwrap()["error"], BAD);
    // One that is no session.
    peer.send_with(&attach(), &[fd.as_fd()]);
    assert_eq!(peer.answer().unwrap()["error"], BAD);
    // It came with the first byte of the call, and the rest later.
    let call = attach();
    peer.send_with(&call[..1], &[fd.as_fd()]);
    peer.send(&call[1..]).unwrap();
    assert_eq!(peer.answer().unwrap()["error"], BAD);
    // Everybody may call these, and what comes along is closed.
    let before = luod.descriptors();
    let call = message("org.varlink.service.GetInfo", json!({}));
    for _ in 0..100 {
        peer.send_with(&call, &[fd.as_fd()]);
        assert!(peer.answer().unwrap()["error"].is_null());
    }
    // Threads close them by and by.
    until("that they are closed", || luod.descriptors() <= before);
}

#[test]
fn too_many_end_the_connection() {
    let luod = Luod::start(&open_policy());
    let before = luod.descriptors();
    let fd = memfd();
    for count in [2, 3, 64] {
        let mut peer = luod.connect("client");
        peer.send_with(&attach(), &vec![fd.as_fd(); count]);
        let parameter = peer.told();
        assert!(parameter.contains("too many descriptors"), "{parameter}");
        assert_eq!(peer.answer(), None, "{count}");
    }
    // One by one, with a message that does not end.
    let mut peer = luod.connect("client");
    peer.send_with(b"{", &[fd.as_fd()]);
    peer.send_with(b" ", &[fd.as_fd()]);
    peer.told();
    assert_eq!(peer.answer(), None);
    // With messages that are none.
    let mut peer = luod.connect("client");
    for _ in 0..3 {
        peer.send_with(b"\0", &[fd.as_fd()]);
    }
    peer.told();
    assert_eq!(peer.answer(), None);
    until("the end of all", || luod.descriptors() == before);
}

#[test]
fn without_a_message_they_are_few_and_go_with_the_connection() {
    let luod = Luod::start(&open_policy());
    let before = luod.descriptors();
    let fd = memfd();
    let mut peers: Vec<_> = (0..100).map(|_| luod.connect("client")).collect();
    for peer in &mut peers {
        peer.send_with(b"{", &[fd.as_fd()]);
    }
    // A socket, and what came.
    until("all of them", || luod.descriptors() >= before + 200);
    luod.serves();
    drop(peers);
    until("the end of all", || luod.descriptors() == before);
}

/// The peer's end of the connection itself, which nobody but luod has then: such a connection has
/// no peer that could end it.
#[test]
fn a_connection_does_not_hold_itself() {
    let luod = Luod::start(&open_policy());
    let before = luod.descriptors();
    let watch = br#"{"method": "org.liveupdate.Status.Watch", "more": true}"#;
    let mut halves = Vec::new();
    for door in ["client", "status", "admin"] {
        let mut half = luod.connect(door);
        let own = half.stream().try_clone().unwrap();
        half.send_with(b"{", &[own.as_fd()]);
        halves.push(half);
        let mut ahead = luod.connect(door);
        let own = ahead.stream().try_clone().unwrap();
        ahead.send(&[&watch[..], b"\0"].concat()).unwrap();
        ahead.send_with(&attach(), &[own.as_fd()]);
    }
    for mut half in halves {
        // It is told why before it goes.
        let told = half.told();
        assert!(told.contains("not the rest of its message"), "{told}");
    }
    until("the end of all", || luod.descriptors() == before);
    luod.serves();
}

#[test]
fn what_can_keep_its_holder_waiting_is_not_taken() {
    let luod = Luod::start(&open_policy());
    let before = luod.descriptors();
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let file = File::open(env!("CARGO_BIN_EXE_luod")).unwrap();
    let folder = File::open("/").unwrap();
    for fd in [socket.as_fd(), file.as_fd(), folder.as_fd()] {
        let mut peer = registered(&luod);
        peer.send_with(&attach(), &[fd]);
        // It is answered all the same, and the connection goes on.
        assert_eq!(peer.answer().unwrap()["error"], BAD);
        peer.send_with(&attach(), &[fd]);
        assert_eq!(peer.answer().unwrap()["error"], BAD);
        drop(peer);
        until("its place", || luod.descriptors() == before);
    }
}
