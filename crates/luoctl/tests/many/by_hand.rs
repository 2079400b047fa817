// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an administrator sees of a fleet, and does to it, by luoctl.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use luo_fleet::dev::call::{Caller, Said};
use luo_fleetlock::lock::{Body, ClientParams, PRE_REBOOT};
use serde_json::Value;

use super::Fleet;
use crate::machine::LUOCTL;

fn luoctl(server: &str, words: &[&str]) -> Command {
    let mut command = Command::new(LUOCTL);
    command
        .args(words)
        .env("LUO_FLEET_SERVER", server)
        .env_remove("LUO_FLEET_TOKEN");
    command
}

fn ran(server: &str, words: &[&str]) -> Output {
    tokio::task::block_in_place(|| luoctl(server, words).output().unwrap())
}

fn document(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn host<'a>(fleet: &'a Value, id: &str) -> &'a Value {
    let mut hosts = fleet["hosts"].as_array().unwrap().iter();
    hosts.find(|host| host["id"] == id).unwrap()
}

async fn asks(server: &str, id: &str) -> Said {
    let body = Body {
        client_params: ClientParams {
            id: id.to_owned(),
            group: "rack".to_owned(),
        },
        liveupdate: None,
        liveupdate_outcome: None,
    };
    let mut caller = Caller::new(server).unwrap();
    caller.call(PRE_REBOOT, &body).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes etcd"]
async fn luoctl_shows_a_fleet_and_does_by_hand_what_is_to_be_done() {
    let policy = "rollout = \"r\"\nslots = 1\n[[group]]\nname = \"rack\"\n";
    let fleet = Fleet::start(1, 0, policy).await;
    let server = format!("http://{}", fleet.servers.addresses[0]);
    assert_eq!(asks(&server, "one").await, Said::Yes);
    assert!(matches!(asks(&server, "two").await, Said::No(..)));
    let both = |fleet: &luo_fleetlock::status::Fleet| fleet.hosts.len() == 2;
    fleet.here[0].until("both hosts", both).await;

    let seen = ran(&server, &["fleet", "status", "--json"]);
    assert!(seen.status.success(), "{seen:?}");
    let seen = document(&seen.stdout);
    assert!(host(&seen, "one")["slot_since_ms"].is_number(), "{seen}");
    assert!(host(&seen, "two")["why"].is_string(), "{seen}");
    let text = ran(&server, &["fleet", "status"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("1 of 1") && text.contains("updating"),
        "{text}"
    );

    // Whoever watches sees what is done by hand, and when.
    let mut watcher = luoctl(&server, &["fleet", "status", "--watch", "--json"]);
    let mut watcher = watcher.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let mut until = |is: &dyn Fn(&Value) -> bool| {
        tokio::task::block_in_place(|| {
            loop {
                let line = lines.next().unwrap().unwrap();
                if is(&document(line.as_bytes())) {
                    return;
                }
            }
        });
    };
    until(&|fleet| fleet["hosts"].as_array().unwrap().len() == 2);

    // Without a reason nothing is done.
    let bare = ran(&server, &["fleet", "release", "one"]);
    assert_eq!(bare.status.code(), Some(64), "{bare:?}");
    let dry = ["--dry-run", "fleet", "release", "one", "--reason", "dry"];
    assert!(ran(&server, &dry).status.success());
    for (verb, id, state) in [
        ("hold", "two", "held"),
        ("resume", "two", "waiting"),
        ("release", "one", "waiting"),
    ] {
        let done = ran(&server, &["fleet", verb, id, "--reason", "a new board"]);
        assert!(done.status.success(), "{done:?}");
        until(&|fleet| host(fleet, id)["state"] == state);
    }
    // What changes nothing says so, and is not in the log.
    for (verb, words) in [("release", "it has no slot"), ("resume", "it is not held")] {
        let done = ran(&server, &["fleet", verb, "one", "--reason", "a new board"]);
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success() && said.contains(words), "{said}");
    }
    let dry = ["--dry-run", "fleet", "hold", "nobody", "--reason", "dry"];
    assert_eq!(ran(&server, &dry).status.code(), Some(66));
    assert_eq!(asks(&server, "two").await, Said::Yes);
    let gone = ran(&server, &["fleet", "forget", "one", "--reason", "sold"]);
    assert!(gone.status.success(), "{gone:?}");
    until(&|fleet| fleet["hosts"].as_array().unwrap().len() == 1);
    let nobody = ran(&server, &["fleet", "hold", "nobody", "--reason", "x"]);
    assert!(!nobody.status.success(), "{nobody:?}");
    watcher.kill().unwrap();
    watcher.wait().unwrap();

    let log = fleet.log().await;
    let by_hand: Vec<_> = log
        .iter()
        .filter(|line| line.reason.as_deref() == Some("a new board"))
        .map(|line| (line.what.as_str(), line.host.as_deref().unwrap()))
        .collect();
    let wanted = [("hold", "two"), ("resume", "two"), ("release", "one")];
    assert_eq!(by_hand, wanted);
    assert!(log.iter().all(|line| line.reason.as_deref() != Some("dry")));
}
