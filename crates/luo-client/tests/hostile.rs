// SPDX-License-Identifier: MIT OR Apache-2.0
//! An agent that says what it should not.

use core::mem::MaybeUninit;
use std::os::fd::AsFd;

use luo_client::agent::{Agent, Error, Workload};
use luo_sys::message;
use luo_varlink::client::{Claimed, Method};
use luo_varlink::limits::MAX_REPLY;
use rustix::net::SendFlags;
use zlink_core::Reply;

use crate::fake::{Fake, Peer};
use crate::workload::{contents, file, name};

/// The results of a call that is answered by a script, and of the next call.
fn answered(script: impl FnOnce(&mut Peer) + Send + 'static) -> (Error, Fake, Workload) {
    let fake = Fake::client(|mut peer| {
        peer.register("cache");
        peer.expect(Method::Claim {
            session: "s".into(),
        });
        script(&mut peer);
        while peer.next::<Method>().is_some() {
            peer.reply_fd(Claimed { incoming: true }, file("fine"));
        }
    });
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    let error = workload.claim(&name("s")).unwrap_err();
    (error, fake, workload)
}

#[track_caller]
fn given_up(script: impl FnOnce(&mut Peer) + Send + 'static) -> String {
    let (error, fake, mut workload) = answered(script);
    let next = workload.claim(&name("s"));
    assert!(matches!(next, Err(Error::AgentGone)), "{next:?}");
    drop(workload);
    fake.done();
    match error {
        Error::Protocol { call, .. } => assert_eq!(call, "Claim"),
        Error::Os { .. } => {}
        ref other => panic!("{other}"),
    }
    error.to_string()
}

#[track_caller]
fn goes_on(script: impl FnOnce(&mut Peer) + Send + 'static) -> Error {
    let (error, fake, mut workload) = answered(script);
    let claim = workload.claim(&name("s")).unwrap();
    assert_eq!(contents(claim.session), "fine");
    drop(workload);
    fake.done();
    error
}

#[test]
fn a_gibibyte_is_not_read() {
    let said = given_up(|peer| {
        let piece = vec![b' '; 1 << 20];
        let mut sent = 0usize;
        while sent < 1 << 30 && peer.raw(&piece) {
            sent += piece.len();
        }
        assert!(sent < 2 * MAX_REPLY, "{sent} bytes were taken");
    });
    assert!(said.contains("does not end"), "{said}");
}

#[test]
fn junk_ends_the_connection() {
    let junk: [&[u8]; 7] = [
        b"\0",
        b"hello\0",
        b"[1,2,3]\0",
        b"{\"parameters\":{\"incoming\":\0",
        b"{\"parameters\":{\"incoming\":\"yes\"}}\0",
        b"{\"parameters\":{\"incoming\":true}} {}\0",
        b"\xff\xfe\xfd\0",
    ];
    for bytes in junk {
        given_up(move |peer| assert!(peer.raw(bytes)));
    }
    let deep = [vec![b'['; 100_000], vec![0]].concat();
    given_up(move |peer| assert!(peer.raw(&deep)));
}

#[test]
fn a_descriptor_that_is_missing_is_noticed() {
    let said = given_up(|peer| peer.reply(Claimed { incoming: true }));
    assert!(said.contains("descriptor"), "{said}");
}

#[test]
fn parameters_that_are_missing_are_noticed() {
    given_up(|peer| {
        let nothing = Reply::<()>::new(None);
        peer.send(&nothing, vec![file("s").into()]);
    });
}

#[test]
fn too_many_descriptors_are_refused() {
    let said = given_up(|peer| {
        let many = (0..20).map(|_| file("s").into()).collect();
        peer.send(&Reply::new(Some(Claimed { incoming: true })), many);
    });
    assert!(said.contains("a descriptor did not arrive"), "{said}");
}

/// One comes with each byte of a message that does not end.
#[test]
fn descriptors_piece_by_piece_are_refused() {
    let said = given_up(|peer| {
        let one = file("s");
        let mut sent = 0;
        while sent < 1000 {
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let fds = [one.as_fd()];
            let flags = SendFlags::empty();
            if message::send(peer.stream(), b" ", &fds, &mut room, flags).is_err() {
                break;
            }
            sent += 1;
        }
        assert!(sent < 1000);
    });
    assert!(said.contains("more were sent"), "{said}");
}

#[test]
fn errors_that_are_not_known_are_named() {
    let error = goes_on(|peer| {
        let unknown =
            b"{\"error\":\"org.liveupdate.Client.NotInvented\",\"parameters\":{\"a\":1}}\0";
        assert!(peer.raw(unknown));
    });
    assert_eq!(error.errno(), 95);
    assert!(error.to_string().contains("NotInvented"), "{error}");
}

#[test]
fn an_agent_without_the_call_says_so() {
    let error = goes_on(|peer| {
        let missing = b"{\"error\":\"org.varlink.service.MethodNotFound\",\
                      \"parameters\":{\"method\":\"Claim\"}}\0";
        assert!(peer.raw(missing));
    });
    assert!(
        matches!(error, Error::Unknown { call: "Claim", .. }),
        "{error}"
    );
}
