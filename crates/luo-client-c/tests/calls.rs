// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each of the agent's calls, as a program in C makes it.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each call is of the kind that the crate's rules allow, as a program in C makes it"
)]

#[allow(dead_code, reason = "the tests of luo-client use the rest")]
#[path = "../../luo-client/tests/fake.rs"]
mod fake;
#[path = "../../luo-client/tests/wire.rs"]
mod wire;

use core::ffi::{CStr, c_int};
use core::ptr::null_mut;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use luo_client_c::error::luo_last_error_message;
use luo_client_c::event::*;
use luo_client_c::workload::*;
use luo_varlink::client::{Claimed, Declared, Error as Refusal, Method};
use luo_varlink::{Check, CheckStatus, EventKind, Report, Step, paths};
use serde_json::json;

use fake::{Fake, Peer, event, registered};

const ENOEXEC: c_int = -8;
const EINVAL: c_int = -22;
const EPROTO: c_int = -71;
const ECONNRESET: c_int = -104;
const ETIMEDOUT: c_int = -110;
const ESTALE: c_int = -116;
const EDQUOT: c_int = -122;

fn message() -> String {
    let message = unsafe { CStr::from_ptr(luo_last_error_message()) };
    message.to_str().unwrap().into()
}

fn file() -> File {
    File::open("/dev/null").unwrap()
}

