// SPDX-License-Identifier: MIT OR Apache-2.0
//! The protocol's text, word by word, and what luo-fleet adds to it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use luo_fleet::config::Config;
use luo_fleet::dev::call::Said;
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::identity::{Role, token};
use luo_fleetlock::client::{Client, Error, Settings};
use luo_fleetlock::lock::{ClientParams, PRE_REBOOT, STEADY_STATE};
use luo_fleetlock::report::{Asking, Ending, Report};
use luo_fleetlock::status::HostState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Server, body, call, kind, said, server, server_with};

const ONE: &str = "rollout = \"r\"\nslots = 1\nretry = \"1h\"\n[[group]]\nname = \"default\"\n";

/// A request as it is written, and the answer's status and body.
async fn raw(server: &Server, head: &str, body: &str) -> (u16, String) {
    let address = server.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let text =
        format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (status, body)
}

#[tokio::test]
#[ignore = "takes etcd"]
async fn fleetlock_is_served_as_its_text_has_it() {
    let cluster = Cluster::start(1).await.unwrap();
    let server = server(&cluster, SignedDuration::ZERO).await;
    let good = r#"{"client_params":{"id":"a","group":"default"}}"#;
    let post = "POST /v1/pre-reboot HTTP/1.1\r\nfleet-lock-protocol: true";
    // Without a policy nobody begins.
    let (status, text) = raw(&server, post, good).await;
    assert!(
        status == 409 && text.contains("no_policy"),
        "{status} {text}"
    );
    server.policy(ONE).await;
    // The header, the body and the names are looked at, and each refusal is the protocol's JSON.
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(20_000));
    for (head, sent, wanted) in [
        ("POST /v1/pre-reboot HTTP/1.1", good, 400),
        (
            "POST /v1/pre-reboot HTTP/1.1\r\nfleet-lock-protocol: yes",
            good,
            400,
        ),
        (post, "", 400),
        (post, "{}", 400),
        (
            post,
            r#"{"client_params":{"id":"","group":"default"}}"#,
            400,
        ),
        (post, r#"{"client_params":{"id":"a","group":"a b"}}"#, 400),
        (
            post,
            r#"{"client_params":{"id":"a","group":"unknown"}}"#,
            400,
        ),
        (post, &long, 413),
        ("GET /v1/pre-reboot HTTP/1.1", "", 404),
        (
            "POST /v1/other HTTP/1.1\r\nfleet-lock-protocol: true",
            good,
            404,
        ),
    ] {
        let (status, text) = raw(&server, head, sent).await;
        assert_eq!(status, wanted, "{head} {text}");
        let refusal: serde_json::Value = serde_json::from_str(&text).unwrap();
        for key in ["kind", "value"] {
            assert!(
                refusal[key].as_str().is_some_and(|text| !text.is_empty()),
                "{text}"
            );
        }
    }
    // To take what one has, and to give back what one has not, is success.
    let (a, b) = (body("a", "default"), body("b", "default"));
    assert_eq!(call(&server, STEADY_STATE, &a).await, Said::Yes);
    assert_eq!(call(&server, PRE_REBOOT, &a).await, Said::Yes);
    assert_eq!(call(&server, PRE_REBOOT, &a).await, Said::Yes);
    let full = call(&server, PRE_REBOOT, &b).await;
    assert_eq!(kind(&full), "failed_lock_semaphore_full");
    // Nobody gives back what is another's.
    assert_eq!(call(&server, STEADY_STATE, &b).await, Said::Yes);
    assert_eq!(
        kind(&call(&server, PRE_REBOOT, &b).await),
        "failed_lock_semaphore_full"
    );
    assert_eq!(call(&server, STEADY_STATE, &a).await, Said::Yes);
    assert_eq!(call(&server, PRE_REBOOT, &b).await, Said::Yes);
}

