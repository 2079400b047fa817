// SPDX-License-Identifier: MIT OR Apache-2.0
//! A member of etcd that its peers do not reach, and that everybody else does.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use luo_fleet::config::Config;
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::dev::hosts::{Fault, Host, World};
use luo_fleetlock::lock::PRE_REBOOT;
use luo_fleetlock::status::HostState;

use crate::common::wires::Wires;
use crate::common::{Server, all_are_done, begin, body, call, kind, server, server_with};

/// Waits until a server knows how the fleet stands, or does not any more.
async fn until_fresh(server: &Server, is_fresh: bool) {
    let began = Instant::now();
    while server.keeper.mirror.is_fresh() != is_fresh {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "fresh: {is_fresh}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn hosts(round: usize, numbers: std::ops::Range<usize>) -> Vec<Host> {
    let one = |number: usize| Host {
        id: format!("h{round}{number}"),
        group: "g".to_owned(),
        fault: Fault::None,
    };
    numbers.map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes etcd"]
async fn a_member_that_is_cut_off_from_its_peers_costs_no_slot() {
    let wires = Wires::default();
    let cluster = Cluster::wired(3, |member| Ok(wires.lay(member)));
    let cluster = cluster.await.unwrap();
    let one = server(&cluster, SignedDuration::ZERO).await;
    let two = server(&cluster, SignedDuration::ZERO).await;
    // And for each member one that knows no other.
    let mut alone = Vec::new();
    for endpoint in cluster.endpoints() {
        let only = |config: &mut Config| config.etcd.endpoints = vec![endpoint];
        alone.push(server_with(&cluster, SignedDuration::ZERO, only).await);
    }
    one.policy("rollout = \"r\"\nslots = 2\nretry = \"0s\"\n[[group]]\nname = \"g\"\n")
        .await;
    let world = World::new(
        vec![one.base.clone(), two.base.clone()],
        Duration::from_millis(500),
        Duration::from_millis(200),
    );
    // One of them leads.
    for (member, alone) in alone.iter().enumerate() {
        let mut tasks = begin(&world, hosts(member, 0..3));
        // While a slot is free, whoever is given it shows both servers that their watches are dead.
        one.until("all slots are taken", |fleet| {
            fleet.groups.iter().any(|group| group.slots_taken == 2)
        })
        .await;
        wires.cut(member);
        // Those at it give back what they have, and others go on.
        tasks.extend(begin(&world, hosts(member, 3..6)));
        all_are_done(&world, tasks).await;
        // Whoever reaches this member alone does not know any more, says so, and gives no slot.
        until_fresh(alone, false).await;
        let stranger = body("stranger", "g");
        let said = call(alone, PRE_REBOOT, &stranger).await;
        assert_eq!(kind(&said), "unavailable", "{said:?}");
        wires.mend();
        until_fresh(alone, true).await;
    }
    let end = one
        .until("all are done", |fleet| fleet.is("Complete"))
        .await;
    assert_eq!(end.hosts.len(), 18);
    assert!(end.hosts.iter().all(|host| host.state == HostState::Done));
    assert!(end.groups.iter().all(|group| group.slots_taken == 0));
    let most = world.most.load(Ordering::SeqCst);
    assert!(most <= 2, "{most} at once");
    // Those that were cut off know all of it.
    for alone in &alone {
        alone
            .until("all are known to be done", |fleet| fleet.is("Complete"))
            .await;
    }
}
