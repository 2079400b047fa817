// SPDX-License-Identifier: MIT OR Apache-2.0
//! All that a workload says, and what it is told.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use luo_client::agent::{Agent, Error, EventKind, Step, Workload};
use luo_client::kernel::memfd;
use luo_client::{Session, SessionName, Token};
use luo_varlink::client::{Claimed, Declared, Error as Refusal, Method, Registered};
use luo_varlink::{Check, CheckStatus, Phase, Report, limits};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::fake::{Fake, Peer, event};

pub(crate) fn name(text: &str) -> SessionName {
    SessionName::new(text).unwrap()
}

/// Something with contents, in the place of a session.
pub(crate) fn file(contents: &str) -> File {
    let mut file = memfd::create("stand-in", 0).unwrap();
    file.write_all(contents.as_bytes()).unwrap();
    file
}

pub(crate) fn contents(fd: impl Into<OwnedFd>) -> String {
    let mut file = File::from(fd.into());
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

/// A workload of an agent that goes on with a script.
fn registered_with(script: impl FnOnce(Peer) + Send + 'static) -> (Fake, Workload) {
    let fake = Fake::client(move |mut peer| {
        peer.register("cache");
        script(peer);
    });
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let workload = agent.register("cache", &[]).unwrap();
    (fake, workload)
}

fn readable(fd: impl AsFd) -> bool {
    let now = Timespec::try_from(Duration::ZERO).unwrap();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now)).unwrap() == 1
}

#[test]
fn it_registers_with_what_it_needs() {
    let fake = Fake::client(|mut peer| {
        peer.expect(Method::Register {
            workload: "web".into(),
            needs: vec!["cache".into(), "db".into()],
        });
        peer.reply(Registered {
            phase: Phase::Updated,
            claimable: vec!["web-1".into()],
        });
    });
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let workload = agent.register("web", &["cache", "db"]).unwrap();
    assert_eq!(workload.name(), "web");
    assert_eq!(workload.registered().phase, Phase::Updated);
    assert_eq!(workload.registered().claimable, ["web-1"]);
    fake.done();
}

#[test]
fn a_name_that_is_too_long_is_not_sent() {
    let long = "x".repeat(limits::MAX_WORKLOAD_NAME + 1);
    let many = vec!["db"; limits::MAX_NEEDS + 1];
    for (name, needs) in [
        (&*long, &[][..]),
        ("", &[]),
        ("web", &[&*long]),
        ("web", &many),
    ] {
        let fake = Fake::client(|mut peer| peer.expect_end());
        let agent = Agent::connect_to(fake.folder()).unwrap();
        match agent.register(name, needs) {
            Err(Error::Refused(Refusal::BadName { .. } | Refusal::TooMany { .. })) => {}
            other => panic!("{other:?}"),
        }
        fake.done();
    }
}

