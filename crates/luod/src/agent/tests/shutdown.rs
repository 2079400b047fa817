// SPDX-License-Identifier: MIT OR Apache-2.0
//! A jump through the service manager, which shuts the machine down before.

use std::time::Duration;

use luo_varlink::Outcome;
use luo_varlink::admin::Error as Refusal;

use super::*;
use crate::journal::clock::{boot_us, wall_us};
use crate::journal::notes::Begun;
use crate::manager::shutdown::Shutdown;

/// Lets time pass until something has come about.
async fn in_time(mut seen: impl FnMut() -> bool) {
    while !seen() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Lets luod ask the manager for a while how its shutdown stands.
async fn it_asks(world: &World) {
    let begun = world.kernel.asked();
    in_time(|| world.kernel.asked() >= begun + 10).await;
}

#[test]
fn a_shutdown_that_takes_its_time_is_waited_for() {
    run_fast(async {
        let (world, mut peer) = frozen_in(World::with_manager(Fake::default())).await;
        world.kernel.shuts_down(Shutdown::UnderWay);
        let agent = Rc::clone(&world.agent);
        let jump = tokio::task::spawn_local(async move { agent.jump().await });
        until(|| world.phase() == Phase::Jumping).await;
        world.agent.disconnected(&mut peer.caller);
        it_asks(&world).await;
        assert_eq!(world.phase(), Phase::Jumping);
        // At its very end nobody answers any more.
        world.kernel.shuts_down(Shutdown::Unknown);
        it_asks(&world).await;
        assert_eq!(world.phase(), Phase::Jumping);
        assert!(world.kernel.is_prepared());

        world.kernel.shuts_down(Shutdown::Over);
        let why = jump.await.unwrap();
        assert!(why.to_string().contains("the machine runs on"), "{why}");
        assert_eq!(world.phase(), Phase::Normal);
        assert!(!world.kernel.is_prepared());
        assert!(world.kernel.held().contains("db.ram"));
    });
}

/// What it waits for is not luod's, and whoever looks is told so.
#[test]
fn a_shutdown_that_takes_too_long_is_told_of() {
    run(async {
        let ignore = "ignore = [\"jump-shutdown\"]";
        let more = format!("jump = \"systemctl\"\nkernel_deadline = 1|{ignore}");
        let (world, _peer) = frozen_in(World::with(OPEN, Fake::default(), &more)).await;
        world.kernel.shuts_down(Shutdown::UnderWay);
        let agent = Rc::clone(&world.agent);
        let jump = tokio::task::spawn_local(async move { agent.jump().await });
        let work = || world.agent.at_work.told().map(|work| work.what);
        let shutdown = "the shutdown by the service manager";
        until(|| work().as_deref() == Some(shutdown)).await;
        assert_eq!(world.agent.status().await.warnings, None);
        until(|| world.agent.at_work.late().is_some()).await;
        let warnings = world.agent.status().await.warnings.unwrap();
        let found = warnings.iter().any(|warning| {
            warning.contains("takes its time") && warning.contains("systemctl list-jobs")
        });
        assert!(found, "{warnings:?}");
        jump.abort();
        let _ = jump.await;
    });
}

#[test]
fn a_manager_that_refuses_undoes_all() {
    run_fast(async {
        let (world, _peer) = frozen_in(World::with_manager(Fake::default())).await;
        let why = world.agent.jump().await;
        assert!(matches!(why, Refusal::Kernel { .. }), "{why}");
        assert_eq!(world.phase(), Phase::Normal);
        assert!(!world.agent.notes.is_jumping().unwrap());
    });
}

/// An update that began ten seconds ago. The machine's clock was set back by an hour since.
fn begun() -> Begun {
    Begun {
        id: "u-1".into(),
        began_us: Some(wall_us() + 3_600_000_000),
        boot_us: Some(boot_us() - 10_000_000),
        report: None,
    }
}

/// luod is killed in the shutdown, and started again with what it has noted.
async fn restarted(shutdown: Shutdown) -> World {
    let (before, _peer) = frozen_in(World::with_manager(Fake::default())).await;
    before.kernel.shuts_down(Shutdown::UnderWay);
    let agent = Rc::clone(&before.agent);
    let jump = tokio::task::spawn_local(async move { agent.jump().await });
    until(|| before.agent.notes.is_jumping().unwrap()).await;
    jump.abort();
    let _ = jump.await;
    before.kernel.shuts_down(shutdown);

    let world = World::with_manager(before.kernel.clone());
    let agent = &world.agent;
    agent.notes.set_update(Some(&begun())).unwrap();
    agent.notes.set_jumping().unwrap();
    agent.start(Vec::new()).await.unwrap();
    world
}

#[test]
fn luod_that_is_killed_in_a_shutdown_does_not_cancel_the_jump() {
    run_fast(async {
        let world = restarted(Shutdown::UnderWay).await;
        it_asks(&world).await;
        assert_eq!(world.phase(), Phase::Jumping);
        assert!(world.kernel.is_prepared(), "it was cancelled");
        let mut peer = Peer::new(7, 990);
        let refused = peer.register(&world, "db", &[]).unwrap_err();
        assert!(matches!(refused, Error::UpdateUnderWay { .. }), "{refused}");

        // The shutdown is off, after all.
        world.kernel.shuts_down(Shutdown::Over);
        in_time(|| world.phase() == Phase::Normal).await;
        assert!(!world.kernel.is_prepared());
        let newest = world.agent.history().last(1).unwrap().updates.remove(0);
        assert_eq!(newest.outcome, Outcome::Cancelled);
    });
}

#[test]
fn luod_that_is_killed_and_finds_no_shutdown_cancels() {
    run_fast(async {
        let world = restarted(Shutdown::Over).await;
        assert_eq!(world.phase(), Phase::Normal);
        assert!(!world.kernel.is_prepared());
        assert!(!world.agent.notes.is_jumping().unwrap());
        let newest = world.agent.history().last(1).unwrap().updates.remove(0);
        assert_eq!(newest.reason.as_deref(), Some("luod was restarted"));
        let took = newest.took_us.unwrap();
        assert!((10_000_000..100_000_000).contains(&took), "{took} us");
    });
}
