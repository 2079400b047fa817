// SPDX-License-Identifier: MIT OR Apache-2.0
//! An agent that is not there, dies, hangs, and comes back.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use luo_client::agent::{Agent, Error, EventKind, Status};
use luo_client::{Session, Token};
use luo_varlink::client::{Declared, Error as Refusal, Method};
use luo_varlink::{Report, Step, paths};

use crate::fake::{Fake, Peer, Script, event};
use crate::workload::{contents, file, name};

/// Long for a machine, and never reached by a test that passes.
const LONG: Duration = Duration::from_secs(60);

fn fine() -> Declared {
    Declared {
        report: Report {
            ok: true,
            checks: vec![],
        },
    }
}

#[test]
fn nobody_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let error = Agent::connect_to(folder.path()).unwrap_err();
    assert_eq!(error.errno(), 2);
    assert!(error.to_string().contains("is luod running?"), "{error}");
    // A socket that its owner has left behind.
    drop(UnixListener::bind(folder.path().join(paths::STATUS)).unwrap());
    let error = Status::connect_to(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NoAgent { .. }), "{error}");
    assert_eq!(error.errno(), 111);
}

#[test]
fn an_agent_that_dies_is_noticed_at_once() {
    let fake = Fake::client(|mut peer| {
        peer.register("cache");
        peer.expect(Method::NextEvent);
        // It is dropped here.
    });
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    assert!(matches!(workload.next_event(), Err(Error::AgentGone)));
    assert!(matches!(workload.try_event(), Err(Error::AgentGone)));
    assert!(matches!(workload.restored(), Err(Error::AgentGone)));
    fake.done();
}

