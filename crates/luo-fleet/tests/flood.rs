// SPDX-License-Identifier: MIT OR Apache-2.0
//! Floods: of hosts that nobody knows, of connections that say nothing, of what is too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use luo_fleet::config::{Config, Tls};
use luo_fleet::dev::call::{Caller, Said};
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::dev::hosts::{Fault, Host, World};
use luo_fleet::state::keys::Keys;
use luo_fleetlock::client::{Client, Settings};
use luo_fleetlock::limits::{MAX_BODY, MAX_GROUP, MAX_ID};
use luo_fleetlock::lock::{Body, PRE_REBOOT, REPORT, STEADY_STATE};
use luo_fleetlock::report::{Ending, Report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::authority::Authority;
use crate::common::{all_are_done, begin, body, call, kind, said, server, server_with};

const HEAD: &str = "POST /v1/pre-reboot HTTP/1.1\r\nhost: x\r\nfleet-lock-protocol: true\r\n";

/// How many hosts are let in.
const MOST: usize = 40;
const SLOTS: usize = 5;

/// What a host says whose update failed.
fn failed(id: &str) -> Body {
    let mut failed = body(id, "g");
    failed.liveupdate_outcome = Some(Report::new(Ending::Failed));
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes etcd"]
async fn a_flood_of_hosts_is_refused_and_those_that_are_known_are_served() {
    let cluster = Cluster::start(1).await.unwrap();
    let few = |config: &mut Config| config.max_hosts = MOST;
    let server = server_with(&cluster, SignedDuration::ZERO, few).await;
    let policy = "retry = \"0s\"\n[[group]]\nname = \"g\"\n";
    server
        .policy(&format!("rollout = \"r\"\nslots = {SLOTS}\n{policy}"))
        .await;
    // Ten times as many as are let in come at the same moment, before any of them is known.
    let mut tasks = Vec::new();
    for number in 0..10 * MOST {
        let mut caller = Caller::new(&server.base).unwrap();
        tasks.push(tokio::spawn(async move {
            let own = body(&format!("h{number:03}"), "g");
            caller.call(PRE_REBOOT, &own).await.unwrap()
        }));
    }
    for task in tasks {
        let said = task.await.unwrap();
        let kinds = ["yes", "failed_lock_semaphore_full", "too_many_hosts"];
        assert!(kinds.contains(&kind(&said)), "{said:?}");
    }
    let known = server
        .until("full", |fleet| fleet.hosts.len() >= MOST)
        .await;
    // Hosts that were given a slot at that same moment come on top.
    let most = MOST + SLOTS;
    assert!(known.hosts.len() <= most, "{} hosts", known.hosts.len());
    // Those that are known roll out, while the flood goes on.
    let is_over = Arc::new(AtomicBool::new(false));
    let mut floods = Vec::new();
    for flood in 0..4 {
        let (is_over, base) = (Arc::clone(&is_over), server.base.clone());
        floods.push(tokio::spawn(async move {
            let mut caller = Caller::new(&base).unwrap();
            let mut asked = 0;
            while !is_over.load(Ordering::Acquire) || asked == 0 {
                let id = format!("flood-{flood}-{asked}");
                let said = caller.call(PRE_REBOOT, &body(&id, "g")).await.unwrap();
                let Said::No(409, refusal, _) = &said else {
                    panic!("{said:?}");
                };
                assert_eq!(refusal.kind, "too_many_hosts");
                assert!(refusal.value.contains("max_hosts"), "{refusal:?}");
                // To have no slot is no error, and lets nobody in.
                for (path, body) in [(STEADY_STATE, body(&id, "g")), (REPORT, failed(&id))] {
                    assert_eq!(caller.call(path, &body).await.unwrap(), Said::Yes);
                }
                asked += 1;
            }
        }));
    }
    let servers = vec![server.base.clone()];
    let world = World::new(
        servers,
        Duration::from_millis(20),
        Duration::from_millis(100),
    );
    let host = |known: &luo_fleetlock::status::Host| Host {
        id: known.id.clone(),
        group: "g".to_owned(),
        fault: Fault::None,
    };
    let tasks = begin(&world, known.hosts.iter().map(host).collect());
    all_are_done(&world, tasks).await;
    is_over.store(true, Ordering::Release);
    for flood in floods {
        flood.await.unwrap();
    }
    let most = world.most.load(Ordering::SeqCst);
    assert!(most <= i64::try_from(SLOTS).unwrap(), "{most} at once");
    let end = server.until("complete", |fleet| fleet.is("Complete")).await;
    assert_eq!(end.hosts.len(), known.hosts.len());
    // Nothing of the flood is in etcd.
    let keys = Keys::new(&Config::default().prefix);
    let all = cluster
        .client()
        .unwrap()
        .all(&keys.state())
        .await
        .unwrap()
        .kvs;
    let names = all.iter().map(|pair| String::from_utf8_lossy(&pair.key));
    let flood: Vec<_> = names.filter(|name| name.contains("/flood-")).collect();
    assert!(flood.is_empty(), "{flood:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes etcd"]
async fn connections_that_say_nothing_keep_nobody_out() {
    const PLACES: usize = 8;
    let cluster = Cluster::start(1).await.unwrap();
    let few = |config: &mut Config| config.max_connections = PLACES;
    let server = server_with(&cluster, SignedDuration::ZERO, few).await;
    server
        .policy("rollout = \"r\"\nslots = 1\n[[group]]\nname = \"g\"\n")
        .await;
    let half_a_body = format!("{HEAD}content-length: 100\r\n\r\n{{");
    let halves = ["", &HEAD[..HEAD.len() - 9], &half_a_body];
    let own = body("a", "g");
    let mut slow = Vec::new();
    for number in 0..96 {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        // One that is let go of by now says so later.
        let _ = stream.write_all(halves[number % 3].as_bytes()).await;
        slow.push(stream);
        if number % 8 == 7 {
            assert_eq!(call(&server, PRE_REBOOT, &own).await, Said::Yes);
        }
    }
    // Those that came first have made room.
    let mut bytes = [0; 64];
    for stream in slow.iter_mut().take(96 - PLACES) {
        let read = stream.read(&mut bytes);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        assert!(matches!(read.unwrap(), Ok(0) | Err(_)));
    }
    // Where all are busy, who comes is told so: these wait for news, and there are none.
    let mut watchers = Vec::new();
    let refused = loop {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let text = "GET /v1/fleet/status?after=999999999 HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(text.as_bytes()).await.unwrap();
        watchers.push(stream);
        assert!(watchers.len() < 8 * PLACES, "all come in");
        match call(&server, PRE_REBOOT, &own).await {
            // There is room, or not all of them were seen to yet.
            Said::Yes => {}
            refused => break refused,
        }
    };
    let Said::No(503, refusal, 5) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refusal.kind, "busy");
    assert!(refusal.value.contains("max_connections"), "{refusal:?}");
    drop(watchers);
    while call(&server, PRE_REBOOT, &own).await != Said::Yes {}
}

/// What is agreed on before a request takes several turns: somebody who does not go on with it is as quiet
/// as somebody who says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes etcd"]
async fn tls_that_is_not_agreed_on_keeps_nobody_out() {
    const PLACES: usize = 8;
    /// The head of a message of TLS with 512 bytes, and how its ClientHello begins.
    const BEGUN: [u8; 11] = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    let cluster = Cluster::start(1).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let (certificate, key) = authority.sign("localhost");
    let server = server_with(&cluster, SignedDuration::ZERO, |config| {
        config.max_connections = PLACES;
        config.tls = Some(Tls {
            certificate,
            key,
            client_ca: None,
        });
    })
    .await;
    server
        .policy("rollout = \"r\"\nslots = 1\n[[group]]\nname = \"g\"\n")
        .await;
    let address = server.address().to_owned();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut floods = Vec::new();
    for said in [&b""[..], &BEGUN, b"GET / HTTP/1.1\r\n\r\n"] {
        let (is_over, address) = (Arc::clone(&is_over), address.clone());
        floods.push(tokio::spawn(async move {
            let mut open = Vec::new();
            while !is_over.load(Ordering::Acquire) || open.is_empty() {
                // The machine may have no room for more.
                if let Ok(mut stream) = TcpStream::connect(&address).await {
                    let _ = stream.write_all(said).await;
                    open.push(stream);
                }
                if open.len() > 4 * PLACES {
                    open.drain(..PLACES);
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    let port = address.rsplit(':').next().unwrap();
    let settings = Settings {
        servers: vec![format!("https://localhost:{port}")],
        ca: Some(folder.path().join("ca.pem")),
        ..Settings::default()
    };
    let asked = tokio::task::spawn_blocking(move || {
        let who = body("a", "g").client_params;
        // A connection for each, as hosts have it.
        (0..20)
            .map(|_| Client::new(&settings).unwrap().pre_reboot(&who, None))
            .collect::<Vec<_>>()
    });
    for answer in asked.await.unwrap() {
        answer.unwrap();
    }
    is_over.store(true, Ordering::Release);
    for flood in floods {
        flood.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes etcd"]
async fn what_is_too_long_or_too_slow_is_refused_with_its_reason() {
    let cluster = Cluster::start(1).await.unwrap();
    let server = server(&cluster, SignedDuration::ZERO).await;
    server
        .policy("rollout = \"r\"\nslots = 1\n[[group]]\nname = \"g\"\n")
        .await;
    let address = server.address().to_owned();
    let status = |answer: &str| answer.split(' ').nth(1).map(str::to_owned);
    // A body that does not go on.
    let slow = format!("{HEAD}connection: close\r\ncontent-length: 100\r\n\r\n{{");
    let slow = tokio::spawn({
        let address = address.clone();
        async move { said(&address, &slow).await }
    });
    let long_head = format!("{HEAD}x-long: {}\r\n\r\n", "x".repeat(MAX_BODY));
    let answer = said(&address, &long_head).await;
    assert_eq!(status(&answer).as_deref(), Some("431"), "{answer}");
    let length = MAX_BODY + 1;
    let long_body = format!(
        "{HEAD}connection: close\r\ncontent-length: {length}\r\n\r\n{}",
        "x".repeat(length)
    );
    let answer = said(&address, &long_body).await;
    assert_eq!(status(&answer).as_deref(), Some("413"), "{answer}");
    assert!(answer.contains("16384 bytes at most"), "{answer}");
    let (id, group) = ("i".repeat(MAX_ID), "g".repeat(MAX_GROUP));
    for (id, group, wanted) in [
        (format!("{id}i"), "g".to_owned(), "an id has 1 to 128 bytes"),
        (
            "a".to_owned(),
            format!("{group}g"),
            "a group is 1 to 64 letters",
        ),
        // As long as may be is not refused for that.
        (id, group, "the policy has no group"),
    ] {
        let refused = call(&server, PRE_REBOOT, &body(&id, &group)).await;
        let Said::No(400, refusal, _) = &refused else {
            panic!("{refused:?}");
        };
        assert!(refusal.value.contains(wanted), "{refusal:?}");
    }
    // Nobody has waited for the slow one, and it is told why it is over.
    assert_eq!(call(&server, PRE_REBOOT, &body("a", "g")).await, Said::Yes);
    let answer = slow.await.unwrap();
    assert_eq!(status(&answer).as_deref(), Some("408"), "{answer}");
    assert!(answer.contains("did not come in time"), "{answer}");
}
