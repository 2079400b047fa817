// SPDX-License-Identifier: MIT OR Apache-2.0
//! etcd that does not answer: what is known no longer is not told as if it were.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use luo_fleet::config::Config;
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::run::run;
use luo_fleetlock::lock::PRE_REBOOT;

use crate::common::{body, call, kind, said, server};

/// What a page, and a call, are answered with.
async fn get(address: &str, path: &str) -> String {
    said(
        address,
        &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
    )
    .await
}

/// Nothing is said of the fleet but that it is not known, and why.
async fn knows_nothing(address: &str, endpoint: &str) {
    let page = get(address, "/").await;
    assert!(page.starts_with("HTTP/1.1 503 "), "{page}");
    assert!(
        page.contains("is not known") && page.contains(endpoint),
        "{page}"
    );
    for lie in ["no policy", "Rollout", "are done", "are taken"] {
        assert!(!page.contains(lie), "{lie}: {page}");
    }
    let status = get(address, "/v1/fleet/status").await;
    assert!(status.starts_with("HTTP/1.1 503 "), "{status}");
    assert!(status.contains(endpoint), "{status}");
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("luo_fleet_up 0"), "{metrics}");
    for name in ["halted", "complete", "hosts", "slots"] {
        assert!(
            !metrics.contains(&format!("luo_fleet_{name}")),
            "{name}: {metrics}"
        );
    }
}

/// The command as it is typed.
fn typed(endpoint: &str, words: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("luo-fleet.toml");
    let text = format!("[access]\nopen = true\n[etcd]\nendpoints = [\"{endpoint}\"]\n");
    std::fs::write(&config, text).unwrap();
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    Command::new(env!("CARGO_BIN_EXE_luo-fleet"))
        .args(words)
        .current_dir(folder.path())
        .env("LUO_FLEET_CONFIG", config)
        .output()
        .unwrap()
}

const POLICY: &str = "version = 1\nrollout = \"r\"\nrelease = \"7.3.4\"\nslots = 1\n\
                      stop = \"not yet\"\n[[group]]\nname = \"g\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes etcd"]
async fn what_is_not_known_is_not_told() {
    let mut cluster = Cluster::start(1).await.unwrap();
    let endpoint = cluster.endpoints().remove(0);
    let port = endpoint.rsplit('/').next().unwrap().to_owned();
    let server = server(&cluster, SignedDuration::ZERO).await;
    // What a command has done is told, and by what all is halted.
    let set = typed(
        &endpoint,
        &["policy", "set", "policy.toml", "--reason", "a test"],
    );
    let words = String::from_utf8(set.stdout).unwrap();
    assert!(
        set.status.success() && words.contains("rollout r: in force"),
        "{words}"
    );
    let go = typed(&endpoint, &["go", "--reason", "a test"]);
    let words = String::from_utf8(go.stdout).unwrap();
    assert!(words.contains("nobody begins: stopped: not yet"), "{words}");
    for bare in [
        &["stop", "--reason", " "][..],
        &["go", "--reason", ""],
        &["policy", "set", "policy.toml", "--reason", ""],
    ] {
        let done = typed(&endpoint, bare);
        let why = String::from_utf8(done.stderr).unwrap();
        assert!(
            !done.status.success() && why.contains("a reason"),
            "{bare:?}: {why}"
        );
    }
    server
        .policy("rollout = \"r\"\nslots = 1\n[[group]]\nname = \"g\"\n")
        .await;
    assert!(get(server.address(), "/").await.contains("Rollout r"));

    cluster.kill(0);
    // A command says which etcd it is, and where that is written; it takes its time.
    let command = tokio::task::spawn_blocking(move || typed(&endpoint, &["status"]));
    let began = Instant::now();
    while server.keeper.mirror.is_fresh() {
        assert!(began.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    knows_nothing(server.address(), &port).await;
    let asked = call(&server, PRE_REBOOT, &body("a", "g")).await;
    assert_eq!(kind(&asked), "unavailable");
    // So it is with a server that has never known anything.
    let mut config = Config {
        listen: vec!["127.0.0.1:0".to_owned()],
        ..Config::default()
    };
    config.access.open = true;
    config.etcd.endpoints = cluster.endpoints();
    let new = run(&config, Box::new(Timestamp::now)).await.unwrap();
    let address = new.addresses[0].to_string();
    let began = Instant::now();
    while new.keeper.mirror.trouble().is_none() {
        assert!(began.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    knows_nothing(&address, &port).await;
    let failed = command.await.unwrap();
    let why = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{why}");
    assert!(
        why.contains(&port) && why.contains("luo-fleet.toml"),
        "{why}"
    );

    cluster.revive(0).unwrap();
    server
        .until("known again", |fleet| fleet.rollout.is_some())
        .await;
    let began = Instant::now();
    while !get(server.address(), "/").await.contains("Rollout r") {
        assert!(began.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.keeper.mirror.trouble(), None);
}