/// Takes a descriptor that was given out.
#[track_caller]
fn taken(fd: c_int) -> OwnedFd {
    assert!(fd >= 0, "{fd}: {}", message());
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn register(fake: &Fake) -> *mut luo_workload {
    let folder = CString::new(fake.folder().as_os_str().as_bytes()).unwrap();
    let needs = [c"db".as_ptr(), c"queue".as_ptr()];
    let (name, mut workload) = (c"cache".as_ptr(), null_mut());
    let result = unsafe {
        luo_workload_register(folder.as_ptr(), name, needs.as_ptr(), 2, &raw mut workload)
    };
    assert_eq!(result, 0, "{}", message());
    workload
}

fn first(peer: &mut Peer) {
    peer.expect(Method::Register {
        workload: "cache".into(),
        needs: vec!["db".into(), "queue".into()],
    });
    peer.reply(registered(&["s1"]));
}

fn blank() -> luo_event {
    luo_event {
        kind: 0,
        reserved: 0,
        deadline_ms: 0,
        update: [0; LUO_UPDATE_SIZE],
        reason: [0; LUO_REASON_SIZE],
    }
}

#[test]
fn sessions_and_files() {
    let fake = Fake::client(|mut peer| {
        first(&mut peer);
        peer.expect(Method::CreateSession { name: "s2".into() });
        peer.reply_fd(json!({}), file());
        peer.expect_fd(Method::AttachSession { name: "s3".into() });
        peer.done();
        peer.expect_fd(Method::Declare {
            session: "s2".into(),
            token: 7,
        });
        let checks = vec![Check {
            name: "hugetlb".into(),
            status: CheckStatus::Failed,
            found: "huge pages".into(),
            remedy: Some("use small ones".into()),
        }];
        let report = Report { ok: false, checks };
        peer.reply(Declared { report });
        peer.expect(Method::DropSession { name: "s2".into() });
        peer.done();
        peer.expect(Method::Claim {
            session: "s1".into(),
        });
        peer.reply_fd(Claimed { incoming: true }, file());
        peer.expect(Method::Restored);
        peer.done();
        peer.expect(Method::FinishSession { name: "s1".into() });
        peer.refuse(Refusal::TooMany {
            limit: "all".into(),
        });
        peer.expect(Method::Unregister);
        peer.done();
        peer.expect_end();
    });
    let workload = register(&fake);
    let null = file();
    let mut incoming = -1;
    unsafe {
        assert_eq!(luo_workload_phase(workload), LUO_PHASE_NORMAL);
        assert_eq!(luo_workload_can_claim(workload, c"s1".as_ptr()), 1);
        assert_eq!(luo_workload_can_claim(workload, c"s2".as_ptr()), 0);
        assert_eq!(luo_workload_set_times(workload, -1, -1), 0);
        taken(luo_workload_create_session(workload, c"s2".as_ptr()));
        assert_eq!(
            luo_workload_attach(workload, c"s3".as_ptr(), null.as_raw_fd()),
            0
        );
        let declared = luo_workload_declare(workload, c"s2".as_ptr(), 7, null.as_raw_fd());
        assert_eq!(
            (declared, &*message()),
            (ENOEXEC, "hugetlb: huge pages use small ones")
        );
        assert_eq!(luo_workload_drop_session(workload, c"s2".as_ptr()), 0);
        taken(luo_workload_claim(
            workload,
            c"s1".as_ptr(),
            &raw mut incoming,
        ));
        assert_eq!(incoming, 1);
        assert_eq!(luo_workload_restored(workload), 0);
        let refused = luo_workload_finish_session(workload, c"s1".as_ptr());
        assert_eq!((refused, &*message()), (EDQUOT, "a limit is reached: all"));
        assert_eq!(luo_workload_unregister(workload), 0);
        assert_eq!(luo_workload_restored(workload), ECONNRESET);
        luo_workload_free(workload);
    }
    fake.done();
}

#[test]
fn events_and_answers() {
    let answer = |step, veto: Option<&str>| Method::Answer {
        update: "u1".into(),
        step,
        veto: veto.map(Into::into),
    };
    let fake = Fake::client(move |mut peer| {
        first(&mut peer);
        peer.expect(Method::NextEvent);
        // The second question is a call, and ends the wait.
        peer.expect(Method::Restored);
        peer.event(Some(event(EventKind::Prepare)));
        peer.done();
        peer.expect(answer(Step::Prepare, None));
        peer.done();
        peer.expect(Method::NextEvent);
        peer.event(Some(event(EventKind::Freeze)));
        peer.expect(answer(Step::Freeze, Some("busy")));
        peer.done();
        peer.expect(Method::NextEvent);
        let mut cancel = event(EventKind::Cancel);
        cancel.reason = Some("ä".repeat(1000));
        peer.event(Some(cancel));
        peer.expect(Method::Detach);
        peer.done();
        peer.expect_end();
    });
    let workload = register(&fake);
    let mut event = blank();
    let at = &raw mut event;
    unsafe {
        assert!(luo_workload_fd(workload) >= 0);
        assert_eq!(luo_workload_next_event(workload, 0, at), 0);
        assert_eq!(luo_workload_restored(workload), 0);
        assert_eq!(luo_workload_next_event(workload, 0, at), 1);
        assert_eq!((event.kind, event.deadline_ms), (LUO_EVENT_PREPARE, 5000));
        assert_eq!(luo_workload_ready(workload, at), 0);
        assert_eq!(luo_workload_next_event(workload, -1, at), 1);
        assert_eq!(event.kind, LUO_EVENT_FREEZE);
        assert_eq!(luo_workload_veto(workload, at, c"busy".as_ptr()), 0);
        assert_eq!(luo_workload_next_event(workload, 60_000, at), 1);
        assert_eq!(event.kind, LUO_EVENT_CANCEL);
        // Cut where a character ends.
        let reason = CStr::from_ptr(event.reason.as_ptr()).to_str().unwrap();
        assert_eq!(reason, "ä".repeat(512));
        assert_eq!(luo_workload_ready(workload, at), ESTALE);
        event.kind = 99;
        assert_eq!(luo_workload_ready(workload, at), EINVAL);
        event.kind = LUO_EVENT_PREPARE;
        event.update.fill(1);
        assert_eq!(luo_workload_ready(workload, at), EINVAL);
        assert_eq!(luo_workload_detach(workload), 0);
        luo_workload_free(workload);
    }
    fake.done();
}

#[test]
fn an_id_that_does_not_fit_is_refused() {
    let fake = Fake::client(|mut peer| {
        first(&mut peer);
        peer.expect(Method::NextEvent);
        let mut long = event(EventKind::Prepare);
        long.update = "x".repeat(LUO_UPDATE_SIZE);
        peer.event(Some(long));
    });
    let workload = register(&fake);
    let mut event = blank();
    let result = unsafe { luo_workload_next_event(workload, -1, &raw mut event) };
    assert_eq!((result, event.kind), (EPROTO, 0));
    unsafe { luo_workload_free(workload) };
    fake.done();
}

#[test]
fn the_agent_is_lost_and_comes_back() {
    let dies = |mut peer: Peer| {
        first(&mut peer);
        peer.expect(Method::CreateSession { name: "s".into() });
        peer.reply_fd(json!({}), file());
        peer.expect(Method::Restored);
    };
    let hangs = |mut peer: Peer| {
        first(&mut peer);
        peer.expect_fd(Method::AttachSession { name: "s".into() });
        peer.done();
        peer.expect(Method::Restored);
        peer.expect_end();
    };
    let fake = Fake::serve(paths::CLIENT, vec![Box::new(dies), Box::new(hangs)]);
    let workload = register(&fake);
    unsafe {
        taken(luo_workload_create_session(workload, c"s".as_ptr()));
        assert_eq!(luo_workload_restored(workload), ECONNRESET);
        assert_eq!(luo_workload_reconnect(workload, -1), EINVAL);
        assert_eq!(luo_workload_reconnect(workload, 60_000), 0);
        assert_eq!(luo_workload_set_times(workload, 20, -1), 0);
        assert_eq!(luo_workload_restored(workload), ETIMEDOUT);
        luo_workload_free(workload);
    }
    fake.done();
}