#[test]
fn sessions_and_files_travel_both_ways() {
    let (fake, mut workload) = registered_with(|mut peer| {
        peer.expect(Method::CreateSession { name: "s1".into() });
        peer.reply_fd(serde_json::json!({}), file("made by the agent"));
        let attached = peer.expect_fd(Method::AttachSession { name: "s2".into() });
        assert_eq!(contents(attached), "made by the workload");
        peer.done();
        let declared = peer.expect_fd(Method::Declare {
            session: "s1".into(),
            token: u64::MAX,
        });
        assert_eq!(contents(declared), "to be preserved");
        peer.reply(Declared { report: bad_news() });
        peer.expect(Method::DropSession { name: "s1".into() });
        peer.done();
        peer.expect(Method::Unregister);
        peer.done();
        peer.expect_end();
    });
    let session = workload.create_session(&name("s1")).unwrap();
    assert!(
        rustix::io::fcntl_getfd(&session)
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
    assert_eq!(contents(session), "made by the agent");
    let own = Session::from_fd(file("made by the workload").into());
    workload.attach(&name("s2"), &own).unwrap();
    let report = workload.declare(&name("s1"), Token(u64::MAX), file("to be preserved"));
    assert_eq!(report.unwrap(), bad_news());
    workload.drop_session(&name("s1")).unwrap();
    workload.unregister().unwrap();
    assert!(matches!(workload.next_event(), Err(Error::AgentGone)));
    fake.done();
}

fn bad_news() -> Report {
    Report {
        ok: false,
        checks: vec![Check {
            name: "hugetlb".into(),
            status: CheckStatus::Failed,
            found: "huge pages".into(),
            remedy: None,
        }],
    }
}

#[test]
fn it_answers_what_it_is_asked() {
    let answer = |step, veto: Option<&str>| Method::Answer {
        update: "u1".into(),
        step,
        veto: veto.map(Into::into),
    };
    let (fake, mut workload) = registered_with(move |mut peer| {
        peer.expect(Method::NextEvent);
        peer.event(Some(event(EventKind::Prepare)));
        peer.expect(answer(Step::Prepare, None));
        peer.done();
        peer.expect(Method::NextEvent);
        peer.event(Some(event(EventKind::Freeze)));
        peer.expect(answer(Step::Freeze, Some("busy")));
        peer.done();
        peer.expect(Method::NextEvent);
        peer.event(Some(event(EventKind::Cancel)));
        peer.expect_end();
    });
    let prepare = workload.next_event().unwrap();
    assert_eq!(prepare, event(EventKind::Prepare));
    workload.ready(&prepare).unwrap();
    let freeze = workload.next_event().unwrap();
    assert_eq!(freeze.kind, EventKind::Freeze);
    workload.veto(&freeze, "busy").unwrap();
    let cancel = workload.next_event().unwrap();
    assert_eq!(cancel.kind, EventKind::Cancel);
    let refused = workload.ready(&cancel);
    assert!(matches!(
        refused,
        Err(Error::Refused(Refusal::NotExpected { .. }))
    ));
    drop(workload);
    fake.done();
}

#[test]
fn a_long_reason_is_cut_where_a_character_ends() {
    let (fake, mut workload) = registered_with(|mut peer| {
        peer.expect(Method::Answer {
            update: "u1".into(),
            step: Step::Prepare,
            veto: Some("x".to_string() + &"ä".repeat((limits::MAX_REASON - 1) / 2)),
        });
        peer.done();
    });
    let reason = "x".to_string() + &"ä".repeat(100_000);
    workload.veto(&event(EventKind::Prepare), &reason).unwrap();
    fake.done();
}

#[test]
fn it_leaves_and_takes_back() {
    let (fake, mut workload) = registered_with(|mut peer| {
        peer.expect(Method::Claim {
            session: "s1".into(),
        });
        peer.reply_fd(Claimed { incoming: true }, file("from the previous kernel"));
        peer.expect(Method::Claim {
            session: "s2".into(),
        });
        peer.reply_fd(Claimed { incoming: false }, file("from custody"));
        peer.expect(Method::Restored);
        peer.done();
        peer.expect(Method::FinishSession { name: "s1".into() });
        peer.done();
        peer.expect(Method::Detach);
        peer.done();
        peer.expect_end();
    });
    let first = workload.claim(&name("s1")).unwrap();
    assert!(first.incoming);
    assert_eq!(contents(first.session), "from the previous kernel");
    let second = workload.claim(&name("s2")).unwrap();
    assert!(!second.incoming);
    workload.restored().unwrap();
    workload.finish_session(&name("s1")).unwrap();
    workload.detach().unwrap();
    assert!(matches!(workload.restored(), Err(Error::AgentGone)));
    fake.done();
}

/// The agent itself has a deadline for what the kernel takes, and it is longer than that of an
/// answer that waits for nobody.
#[test]
fn who_finishes_waits_for_the_kernel() {
    let (fake, mut workload) = registered_with(|mut peer| {
        peer.expect(Method::FinishSession { name: "s1".into() });
        std::thread::sleep(Duration::from_millis(200));
        peer.done();
        peer.expect(Method::Restored);
        peer.done();
    });
    workload.set_timeout(Some(Duration::from_millis(50)));
    workload.finish_session(&name("s1")).unwrap();
    workload.set_timeout(None);
    workload.restored().unwrap();
    fake.done();
}

#[test]
fn a_refusal_changes_nothing() {
    let refusals = [
        (
            Refusal::Denied {
                reason: "no".into(),
            },
            libc_number("EACCES"),
        ),
        (
            Refusal::BadName {
                reason: "no".into(),
            },
            libc_number("EINVAL"),
        ),
        (
            Refusal::NoSuchSession {
                session: "s".into(),
            },
            libc_number("ENOENT"),
        ),
        (
            Refusal::TooMany {
                limit: "sessions".into(),
            },
            libc_number("EDQUOT"),
        ),
        (kernel_refusal(28), 28),
        (kernel_refusal(-1), libc_number("EIO")),
    ];
    let sent = refusals.clone();
    let (fake, mut workload) = registered_with(move |mut peer| {
        for (refusal, _) in sent {
            peer.expect(Method::CreateSession { name: "s".into() });
            peer.refuse(refusal);
        }
        peer.expect(Method::CreateSession { name: "s".into() });
        peer.reply_fd(serde_json::json!({}), file("at last"));
    });
    for (refusal, number) in refusals {
        let error = workload.create_session(&name("s")).unwrap_err();
        assert_eq!(error.errno(), number);
        match error {
            Error::Refused(found) => assert_eq!(found, refusal),
            other => panic!("{other}"),
        }
    }
    assert_eq!(
        contents(workload.create_session(&name("s")).unwrap()),
        "at last"
    );
    fake.done();
}

fn kernel_refusal(errno: i32) -> Refusal {
    Refusal::Kernel {
        call: "CREATE_SESSION".into(),
        errno,
        message: "no".into(),
    }
}

fn libc_number(symbol: &str) -> i32 {
    match symbol {
        "EACCES" => 13,
        "EDQUOT" => 122,
        "EINVAL" => 22,
        "EIO" => 5,
        "ENOENT" => 2,
        other => panic!("{other}"),
    }
}

#[test]
fn names_that_are_no_text_are_not_sent() {
    let (fake, mut workload) = registered_with(|mut peer| peer.expect_end());
    let odd = SessionName::new([0xff, 0xfe]).unwrap();
    let refused = workload.create_session(&odd);
    assert!(matches!(
        refused,
        Err(Error::Refused(Refusal::BadName { .. }))
    ));
    drop(workload);
    fake.done();
}

#[test]
fn an_event_loop_needs_the_descriptor_only() {
    let (fake, mut workload) = registered_with(|mut peer| {
        peer.expect(Method::NextEvent);
        // Another call ends the wait, and something has happened just before.
        peer.expect(Method::CreateSession { name: "s1".into() });
        peer.event(Some(event(EventKind::Prepare)));
        peer.reply_fd(serde_json::json!({}), file("s1"));
        peer.expect(Method::NextEvent);
        // Here nothing has happened.
        peer.expect(Method::DropSession { name: "s1".into() });
        peer.event(None);
        peer.done();
        peer.expect(Method::NextEvent);
        peer.event(Some(event(EventKind::Cancel)));
        peer.expect_end();
    });
    assert_eq!(workload.try_event().unwrap(), None);
    assert!(!readable(&workload));
    assert_eq!(workload.try_event().unwrap(), None);
    let session = workload.create_session(&name("s1")).unwrap();
    assert_eq!(contents(session), "s1");
    assert_eq!(
        workload.try_event().unwrap(),
        Some(event(EventKind::Prepare))
    );
    assert_eq!(workload.try_event().unwrap(), None);
    workload.drop_session(&name("s1")).unwrap();
    workload.request_event().unwrap();
    poll(&mut [PollFd::new(&workload, PollFlags::IN)], None).unwrap();
    assert_eq!(
        workload.try_event().unwrap(),
        Some(event(EventKind::Cancel))
    );
    drop(workload);
    fake.done();
}

#[test]
fn a_wait_that_is_over_can_be_taken_up_again() {
    let (go, waits) = std::sync::mpsc::channel::<()>();
    let (fake, mut workload) = registered_with(move |mut peer| {
        peer.expect(Method::NextEvent);
        waits.recv().unwrap();
        // In two pieces, one after the other.
        assert!(peer.raw(br#"{"parameters":{"event":{"kind":"freeze","#));
        waits.recv().unwrap();
        assert!(peer.raw(b"\"update\":\"u1\",\"deadline_ms\":5000,\"reason\":null}}}\0"));
        peer.expect_end();
    });
    let moment = Duration::from_millis(1);
    assert_eq!(workload.next_event_within(moment).unwrap(), None);
    go.send(()).unwrap();
    poll(&mut [PollFd::new(&workload, PollFlags::IN)], None).unwrap();
    assert_eq!(workload.next_event_within(moment).unwrap(), None);
    go.send(()).unwrap();
    assert_eq!(workload.next_event().unwrap(), event(EventKind::Freeze));
    drop(workload);
    fake.done();
}
