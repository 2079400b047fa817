// SPDX-License-Identifier: MIT OR Apache-2.0
//! A rollout over ten hosts with one of each fault.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::dev::hosts::{Fault, Host, World, locked};
use luo_fleetlock::status::HostState;

use crate::common::{begin, server};

fn host(id: &str, group: &str, fault: Fault) -> Host {
    Host {
        id: id.to_owned(),
        group: group.to_owned(),
        fault,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes etcd"]
async fn ten_hosts_with_one_of_each_fault() {
    let began = Instant::now();
    let cluster = Cluster::start(1).await.unwrap();
    // Two servers, the clock of one behind; what a policy waits for is longer than that.
    let one = server(&cluster, SignedDuration::ZERO).await;
    let two = server(&cluster, SignedDuration::from_secs(-2)).await;
    let policy = |budget: u64| {
        format!(
            "rollout = \"r\"\nslots = 3\noverdue = \"8s\"\nretry = \"0s\"\nbudget = {budget}\n\
             [[group]]\nname = \"canary\"\nslots = 1\nsoak = \"1s\"\n\
             [[group]]\nname = \"rack\"\nstage = 2\n"
        )
    };
    one.policy(&policy(0)).await;
    let servers = vec![one.base.clone(), two.base.clone()];
    let world = World::new(
        servers,
        Duration::from_millis(200),
        Duration::from_millis(150),
    );
    let mut tasks = begin(
        &world,
        vec![
            host("c1", "canary", Fault::None),
            host("c2", "canary", Fault::Vetoed),
        ],
    );
    // Canaries that have not come yet are waited for; these have.
    one.until("known", |fleet| fleet.hosts.len() == 2).await;
    tasks.extend(begin(
        &world,
        vec![
            host("r1", "rack", Fault::Plain),
            host("r2", "rack", Fault::Twice),
            host("r3", "rack", Fault::None),
            host("r4", "rack", Fault::Unhealthy),
            host("r5", "rack", Fault::None),
            host("r6", "rack", Fault::None),
            host("r7", "rack", Fault::Lost),
            host("r8", "rack", Fault::None),
        ],
    ));
    // The host that is not healthy says so, and the rollout halts at once.
    let halted = one.until("halted", |fleet| fleet.is("Halted")).await;
    let failed = halted
        .hosts
        .iter()
        .find(|host| host.state == HostState::Failed)
        .unwrap();
    assert!(failed.id == "r4" || failed.id == "r7", "{failed:?}");
    // An administrator sees to it: more is put up with. The host that never comes back burns
    // one slot, and no other.
    one.policy(&policy(2)).await;
    let end = one
        .until("all but two are done", |fleet| {
            fleet
                .hosts
                .iter()
                .filter(|host| host.state == HostState::Done)
                .count()
                == 8
        })
        .await;
    let kept: Vec<_> = end
        .hosts
        .iter()
        .filter(|host| host.slot_since_ms.is_some())
        .collect();
    let names: Vec<_> = kept.iter().map(|host| host.id.as_str()).collect();
    assert_eq!(names, ["r4", "r7"]);
    let begun = locked(&world.begun).clone();
    let canaries = begun
        .iter()
        .take(3)
        .filter(|id| id.starts_with('c'))
        .count();
    assert_eq!(
        canaries, 3,
        "c2 was vetoed once, and tried again: {begun:?}"
    );
    assert!(
        world.most.load(Ordering::SeqCst) <= 3,
        "more than the slots"
    );
    for task in tasks {
        task.await.unwrap();
    }
    // The lost one is released by hand, and the other comes back after all: all is well again.
    let hand = luo_fleet::state::keeper::Hand::Release;
    for id in ["r4", "r7"] {
        two.keeper
            .by_hand(&hand, id, "replaced", "a test")
            .await
            .unwrap();
    }
    let after = one.until("free", |fleet| {
        fleet.groups.iter().all(|group| group.slots_taken == 0)
    });
    assert!(!after.await.is("Halted"));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
}
