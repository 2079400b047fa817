// SPDX-License-Identifier: MIT OR Apache-2.0
//! Those who run updates and those who look.

use luo_client::agent::{Admin, Error, Status};
use luo_varlink::admin::{self, Checked, Finished, Planned, Prepared, Progress, Sessions};
use luo_varlink::status::{self, Current, History, Watched};
use luo_varlink::{
    Orchestrator, Phase, Plan, PlanStep, Report, Step, Target, TimelineEvent, TimelineKind, limits,
    paths,
};

use crate::fake::{Fake, Peer};

fn target() -> Target {
    Target {
        image: Some("/boot/vmlinuz".into()),
        initrd: None,
        command_line: Some("quiet".into()),
        ..Target::default()
    }
}

fn line(kind: TimelineKind) -> TimelineEvent {
    TimelineEvent {
        update: "u1".into(),
        time_us: 1,
        phase: Phase::Preparing,
        kind,
        workload: None,
        took_us: Some(2),
        detail: None,
    }
}

fn plan() -> Plan {
    Plan {
        steps: vec![PlanStep {
            step: Step::Prepare,
            workloads: vec!["cache".into()],
        }],
        obstacles: vec![],
    }
}

fn fine() -> Report {
    Report {
        ok: true,
        checks: vec![],
    }
}

fn serve(socket: &str, script: impl FnOnce(Peer) + Send + 'static) -> Fake {
    Fake::serve(socket, vec![Box::new(script)])
}

#[test]
fn an_administrator_goes_step_by_step() {
    use admin::Method;
    let fake = serve(paths::ADMIN, |mut peer| {
        peer.expect(Method::Plan);
        peer.reply(Planned { plan: plan() });
        peer.expect(Method::Check { target: target() });
        peer.reply(Checked { report: fine() });
        peer.expect(Method::Prepare { target: target() });
        peer.reply(Prepared {
            update: "u1".into(),
            warnings: None,
        });
        peer.expect(Method::Freeze);
        peer.done();
        peer.expect(Method::Kexec);
        peer.refuse(admin::Error::Kernel {
            call: "kexec".into(),
            errno: 16,
            message: "busy".into(),
        });
        peer.expect(Method::Cancel {
            reason: Some("lunch".into()),
            force: None,
        });
        peer.done();
        peer.expect(Method::Cancel {
            reason: None,
            force: None,
        });
        peer.refuse(admin::Error::Illegal {
            event: "cancel".into(),
            phase: Phase::Normal,
        });
        peer.expect(Method::Cancel {
            reason: Some("ä".repeat(limits::MAX_REASON / 2)),
            force: None,
        });
        peer.done();
        peer.expect(Method::Finish {
            release_unclaimed: true,
        });
        peer.reply(Finished {
            released: vec!["s1".into()],
        });
        peer.expect(Method::Release {
            session: "s2".into(),
            force: None,
        });
        peer.done();
        peer.expect(Method::ListSessions);
        peer.reply(Sessions { sessions: vec![] });
    });
    let mut admin = Admin::connect_to(fake.folder()).unwrap();
    assert_eq!(admin.plan().unwrap(), plan());
    assert_eq!(admin.check(&target()).unwrap(), fine());
    assert_eq!(admin.prepare(&target()).unwrap(), "u1");
    admin.freeze().unwrap();
    let error = admin.kexec().unwrap_err();
    assert_eq!(error.errno(), 16);
    admin.cancel(Some("lunch")).unwrap();
    let error = admin.cancel(None).unwrap_err();
    assert!(
        matches!(error, Error::Refused(admin::Error::Illegal { .. })),
        "{error}"
    );
    admin.cancel(Some(&"ä".repeat(100_000))).unwrap();
    assert_eq!(admin.finish(true).unwrap(), ["s1"]);
    admin.release("s2").unwrap();
    assert_eq!(admin.sessions().unwrap(), []);
    fake.done();
}

#[test]
fn an_update_is_followed_to_its_end() {
    let veto = admin::Error::Vetoed {
        workload: "cache".into(),
        step: Step::Freeze,
        reason: "busy".into(),
    };
    let refusal = veto.clone();
    let fake = serve(paths::ADMIN, |mut peer| {
        let (call, _) = peer.next::<admin::Method>().unwrap();
        assert_eq!(
            call.method(),
            &admin::Method::Update {
                target: target(),
                report: None
            }
        );
        assert!(call.more());
        for kind in [TimelineKind::Phase, TimelineKind::Asked] {
            peer.reply_more(Progress { event: line(kind) });
        }
        peer.refuse(refusal);
        // The connection can be used.
        peer.expect(admin::Method::Plan);
        peer.reply(Planned { plan: plan() });
    });
    let mut admin = Admin::connect_to(fake.folder()).unwrap();
    let mut update = admin.update(&target()).unwrap();
    for kind in [TimelineKind::Phase, TimelineKind::Asked] {
        assert_eq!(update.next().unwrap().unwrap(), line(kind));
    }
    match update.next() {
        Some(Err(Error::Refused(found))) => assert_eq!(found, veto),
        other => panic!("{other:?}"),
    }
    assert!(update.next().is_none());
    drop(update);
    assert_eq!(admin.plan().unwrap(), plan());
    fake.done();
}

#[test]
fn who_jumps_loses_the_connection() {
    let fake = serve(paths::ADMIN, |mut peer| {
        peer.next::<admin::Method>().unwrap();
        peer.reply_more(Progress {
            event: line(TimelineKind::Phase),
        });
    });
    let mut admin = Admin::connect_to(fake.folder()).unwrap();
    let all: Vec<_> = admin.update(&target()).unwrap().collect();
    assert_eq!(all.len(), 2);
    assert!(all[0].is_ok());
    assert!(matches!(all[1], Err(Error::AgentGone)));
    fake.done();
}

fn status() -> luo_varlink::Status {
    luo_varlink::Status {
        phase: Phase::Normal,
        update: None,
        work: None,
        orchestrator: Orchestrator::Contract,
        kernel_state: Some("normal".into()),
        kernel_release: "7.3.4".into(),
        version: "0.1.0".into(),
        workloads: vec![],
        warnings: None,
        unreadable: None,
    }
}

#[test]
fn whoever_looks_sees() {
    use status::Method;
    let fake = serve(paths::STATUS, |mut peer| {
        peer.expect(Method::GetStatus);
        peer.reply(Current { status: status() });
        peer.expect(Method::GetHistory { most: 3 });
        peer.reply(History {
            updates: vec![],
            problems: None,
            unwritten: None,
            left_out: None,
            unsure: None,
            unreadable: None,
        });
        let (call, _) = peer.next::<Method>().unwrap();
        assert!(matches!(call.method(), Method::Watch) && call.more());
        for _ in 0..2 {
            peer.reply_more(Watched {
                event: line(TimelineKind::Phase),
            });
        }
        // A watch that is not looked at any more is hung up.
        peer.expect_end();
    });
    let mut looks = Status::connect_to(fake.folder()).unwrap();
    assert_eq!(looks.get().unwrap(), status());
    assert_eq!(looks.history(3).unwrap(), []);
    assert_eq!(
        looks
            .watch()
            .unwrap()
            .filter_map(Result::ok)
            .take(2)
            .count(),
        2
    );
    assert!(matches!(looks.get(), Err(Error::AgentGone)));
    fake.done();
}
