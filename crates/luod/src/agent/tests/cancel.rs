// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cancels, and those that come together.

use luo_varlink::EventKind;
use luo_varlink::admin::Error as Refusal;

use super::*;

#[test]
fn a_cancel_is_taken_until_it_is_decided_that_the_machine_jumps() {
    run(async {
        let (world, mut peer) = frozen().await;
        let gate = world.hold().await;
        let agent = Rc::clone(&world.agent);
        let jump = tokio::task::spawn_local(async move { agent.jump().await });
        until(|| world.phase() == Phase::Jumping).await;
        let (cancelled, why, ()) =
            tokio::join!(world.agent.cancel(Some("wait")), jump, async { drop(gate) });
        assert!(cancelled.is_ok(), "{cancelled:?}");
        assert!(matches!(why.unwrap(), Refusal::Cancelled { .. }));
        assert_eq!(world.kernel.jumps(), 0);
        assert_eq!(peer.heard().await.kind, EventKind::Cancel);
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn a_cancel_that_was_sent_and_not_read_counts() {
    run(async {
        let (world, _peer) = frozen().await;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let line = Rc::new(tokio::net::UnixStream::from_std(ours).unwrap());
        let agent = Rc::clone(&world.agent);
        agent.unread.watch(&line);
        let reader = tokio::task::spawn_local(async move {
            line.readable().await.unwrap();
            agent.call_off(None).unwrap();
            let _ = line.try_read(&mut [0; 64]);
            line
        });
        world.kernel.writes_late(theirs);
        let why = world.agent.jump().await;
        assert!(matches!(why, Refusal::Cancelled { .. }), "{why}");
        assert_eq!(world.kernel.jumps(), 0);
        reader.await.unwrap();
    });
}

#[test]
fn a_cancel_that_comes_too_late_is_told_so() {
    run_fast(async {
        let (world, _peer) = frozen_in(World::with_manager(Fake::default())).await;
        world
            .kernel
            .shuts_down(crate::manager::shutdown::Shutdown::UnderWay);
        let agent = Rc::clone(&world.agent);
        let jump = tokio::task::spawn_local(async move { agent.jump().await });
        until(|| world.kernel.jumps() == 1).await;
        let refused = world.agent.cancel(None).await.unwrap_err();
        assert!(matches!(refused, Refusal::Illegal { .. }), "{refused}");
        jump.abort();
    });
}

#[test]
fn administrators_that_come_together_do_not_wait_for_each_other_for_ever() {
    run(async {
        let (world, mut peer) = prepared().await;
        let agent = &world.agent;
        let gate = world.hold().await;
        let (one, two, three, four, ()) = tokio::join!(
            agent.cancel(None),
            agent.cancel(Some("me too")),
            agent.prepare(&world.target),
            agent.freeze(),
            async { drop(gate) },
        );
        assert!(one.is_ok());
        for refused in [two.err(), three.err(), four.err()] {
            assert!(
                matches!(refused, Some(Refusal::Illegal { .. })),
                "{refused:?}"
            );
        }
        assert_eq!(peer.heard().await.kind, EventKind::Cancel);
        assert_eq!(world.phase(), Phase::Normal);
    });
}

#[test]
fn who_waits_for_a_cancel_does_not_wait_for_the_next_update() {
    run(async {
        let (world, mut peer) = with_one().await;
        // Preparing, until somebody answers.
        let first = prepares(&world);
        assert_eq!(peer.heard().await.kind, EventKind::Prepare);
        let agent = Rc::clone(&world.agent);
        let target = world.target.clone();
        // Begins the next one at the moment the first is over.
        let next = tokio::task::spawn_local(async move {
            loop {
                let changed = agent.changed.notified();
                if agent.state.borrow().phase.0 == Phase::Normal {
                    return agent.prepare(&target).await;
                }
                changed.await;
            }
        });
        tokio::task::yield_now().await;
        world.agent.cancel(None).await.unwrap();
        assert!(first.await.unwrap().is_err());
        until(|| world.phase() == Phase::Preparing).await;
        world.agent.cancel(None).await.unwrap();
        assert!(next.await.unwrap().is_err());
    });
}

#[test]
fn what_is_told_to_end_ends_in_every_phase() {
    run(async {
        let (world, _peer) = with_one().await;
        world.agent.shut_down().await;
        let (world, _peer) = prepared().await;
        world.agent.shut_down().await;
        assert_eq!(world.phase(), Phase::Normal);
        let (world, _peer) = frozen().await;
        world.agent.shut_down().await;
        assert_eq!(world.phase(), Phase::Normal);

        let (world, mut peer) = with_one().await;
        let prepare = world.agent.prepare(&world.target);
        let end = async {
            peer.heard().await;
            world.agent.shut_down().await;
        };
        let (done, ()) = tokio::join!(prepare, end);
        assert!(matches!(done, Err(Refusal::Cancelled { .. })), "{done:?}");
    });
}

/// What a workload asks for just then would be refused, and is not a moment later. A kernel that
/// hangs keeps nobody for ever.
#[test]
fn who_comes_amid_a_cancel_waits_for_its_end() {
    run(async {
        let (world, _peer) = prepared().await;
        let agent = Rc::clone(&world.agent);
        let gate = world.hold().await;
        let cancel = tokio::task::spawn_local(async move { agent.cancel(None).await });
        until(|| world.phase() == Phase::Cancelling).await;
        let mut late = Peer::new(2, 990);
        let refused = late.register(&world, "web", &[]).unwrap_err();
        let words = refused.to_string();
        assert!(
            words.contains("(cancelling); try again when it is over"),
            "{words}"
        );
        let (_, ()) = tokio::join!(world.agent.until_cancelled(), async { drop(gate) });
        late.register(&world, "web", &[]).unwrap();
        cancel.await.unwrap().unwrap();
    });
}