#[test]
fn an_agent_that_dies_within_a_reply_is_noticed() {
    let fake = Fake::client(|mut peer| {
        peer.register("cache");
        peer.expect(Method::Restored);
        assert!(peer.raw(br#"{"parameters":"#));
    });
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    assert!(matches!(workload.restored(), Err(Error::AgentGone)));
    fake.done();
}

#[test]
fn an_agent_that_hangs_is_given_up() {
    let fake = Fake::client(|mut peer| {
        peer.register("cache");
        peer.expect(Method::Restored);
        // No answer. The client hangs up.
        peer.expect_end();
    });
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    workload.set_timeout(Some(Duration::from_millis(20)));
    match workload.restored() {
        Err(Error::TimedOut { call }) => assert_eq!(call, "Restored"),
        other => panic!("{other:?}"),
    }
    // A late answer would not be taken for that to another call.
    assert!(matches!(workload.restored(), Err(Error::AgentGone)));
    fake.done();
}

#[test]
fn patience_bounds_a_claim() {
    let fake = Fake::client(|mut peer| {
        peer.register("cache");
        peer.expect(Method::Claim {
            session: "s".into(),
        });
        peer.expect_end();
    });
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    workload.set_patience(Some(Duration::from_millis(20)));
    let error = workload.claim(&name("s")).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    fake.done();
}

/// The agent of a first life: it makes session s1, and dies while it prepares.
fn first_life(mut peer: Peer) {
    peer.register("cache");
    peer.expect(Method::CreateSession { name: "s1".into() });
    peer.reply_fd(serde_json::json!({}), file("s1"));
    peer.expect_fd(Method::AttachSession { name: "s2".into() });
    peer.done();
    peer.expect_fd(Method::Declare {
        session: "s1".into(),
        token: 7,
    });
    peer.reply(fine());
    peer.expect(Method::DropSession { name: "s2".into() });
    peer.done();
    peer.expect(Method::NextEvent);
    peer.event(Some(event(EventKind::Prepare)));
}

/// One that still thinks that the workload is connected.
fn confused(mut peer: Peer) {
    let (call, _) = peer.next::<Method>().unwrap();
    assert!(matches!(call.method(), Method::Register { .. }));
    peer.refuse(Refusal::WorkloadTaken {
        workload: "cache".into(),
    });
}

/// The next one gets all that is held, and nothing else.
fn second_life(mut peer: Peer) {
    peer.register("cache");
    let session = peer.expect_fd(Method::AttachSession { name: "s1".into() });
    assert_eq!(contents(session), "s1");
    peer.done();
    let declared = peer.expect_fd(Method::Declare {
        session: "s1".into(),
        token: 7,
    });
    assert_eq!(contents(declared), "seven");
    peer.reply(fine());
    peer.expect(Method::NextEvent);
    peer.event(Some(event(EventKind::Cancel)));
    peer.expect_end();
}

#[test]
fn a_workload_gives_the_next_agent_what_it_holds() {
    let scripts: Vec<Script> = vec![
        Box::new(first_life),
        Box::new(|_dies_at_once| {}),
        Box::new(confused),
        Box::new(second_life),
    ];
    let fake = Fake::serve(paths::CLIENT, scripts);
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    drop(workload.create_session(&name("s1")).unwrap());
    let own = Session::from_fd(file("s2").into());
    workload.attach(&name("s2"), &own).unwrap();
    workload
        .declare(&name("s1"), Token(7), file("seven"))
        .unwrap();
    workload.drop_session(&name("s2")).unwrap();
    let prepare = workload.next_event().unwrap();
    assert!(matches!(workload.ready(&prepare), Err(Error::AgentGone)));
    workload.reconnect(LONG).unwrap();
    assert_eq!(workload.next_event().unwrap().kind, EventKind::Cancel);
    drop(workload);
    fake.done();
}

#[test]
fn a_call_is_made_again_with_the_next_agent() {
    let scripts: Vec<Script> = vec![
        Box::new(|mut peer| {
            peer.register("cache");
            peer.expect(Method::Restored);
        }),
        Box::new(|mut peer| {
            peer.register("cache");
            peer.expect(Method::Restored);
            peer.done();
            peer.expect(Method::Restored);
            peer.refuse(Refusal::NotRegistered);
            peer.expect(Method::Restored);
        }),
    ];
    let fake = Fake::serve(paths::CLIENT, scripts);
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    workload
        .surely(LONG, |workload| workload.restored())
        .unwrap();
    // A refusal is an answer.
    let refused = workload.surely(LONG, |workload| workload.restored());
    let refused = refused.unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused}");
    // There is no third agent.
    let within = Duration::from_millis(30);
    let lost = workload.surely(within, |workload| workload.restored());
    let lost = lost.unwrap_err();
    assert!(matches!(lost, Error::NoAgent { .. }), "{lost}");
    fake.done();
}

/// The notes of the next one may be damaged, so it is told what the last one was told.
#[test]
fn the_next_agent_is_told_that_a_workload_serves() {
    let scripts: Vec<Script> = vec![
        Box::new(|mut peer| {
            peer.register("cache");
            peer.expect(Method::Restored);
            peer.done();
        }),
        // It is cancelling what the last one has begun.
        Box::new(|mut peer| {
            let (call, _) = peer.next::<Method>().unwrap();
            assert!(matches!(call.method(), Method::Register { .. }));
            peer.refuse(Refusal::UpdateUnderWay {
                phase: luo_varlink::Phase::Cancelling,
            });
        }),
        Box::new(|mut peer| {
            peer.register_in("cache", luo_varlink::Phase::Updated);
            peer.expect(Method::Restored);
            peer.done();
        }),
        // For this one the update ends just then.
        Box::new(|mut peer| {
            peer.register_in("cache", luo_varlink::Phase::Updated);
            peer.expect(Method::Restored);
            let reason = "it is over".into();
            peer.refuse(Refusal::NotExpected { reason });
        }),
        // Here it is over.
        Box::new(|mut peer| {
            peer.register("cache");
            peer.expect(Method::NextEvent);
            peer.event(Some(event(EventKind::Prepare)));
        }),
    ];
    let fake = Fake::serve(paths::CLIENT, scripts);
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    workload.restored().unwrap();
    assert!(workload.next_event().is_err());
    for _next in 0..3 {
        workload.reconnect(LONG).unwrap();
    }
    assert_eq!(workload.next_event().unwrap().kind, EventKind::Prepare);
    fake.done();
}

/// What was taken back is with the program alone, whatever the kernel hangs in.
#[test]
fn a_call_is_made_again_when_the_kernel_was_busy() {
    let kernel = |errno: rustix::io::Errno| Refusal::Kernel {
        call: "FINISH".into(),
        errno: errno.raw_os_error(),
        message: "it has not come back".into(),
    };
    let finish = || Method::FinishSession { name: "s1".into() };
    let fake = Fake::client(move |mut peer| {
        peer.register("cache");
        for errno in [rustix::io::Errno::TIMEDOUT, rustix::io::Errno::BUSY] {
            peer.expect(finish());
            peer.refuse(kernel(errno));
        }
        peer.expect(finish());
        peer.done();
        peer.expect(finish());
        peer.refuse(kernel(rustix::io::Errno::IO));
    });
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    let mut finish =
        |within| workload.surely(within, |workload| workload.finish_session(&name("s1")));
    // The time is the agent's alone.
    finish(Duration::ZERO).unwrap();
    let refused = finish(LONG).unwrap_err();
    assert!(!refused.is_busy() && matches!(refused, Error::Refused(_)));
    fake.done();
}

#[test]
fn attempts_to_reconnect_end() {
    let fake = Fake::client(|mut peer| peer.register("cache"));
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    fake.done();
    let error = workload.reconnect(Duration::from_millis(30)).unwrap_err();
    assert!(matches!(error, Error::NoAgent { .. }), "{error}");
}

/// Each of its answers comes in time, and all together do not.
#[test]
fn an_agent_that_is_slow_is_not_waited_for_longer_than_asked() {
    let sessions = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];
    let scripts: Vec<Script> = vec![
        Box::new(move |mut peer| {
            peer.register("cache");
            for name in sessions {
                peer.expect_fd(Method::AttachSession { name: name.into() });
                peer.done();
            }
        }),
        Box::new(move |mut peer| {
            peer.register("cache");
            while peer.next::<Method>().is_some() {
                std::thread::sleep(Duration::from_millis(700));
                peer.raw(b"{}\0");
            }
        }),
    ];
    let fake = Fake::serve(paths::CLIENT, scripts);
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    for session in sessions {
        let own = Session::from_fd(file(session).into());
        workload.attach(&name(session), &own).unwrap();
    }
    let begun = Instant::now();
    let error = workload.reconnect(Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(4));
    drop(workload);
    fake.done();
}

