// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many hosts, several servers, several members of etcd: all at once, and things that die.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::SignedDuration;
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::dev::hosts::{Fault, Host, World};
use luo_fleetlock::lock::PRE_REBOOT;
use luo_fleetlock::status::HostState;

use crate::common::{all_are_done, begin, body, call, kind, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes etcd"]
async fn servers_that_decide_at_once_give_no_slot_too_many() {
    let cluster = Cluster::start(1).await.unwrap();
    let mut servers = Vec::new();
    for off in [0, 5, -5] {
        servers.push(server(&cluster, SignedDuration::from_mins(off)).await);
    }
    servers[0]
        .policy("rollout = \"r\"\nslots = 7\n[[group]]\nname = \"g\"\n")
        .await;
    for server in &servers {
        server
            .until("a policy", |fleet| fleet.rollout.is_some())
            .await;
    }
    let mut tasks = Vec::new();
    for number in 0..60 {
        let caller = luo_fleet::dev::call::Caller::new(&servers[number % 3].base).unwrap();
        let own = body(&format!("h{number}"), "g");
        tasks.push(tokio::spawn(async move {
            let mut caller = caller;
            caller.call(PRE_REBOOT, &own).await.unwrap()
        }));
    }
    let mut yes = 0;
    for task in tasks {
        match kind(&task.await.unwrap()) {
            "yes" => yes += 1,
            "failed_lock_semaphore_full" | "busy" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(yes, 7);
    // A server that comes later knows all of it.
    let late = server(&cluster, SignedDuration::ZERO).await;
    let full = call(&late, PRE_REBOOT, &body("late", "g")).await;
    assert_eq!(kind(&full), "failed_lock_semaphore_full");
}

fn fifty() -> Vec<Host> {
    let one = |number: usize| Host {
        id: format!("h{number:02}"),
        group: match number {
            0..5 => "canary".to_owned(),
            _ => format!("rack-{}", number % 3),
        },
        fault: match number {
            7 => Fault::Vetoed,
            11 => Fault::Plain,
            13 => Fault::Twice,
            _ => Fault::None,
        },
    };
    (0..50).map(one).collect()
}

/// Members of etcd are killed and stand still, and servers die, while fifty hosts roll out.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes etcd and --all"]
async fn fifty_hosts_roll_out_while_members_and_servers_die() {
    let mut cluster = Cluster::start(3).await.unwrap();
    let watcher = server(&cluster, SignedDuration::ZERO).await;
    let mut policy = "rollout = \"r\"\nslots = 4\ngroups_at_once = 2\nretry = \"1s\"\n\
                      [[group]]\nname = \"canary\"\nslots = 2\nsoak = \"2s\"\n"
        .to_owned();
    for rack in 0..3 {
        policy += &format!("[[group]]\nname = \"rack-{rack}\"\nstage = 2\nslots = 3\n");
    }
    watcher.policy(&policy).await;
    // Two servers are processes of their own, which can be killed.
    let mut programs = Vec::new();
    for number in 0..2 {
        programs.push(crate::common::program::Program::start(&cluster, number).await);
    }
    let servers = programs
        .iter()
        .map(|program| program.base.clone())
        .collect();
    let world = World::new(
        servers,
        Duration::from_millis(700),
        Duration::from_millis(300),
    );
    let tasks = begin(&world, fifty());
    let done = |wanted: usize| {
        move |fleet: &luo_fleetlock::status::Fleet| {
            fleet
                .hosts
                .iter()
                .filter(|host| host.state == HostState::Done)
                .count()
                >= wanted
        }
    };
    let mut at = 2;
    for round in 0..3 {
        // A member dies, and comes back.
        watcher.until("more are done", done(at)).await;
        cluster.kill(round);
        programs[round % 2].kill();
        watcher.until("more are done", done(at + 4)).await;
        cluster.revive(round).unwrap();
        programs[round % 2].revive(&cluster).await;
        watcher.until("more are done", done(at + 8)).await;
        // One stands still, as if it were cut off, and comes back with what it knew.
        let other = (round + 1) % 3;
        crate::common::program::stand_still(cluster.process(other).unwrap(), true);
        watcher.until("more are done", done(at + 11)).await;
        crate::common::program::stand_still(cluster.process(other).unwrap(), false);
        at += 13;
    }
    let end = watcher
        .until("all are done", |fleet| fleet.is("Complete"))
        .await;
    assert_eq!(end.hosts.len(), 50);
    all_are_done(&world, tasks).await;
    let most = world.most.load(Ordering::SeqCst);
    assert!(most <= 4, "{most} at once");
}