/// A browser has no token in a header, and asks for a name and a password.
#[tokio::test]
#[ignore = "takes etcd"]
async fn a_browser_looks_with_a_token_as_its_password() {
    let cluster = Cluster::start(1).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("token.key");
    std::fs::write(&key, [5; 32]).unwrap();
    let own = |config: &mut Config| {
        config.access.open = false;
        config.access.token_keys = vec![key];
    };
    let server = server_with(&cluster, SignedDuration::ZERO, own).await;
    let get =
        |header: String| format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
    let asked = said(server.address(), &get(String::new())).await;
    assert!(asked.starts_with("HTTP/1.1 401 "), "{asked}");
    assert!(asked.contains("www-authenticate: Basic realm="), "{asked}");
    for (role, status) in [(Role::Viewer, 200), (Role::Admin, 200), (Role::Host, 403)] {
        let token = token(&[5; 32], role, "mona").unwrap();
        let pair = STANDARD.encode(format!("whoever:{token}"));
        let answer = said(
            server.address(),
            &get(format!("authorization: Basic {pair}\r\n")),
        )
        .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    let pair = STANDARD.encode("mona:mona");
    let answer = said(
        server.address(),
        &get(format!("authorization: Basic {pair}\r\n")),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

/// Hosts that are done with one release are not done with the next one.
#[tokio::test]
#[ignore = "takes etcd"]
async fn another_release_is_another_rollout() {
    let cluster = Cluster::start(1).await.unwrap();
    let server = server(&cluster, SignedDuration::ZERO).await;
    let policy = |rollout: &str, release: &str| {
        format!(
            "version = 1\nrollout = \"{rollout}\"\nrelease = \"{release}\"\nslots = 1\n[[group]]\nname = \"g\"\n"
        )
    };
    let set = async |rollout: &str, release: &str| {
        let text = policy(rollout, release);
        let set = server.keeper.set_policy(&text, "a test", "a test");
        set.await.map_err(|why| why.to_string())
    };
    set("r", "7.3.3").await.unwrap();
    // Nobody has begun: it was a slip of the pen.
    set("r", "7.3.4").await.unwrap();
    let own = body("a", "g");
    assert_eq!(call(&server, PRE_REBOOT, &own).await, Said::Yes);
    let at_it = set("r", "7.3.5").await.unwrap_err();
    assert!(
        at_it.contains("7.3.4") && at_it.contains("another rollout"),
        "{at_it}"
    );
    let mut back = own.clone();
    let mut report = Report::new(Ending::Completed);
    report.release = Some("7.3.4".to_owned());
    back.liveupdate_outcome = Some(report);
    assert_eq!(call(&server, STEADY_STATE, &back).await, Said::Yes);
    assert!(set("r", "7.3.5").await.is_err());
    assert_eq!(server.fleet().target.as_deref(), Some("7.3.4"));
    // The same release, with whatever else, is no other rollout.
    set("r", "7.3.4").await.unwrap();
    set("r2", "7.3.5").await.unwrap();
    assert_eq!(server.fleet().groups[0].done, 0);
    // Nor is a name taken up again that is older than the last.
    assert!(set("r", "7.3.6").await.unwrap_err().contains("7.3.4"));
    set("r", "7.3.4").await.unwrap();
    // What cannot be used is not put into force.
    assert!(set("", "7.3.5").await.unwrap_err().contains("line 2"));
}

/// A host that runs the release by another way is done, and the page says what it has said itself.
#[tokio::test]
#[ignore = "takes etcd"]
async fn who_runs_the_release_already_is_done() {
    let cluster = Cluster::start(1).await.unwrap();
    let server = server(&cluster, SignedDuration::ZERO).await;
    let policy = "rollout = \"r\"\nrelease = \"7.3.4\"\nslots = 1\n[[group]]\nname = \"g\"\n\
                  [[group]]\nname = \"h\"\nstage = 2\n";
    server.policy(policy).await;
    let asks = |id: &str, group: &str, running: &str, target: &str| {
        let mut body = body(id, group);
        body.liveupdate = Some(Asking {
            running: Some(running.to_owned()),
            target: Some(target.to_owned()),
        });
        body
    };
    let other = call(&server, PRE_REBOOT, &asks("b", "g", "7.3.3", "7.3.2")).await;
    assert_eq!(kind(&other), "other_target");
    let fleet = server
        .until("the host is known", |fleet| !fleet.hosts.is_empty())
        .await;
    let why = fleet.hosts[0].why.as_deref().unwrap();
    assert!(why.contains("this host would start 7.3.2"), "{why}");
    let done = call(&server, PRE_REBOOT, &asks("b", "g", "7.3.4", "7.3.4")).await;
    assert_eq!(kind(&done), "done");
    let fleet = server
        .until("it is done", |fleet| fleet.is("Complete"))
        .await;
    assert_eq!(
        (fleet.hosts[0].state, fleet.groups[0].done),
        (HostState::Done, 1)
    );
    let next = call(&server, PRE_REBOOT, &asks("c", "h", "7.3.3", "7.3.4")).await;
    assert_eq!(next, Said::Yes);
}

#[tokio::test]
#[ignore = "takes etcd"]
async fn by_hand_names_host_and_reason_and_is_logged() {
    let cluster = Cluster::start(1).await.unwrap();
    let server = server(&cluster, SignedDuration::ZERO).await;
    server.policy(ONE).await;
    let (a, b) = (body("a", "default"), body("b", "default"));
    assert_eq!(call(&server, PRE_REBOOT, &a).await, Said::Yes);
    let base = server.base.clone();
    let done = tokio::task::spawn_blocking(move || {
        let settings = Settings {
            servers: vec!["http://127.0.0.1:1".to_owned(), base],
            ..Settings::default()
        };
        // The first server is not there: the second is asked.
        let client = Client::new(&settings).unwrap();
        let no_reason = client.by_hand("release", "a", " ").unwrap_err();
        assert!(no_reason.is_refusal(), "{no_reason}");
        let nobody = client.by_hand("hold", "nobody", "x").unwrap_err();
        assert!(
            matches!(nobody, Error::Refused { status: 404, .. }),
            "{nobody}"
        );
        let held = client.by_hand("forget", "a", "x").unwrap_err();
        assert!(held.to_string().contains("release it"), "{held}");
        // What changes nothing is told as such, and is not in the log.
        for (verb, reason, changed) in [
            ("resume", "x", false),
            ("release", "its board is broken", true),
            ("release", "its board is broken", false),
            ("hold", "looked at", true),
            ("hold", "wait for the new board", true),
            ("hold", "wait for the new board", false),
        ] {
            let done = client.by_hand(verb, "a", reason).unwrap();
            assert_eq!(done, changed, "{verb} {reason}");
        }
        let who = ClientParams {
            id: "a".to_owned(),
            group: "default".to_owned(),
        };
        let held = client.pre_reboot(&who, None).unwrap_err();
        assert!(held.to_string().contains("new board"), "{held}");
        (client.status(None).unwrap(), client.audit().unwrap())
    });
    let (fleet, log) = done.await.unwrap();
    assert_eq!(fleet.hosts[0].state, HostState::Held);
    let told: Vec<_> = log
        .iter()
        .map(|line| (line.what.as_str(), line.host.as_deref()))
        .collect();
    let a_host = Some("a");
    assert_eq!(
        told,
        [
            ("policy", None),
            ("granted", a_host),
            ("release", a_host),
            ("hold", a_host),
            ("hold", a_host)
        ]
    );
    assert_eq!(log[2].reason.as_deref(), Some("its board is broken"));
    assert_eq!(call(&server, PRE_REBOOT, &b).await, Said::Yes);
    let (status, text) = raw(&server, "GET /metrics HTTP/1.1", "").await;
    assert_eq!(status, 200);
    // What docs/fleet.md has.
    for name in [
        "luo_fleet_hosts{group=\"default\",state=\"held\"} 1",
        "luo_fleet_slots{group=\"default\"} 1",
        "luo_fleet_slots_taken{group=\"default\"} 1",
        "luo_fleet_oldest_slot_seconds ",
        "luo_fleet_halted 0",
        "luo_fleet_complete 0",
        "luo_fleet_up 1",
        "luo_fleet_clock_behind_milliseconds ",
        "luo_fleet_decisions_total{kind=\"permit\"} 2",
        "luo_fleet_decision_seconds_count ",
    ] {
        assert!(text.contains(name), "{name}\n{text}");
    }
    // The stop switch is for those, too, that have a slot and ask again.
    server
        .keeper
        .stop(Some("smoke"), "smoke", "a test")
        .await
        .unwrap();
    assert_eq!(kind(&call(&server, PRE_REBOOT, &b).await), "stopped");
    server
        .keeper
        .stop(None, "it was toast", "a test")
        .await
        .unwrap();
    assert_eq!(call(&server, PRE_REBOOT, &b).await, Said::Yes);
}