/// An agent that asks for a freeze, does not take the answer, and dies when it has asked
/// for the next one.
fn dies_in_an_update(mut peer: Peer) {
    peer.register("cache");
    peer.expect(Method::NextEvent);
    peer.event(Some(event(EventKind::Prepare)));
    peer.expect(answer(Step::Prepare, Some("busy")));
    peer.done();
    peer.expect(Method::NextEvent);
    peer.event(Some(event(EventKind::Cancel)));
    peer.expect(Method::NextEvent);
    peer.event(Some(event(EventKind::Prepare)));
    peer.expect(answer(Step::Prepare, None));
    let reason = "it was late".into();
    peer.refuse(Refusal::NotExpected { reason });
    peer.expect(Method::NextEvent);
    peer.event(Some(event(EventKind::Freeze)));
    peer.expect(answer(Step::Freeze, None));
    peer.done();
    peer.expect(Method::NextEvent);
}

fn answer(step: Step, veto: Option<&str>) -> Method {
    Method::Answer {
        update: "u1".into(),
        step,
        veto: veto.map(Into::into),
    }
}

/// The next one asks for one thing, and is gone for good.
fn asks_once(mut peer: Peer) {
    peer.register("cache");
    peer.expect(Method::NextEvent);
    peer.event(Some(event(EventKind::Prepare)));
    peer.expect(answer(Step::Prepare, None));
    peer.done();
}

#[test]
fn taking_part_goes_on_when_the_agent_is_lost() {
    let scripts: Vec<Script> = vec![Box::new(dies_in_an_update), Box::new(asks_once)];
    let fake = Fake::serve(paths::CLIENT, scripts);
    let agent = Agent::connect_to(fake.folder()).unwrap();
    let mut workload = agent.register("cache", &[]).unwrap();
    let mut told = Vec::new();
    let mut vetoes = vec!["busy".to_owned()];
    let error = workload.take_part(Duration::from_millis(100), |event| {
        told.push((event.kind, event.reason.is_some()));
        vetoes.pop().map_or(Ok(()), Err)
    });
    assert!(
        matches!(
            error,
            Error::NoAgent { .. } | Error::AgentGone | Error::TimedOut { .. }
        ),
        "{error}"
    );
    assert_eq!(
        told,
        [
            (EventKind::Prepare, false),
            (EventKind::Cancel, false),
            (EventKind::Prepare, false),
            (EventKind::Freeze, false),
            // The agent was lost while this workload stood still,
            (EventKind::Cancel, true),
            // and again while it was prepared.
            (EventKind::Prepare, false),
            (EventKind::Cancel, true),
        ]
    );
    fake.done();
}
