// SPDX-License-Identifier: MIT OR Apache-2.0
//! A watch, and calls, of which nothing comes any more although no connection has ended.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use luo_fleet::config::Config;
use luo_fleet::decide::record::Record;
use luo_fleet::dev::call::{Caller, Said};
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::etcd::wire::{put, txn};
use luo_fleet::state::keys::{Key, Keys};
use luo_fleet::state::known::Known;
use luo_fleetlock::lock::{PRE_REBOOT, STEADY_STATE};
use luo_fleetlock::report::Asking;

use crate::common::between::Between;
use crate::common::{Server, body, call, kind, server, server_with};

/// How long a server may take to see that its watch is dead.
const SEEN: Duration = Duration::from_secs(60);

/// A server, something between it and etcd, and host `a`, which has a slot by it and was heard of.
async fn with_a_slot() -> (Cluster, Between, Server) {
    let cluster = Cluster::start(1).await.unwrap();
    let between = Between::before(&cluster.endpoints()[0]);
    let endpoint = between.endpoint.clone();
    let only = |config: &mut Config| config.etcd.endpoints = vec![endpoint];
    let one = server_with(&cluster, SignedDuration::ZERO, only).await;
    one.policy("rollout = \"r\"\nslots = 8\n[[group]]\nname = \"g\"\n")
        .await;
    let said = call(&one, PRE_REBOOT, &body("a", "g")).await;
    assert_eq!(said, Said::Yes);
    let is_there = |known: &Known| known.presence.contains_key("a");
    one.until_known("a", is_there).await;
    (cluster, between, one)
}

/// The host gives its slot back, as often as it takes.
async fn gives_back(server: &Server, id: &str) {
    let began = Instant::now();
    loop {
        let said = call(server, STEADY_STATE, &body(id, "g")).await;
        if said == Said::Yes {
            return;
        }
        assert!(began.elapsed() < SEEN, "{said:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What a host tells of itself comes into its record without a change of the ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes etcd"]
async fn what_a_host_tells_another_server_is_seen_though_the_watch_is_dead() {
    let (cluster, between, one) = with_a_slot().await;
    let other = server(&cluster, SignedDuration::ZERO).await;
    between.silence("/v3/watch");
    let mut telling = body("a", "g");
    telling.liveupdate = Some(Asking {
        running: None,
        target: Some("7.3.4".to_owned()),
    });
    assert_eq!(call(&other, PRE_REBOOT, &telling).await, Said::Yes);
    let is_told = |known: &Known| {
        let record = known.record("a");
        record.is_some_and(|record| record.target.is_some())
    };
    other.until_known("what it was told", is_told).await;
    let what = "what another one was told";
    one.until_known(what, is_told).await;
    gives_back(&one, "a").await;
}

/// A record is another one, and nothing but itself tells of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes etcd"]
async fn a_slot_comes_back_though_the_watch_is_dead() {
    let (cluster, between, one) = with_a_slot().await;
    between.silence("/v3/watch");
    let record = one.keeper.mirror.known().record("a").cloned();
    let record = Record {
        target: Some("7.3.4".to_owned()),
        ..record.unwrap()
    };
    let key = Keys::new(&Config::default().prefix).name(Key::Host("a"));
    let other = put(&key, serde_json::to_vec(&record).unwrap(), None);
    let client = cluster.client().unwrap();
    client.txn(&txn(Vec::new(), vec![other])).await.unwrap();
    gives_back(&one, "a").await;
}

/// Of those who wait for their turn each is answered before it gives up, and no turn is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes etcd"]
async fn each_host_is_answered_in_time_though_nothing_can_be_changed() {
    let (_cluster, between, one) = with_a_slot().await;
    between.hold(Some("/v3/kv/txn"));
    let mut asked = Vec::new();
    for number in 0..7 {
        let mut caller = Caller::new(&one.base).unwrap();
        asked.push(tokio::spawn(async move {
            let own = body(&format!("h{number}"), "g");
            caller.call(PRE_REBOOT, &own).await.unwrap()
        }));
    }
    for said in asked {
        assert_eq!(kind(&said.await.unwrap()), "unavailable");
    }
    between.hold(None);
    gives_back(&one, "a").await;
}
