// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a program leaves behind that runs once.

use std::time::Duration;

use luo_varlink::{Outcome, WorkloadState};

use super::*;

/// A world in which a workload has left its session while no update was under way.
async fn parked() -> World {
    let (world, mut peer) = with_one().await;
    world.agent.detach(&mut peer.caller).unwrap();
    world
}

fn state(world: &World) -> Option<WorkloadState> {
    let state = world.agent.state.borrow();
    state.workloads.get("db").map(|workload| workload.state)
}

/// The record that it leaves.
async fn frozen_record() -> Record {
    let world = parked().await;
    world.agent.prepare(&world.target).await.unwrap();
    world.agent.freeze().await.unwrap();
    Record::decode(&world.kernel.record()).unwrap()
}

#[test]
fn it_goes_through_updates_and_nobody_waits_for_it() {
    run_fast(async {
        let record = frozen_record().await;
        assert_eq!(record.participants[0].parked, ["db.ram"]);
        let kernel = Fake::with_incoming(&["db.ram"]);
        let world = World::with(OPEN, kernel, "restore_deadline = 5|");
        let agent = &world.agent;
        agent.begin_restore(record, Progress::default());
        agent.watch_the_deadline();
        agent.end_if_over();
        assert_eq!(world.phase(), Phase::Normal, "there is nobody to wait for");
        let newest = agent.history().last(1).unwrap().updates.remove(0);
        assert_eq!(newest.outcome, Outcome::Completed);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(world.kernel.incoming().contains("db.ram"), "it is kept");
        assert!(agent.plan().obstacles.is_empty());

        // The next update has it, too.
        agent.prepare(&world.target).await.unwrap();
        agent.freeze().await.unwrap();
        let record = Record::decode(&world.kernel.record()).unwrap();
        assert_eq!(record.participants[0].parked, ["db.ram"]);
        agent.cancel(None).await.unwrap();

        let mut peer = Peer::new(9, 991);
        let refused = peer.register(&world, "db", &[]).unwrap_err();
        assert!(matches!(refused, Error::Denied { .. }), "{refused}");
        let mut peer = Peer::new(10, 990);
        peer.register(&world, "db", &[]).unwrap();
        let (claimed, _) = agent.claim(&peer.caller, "db.ram").await.unwrap();
        assert!(claimed.incoming);
        agent.restored(&peer.caller).unwrap();
        let refused = agent.detach(&mut peer.caller).unwrap_err();
        assert!(refused.to_string().contains("finish it"), "{refused}");
        agent.finish_session(&peer.caller, "db.ram").await.unwrap();
        agent.detach(&mut peer.caller).unwrap();
        assert_eq!(state(&world), None, "it has left nothing");
    });
}

#[test]
fn luod_that_is_started_again_knows_of_it() {
    run(async {
        let record = frozen_record().await;
        let world = World::new(OPEN, Fake::with_incoming(&["db.ram"]));
        let agent = &world.agent;
        agent.begin_restore(record, Progress::default());
        agent.end_if_over();
        // One that has not looked at it yet notes nothing else of the workload.
        let mut peer = Peer::new(1, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.disconnected(&mut peer.caller);
        assert_eq!(state(&world), Some(WorkloadState::Left));

        let owners = agent.notes.owners().unwrap();
        let again = World::new(OPEN, world.kernel.clone());
        again.agent.notes.set_owner(&owners[0]).unwrap();
        again.agent.start(Vec::new()).await.unwrap();
        assert_eq!(state(&again), Some(WorkloadState::Left));
        again.agent.release("db.ram").await.unwrap();
        assert!(world.kernel.finished().contains("db.ram"));
        assert_eq!(state(&again), None);
    });
}

#[test]
fn who_comes_back_and_does_not_claim_it_loses_nothing() {
    run(async {
        let world = parked().await;
        let agent = &world.agent;
        for connection in 2..4 {
            let mut peer = Peer::new(connection, 990);
            peer.register(&world, "db", &[]).unwrap();
            agent.disconnected(&mut peer.caller);
            assert!(world.kernel.held().contains("db.ram"));
            assert_eq!(state(&world), Some(WorkloadState::Left));
        }
        // Who has claimed it is a workload as any other.
        let mut peer = Peer::new(9, 990);
        peer.register(&world, "db", &[]).unwrap();
        agent.claim(&peer.caller, "db.ram").await.unwrap();
        agent.disconnected(&mut peer.caller);
        assert!(world.kernel.held().is_empty());
        assert_eq!(state(&world), None);
    });
}

#[test]
fn what_is_nobodys_here_is_released_by_force_only() {
    run(async {
        let world = World::new(OPEN, Fake::with_incoming(&["svc"]));
        let agent = &world.agent;
        assert!(agent.release_or_force("svc", false).await.is_err());
        assert!(world.kernel.incoming().contains("svc"));
        agent.release_or_force("svc", true).await.unwrap();
        assert!(world.kernel.finished().contains("svc"));
        assert!(agent.release_or_force("svc", true).await.is_err());
    });
}

#[test]
fn an_administrator_releases_it() {
    run(async {
        let world = parked().await;
        world.agent.release("db.ram").await.unwrap();
        assert!(world.kernel.held().is_empty());
        assert_eq!(state(&world), None);
    });
}
