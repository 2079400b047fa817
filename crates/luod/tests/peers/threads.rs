// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads of luod.

use std::os::fd::{AsFd, OwnedFd};

use serde_json::json;

use crate::agent::{Luod, message, open_policy};

/// One that is made later may find no memory for itself, and then all of luod ends.
#[test]
fn all_threads_are_there_from_the_start() {
    let luod = Luod::start(&open_policy());
    let before = luod.threads();
    let count = |name: &str| before.values().filter(|known| *known == name).count();
    assert_eq!((count("aside"), count("deadline")), (64, 1), "{before:?}");
    // What is closed and named by threads, what reads disks, and what has a deadline.
    let fd: OwnedFd = luo_sys::memfd::create("x", 4096).unwrap().into();
    let mut peers: Vec<_> = (0..8).map(|_| luod.connect("client")).collect();
    let attach = message("org.liveupdate.Client.AttachSession", json!({"name": "s"}));
    for (number, peer) in peers.iter_mut().enumerate() {
        assert!(peer.register(&format!("w{number}"))["error"].is_null());
        peer.send_with(&attach, &[fd.as_fd()]);
    }
    for peer in &mut peers {
        assert!(peer.answer().unwrap()["error"].is_string());
    }
    let mut admin = luod.connect("admin");
    for _ in 0..3 {
        let answer = admin.call("org.liveupdate.Admin.Check", json!({"target": {}}));
        assert!(answer["error"].is_null(), "{answer}");
    }
    let mut status = luod.connect("status");
    for _ in 0..3 {
        let answer = status.call("org.liveupdate.Status.GetStatus", json!({}));
        assert!(answer["error"].is_null(), "{answer}");
    }
    assert_eq!(luod.threads(), before);
}
