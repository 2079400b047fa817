// SPDX-License-Identifier: MIT OR Apache-2.0
//! What hosts cost etcd, as etcd itself counts it: requests and bytes, and no times.

use std::time::Instant;

use jiff::SignedDuration;
use luo_fleet::config::Config;
use luo_fleet::dev::call::{Caller, Said};
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::state::keys::Keys;
use luo_fleet::state::known::Known;
use luo_fleetlock::lock::{PRE_REBOOT, STEADY_STATE};

use crate::common::{body, call, kind, said, server};

const HOSTS: usize = 500;

/// What etcd has counted since it began.
#[derive(Clone, Copy, Debug)]
struct Counts {
    ranges: u64,
    transactions: u64,
    watches: u64,
    /// Bytes that it has sent to those who ask.
    sent: u64,
    at: Instant,
}

impl Counts {
    async fn of(cluster: &Cluster) -> Self {
        let at = Instant::now();
        let endpoint = cluster.endpoints().remove(0);
        let address = endpoint.trim_start_matches("http://");
        let text = said(address, "GET /metrics HTTP/1.0\r\n\r\n").await;
        let count = |name: &str, label: &str| -> u64 {
            let lines = text
                .lines()
                .filter(|line| line.starts_with(name) && line.contains(label));
            let numbers = lines.map(|line| {
                let number = line.rsplit(' ').next().unwrap();
                number.parse::<f64>().unwrap() as u64
            });
            let numbers: Vec<_> = numbers.collect();
            assert!(!numbers.is_empty(), "{name}{label}: {text}");
            numbers.iter().sum()
        };
        let calls = "grpc_server_started_total{";
        Self {
            ranges: count(calls, "grpc_method=\"Range\""),
            transactions: count(calls, "grpc_method=\"Txn\""),
            watches: count(calls, "grpc_method=\"Watch\""),
            sent: count("etcd_network_client_grpc_sent_bytes_total ", ""),
            at,
        }
    }

    /// What has come since.
    async fn since(self, cluster: &Cluster) -> Spent {
        let now = Self::of(cluster).await;
        Spent {
            ranges: now.ranges - self.ranges,
            transactions: now.transactions - self.transactions,
            watches: now.watches - self.watches,
            sent: now.sent - self.sent,
            // Every two seconds a server asks whether its copy is new.
            probes: (now.at - self.at).as_secs() / 2 + 1,
        }
    }
}

#[derive(Debug)]
struct Spent {
    ranges: u64,
    transactions: u64,
    watches: u64,
    sent: u64,
    /// The most probes that there may have been.
    probes: u64,
}

/// The most bytes of an answer about one key, and of a change with what the watch says of it. A
/// scan would tell of all hosts.
const OF_A_KEY: u64 = 1_024;
const OF_A_CHANGE: u64 = 4_096;

fn all_are_known(known: &Known) -> bool {
    known.hosts.len() > HOSTS && known.presence.len() > HOSTS
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes etcd"]
async fn hosts_that_ask_cost_etcd_nothing_and_a_slot_costs_a_transaction() {
    let cluster = Cluster::start(1).await.unwrap();
    let server = server(&cluster, SignedDuration::ZERO).await;
    server
        .policy("rollout = \"r\"\nslots = 1\n[[group]]\nname = \"g\"\n")
        .await;
    let first = body("first", "g");
    assert_eq!(call(&server, PRE_REBOOT, &first).await, Said::Yes);
    let mut caller = Caller::new(&server.base).unwrap();
    let bodies: Vec<_> = (0..HOSTS)
        .map(|number| body(&format!("h{number:03}"), "g"))
        .collect();
    for body in &bodies {
        let said = caller.call(PRE_REBOOT, body).await.unwrap();
        assert_eq!(kind(&said), "failed_lock_semaphore_full");
    }
    // That they are there is written once.
    let keys = Keys::new(&Config::default().prefix);
    server.until_known("all hosts", all_are_known).await;

    // Each asks four times, and is told to wait.
    let before = Counts::of(&cluster).await;
    for body in bodies.iter().cycle().take(4 * HOSTS) {
        let said = caller.call(PRE_REBOOT, body).await.unwrap();
        assert_eq!(kind(&said), "failed_lock_semaphore_full");
    }
    let spent = before.since(&cluster).await;
    assert_eq!((spent.transactions, spent.watches), (0, 0), "{spent:?}");
    assert!(spent.ranges <= spent.probes, "{spent:?}");
    assert!(spent.sent <= spent.probes * OF_A_KEY, "{spent:?}");

    // Twenty of them have a slot, one after the other: two changes each, and one of the first.
    let before = Counts::of(&cluster).await;
    assert_eq!(call(&server, STEADY_STATE, &first).await, Said::Yes);
    for body in bodies.iter().take(20) {
        for path in [PRE_REBOOT, STEADY_STATE] {
            assert_eq!(caller.call(path, body).await.unwrap(), Said::Yes);
        }
    }
    let spent = before.since(&cluster).await;
    let changes = 41;
    assert_eq!(
        (spent.transactions, spent.watches),
        (changes, 0),
        "{spent:?}"
    );
    assert!(spent.ranges <= spent.probes, "{spent:?}");
    let most = changes * OF_A_CHANGE + spent.probes * OF_A_KEY;
    assert!(spent.sent <= most, "{spent:?}");

    // Of a host etcd has a record, and that it was heard of.
    let all = cluster
        .client()
        .unwrap()
        .all(&keys.state())
        .await
        .unwrap()
        .kvs;
    let of_fleet = ["policy", "ledger", "ledger/noted"].len();
    assert_eq!(all.len(), 2 * (HOSTS + 1) + of_fleet);
    let bytes: usize = all
        .iter()
        .map(|pair| pair.key.len() + pair.value.len())
        .sum();
    let each = bytes / HOSTS;
    assert!(each <= 200, "{each} bytes for each host");
    let size = cluster.size().await.unwrap();
    let most = 256 * 1_024 + 1_024 * u64::try_from(HOSTS).unwrap();
    assert!(size <= most, "{size} bytes");
}
