// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl update --fleet` and `luoctl fleet`, with a server that knows no more than the
//! protocol's text: any FleetLock server will do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::machine::Machine;

/// A call that a server has got: its path and its body.
type Call = (String, Value);

/// A server of the protocol, which answers as it is told.
struct Server {
    base: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// A request: its path, whether it has the protocol's header, and its body.
fn request(stream: &mut BufReader<&TcpStream>) -> Option<(String, bool, Value)> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let is_post = line.starts_with("POST ");
    let (mut length, mut is_meant) = (0, false);
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        let head = line.trim().to_lowercase();
        if head.is_empty() {
            break;
        }
        if let Some(text) = head.strip_prefix("content-length:") {
            length = text.trim().parse().ok()?;
        }
        is_meant |= head == "fleet-lock-protocol: true";
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((
        path,
        is_post && is_meant,
        serde_json::from_slice(&body).ok()?,
    ))
}

impl Server {
    /// `answers`: to each path, what is answered first; then it is always 200.
    fn start(mut answers: Vec<(&'static str, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/base", listener.local_addr().unwrap());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let Some((path, is_meant, body)) = request(&mut BufReader::new(&stream)) else {
                    continue;
                };
                assert!(is_meant, "{path}");
                let known = ["/base/v1/pre-reboot", "/base/v1/steady-state"];
                let at = answers.iter().position(|(to, _)| path.ends_with(to));
                let answer = match at {
                    // What is not the protocol's is not known.
                    _ if !known.contains(&path.as_str()) => "404 Not Found",
                    Some(at) => answers.remove(at).1,
                    None => "200 OK",
                };
                seen.lock().unwrap().push((path, body));
                let text =
                    r#"{"kind": "failed_lock_semaphore_full", "value": "all slots are locked"}"#;
                let text = if answer.starts_with("200") { "" } else { text };
                let _ = write!(
                    &stream,
                    "HTTP/1.1 {answer}\r\nretry-after: 1\r\nconnection: close\r\n\
                     content-length: {}\r\n\r\n{text}",
                    text.len()
                );
            }
        });
        Self { base, calls }
    }

    /// The last words of the paths that were called.
    fn paths(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let last = |(path, _): &Call| path.rsplit('/').next().unwrap().to_owned();
        calls.iter().map(last).collect()
    }

    fn last(&self) -> Value {
        self.calls.lock().unwrap().last().unwrap().1.clone()
    }
}

fn config(base: &str, more: &str) -> String {
    format!("[fleet]\nserver = \"{base}\"\nid = \"host-7\"\ngroup = \"rack-1\"\n{more}\n")
}

const UPDATE: &str = "luoctl update --fleet --config FOLDER/luod.toml";

#[test]
fn a_slot_is_taken_before_an_update_and_given_back_when_the_machine_is_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    // It says no for the first two times.
    let health = format!(
        "health = [\"/bin/sh\", \"-c\", \"echo x >> {0}; test $(wc -l < {0}) -gt 2\"]\n\
         health_interval = 0.05\nsoak = 0.2",
        count.display()
    );
    let server = Server::start(vec![
        ("pre-reboot", "409 Conflict"),
        ("pre-reboot", "409 Conflict"),
        ("steady-state", "503 Service Unavailable"),
    ]);
    let before = format!(
        "
        luod
        workload cache
        {UPDATE} --no-wait
        luoctl fleet slot --config FOLDER/luod.toml
        luoctl history
        jump {UPDATE}
    "
    );
    let after = "
        luod
        luoctl status --config FOLDER/luod.toml
        workload cache claim
        wait normal
        luoctl fleet keep --once --config FOLDER/luod.toml
        luoctl fleet slot --config FOLDER/luod.toml
        luoctl history
    ";
    let machine = Machine::new(&config(&server.base, &health));
    let said = machine.boot(&before).boot(after).run();
    for words in [
        "the fleet does not let this machine begin now: all slots are locked",
        "[exit Some(1)]",
        "this machine has no slot",
        "this machine has a slot, or may have one: it was taken for an update",
        "the health command /bin/sh says no",
        "the machine is healthy, and watched for",
        "the slot cannot be given back",
        "the slot of the fleet is given back: completed",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    // Twice refused, taken; that the health command says no is told, which this server does not
    // know; given back at the second attempt.
    assert_eq!(
        server.paths(),
        [
            "pre-reboot",
            "pre-reboot",
            "pre-reboot",
            "report",
            "steady-state",
            "steady-state"
        ]
    );
    let last = server.last();
    let who = serde_json::json!({"id": "host-7", "group": "rack-1"});
    assert_eq!(last["client_params"], who);
    let outcome = &last["liveupdate_outcome"];
    assert_eq!(outcome["ending"], "completed");
    assert!(
        outcome["blackout_us"].as_u64().is_some_and(|us| us > 0),
        "{last}"
    );
    assert!(outcome["phases_us"]["preparing"].is_u64(), "{last}");
}

#[test]
fn a_veto_gives_the_slot_back_at_once() {
    let server = Server::start(Vec::new());
    let said = Machine::new(&config(&server.base, ""))
        .boot(&format!(
            "
            luod
            workload cache veto=prepare:busy
            {UPDATE}
            luoctl fleet slot --config FOLDER/luod.toml
        "
        ))
        .run();
    assert!(
        said.contains("busy") && said.contains("this machine has no slot"),
        "{said}"
    );
    assert_eq!(server.paths(), ["pre-reboot", "steady-state"]);
    assert_eq!(server.last()["liveupdate_outcome"]["ending"], "cancelled");
}

#[test]
fn without_a_server_there_is_no_update_and_the_slot_that_may_be_is_given_back_later() {
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let said = Machine::new(&config(&base, ""))
        .boot(&format!(
            "
            luod
            workload cache
            {UPDATE}
            luoctl fleet slot --config FOLDER/luod.toml
            luoctl history
        "
        ))
        .run();
    for words in [
        "no server of the fleet answers",
        "[exit Some(69)]",
        // The answer may have been lost.
        "this machine has a slot, or may have one",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    assert!(!said.contains("preparing"), "{said}");
}
