// SPDX-License-Identifier: MIT OR Apache-2.0
//! Workloads, by the words of a script.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use luo_client::agent::{Agent, Event, EventKind, Workload};
use luo_client::kernel::memfd;
use luo_client::{SessionName, Token};

use crate::common::Result;

/// How long luod may be gone.
const BACK: Duration = Duration::from_secs(60);

pub(crate) fn start_workload(words: &[&str]) -> Result<Child> {
    let mut child = Command::new(env::current_exe()?)
        .arg("workload")
        .args(words)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("no pipe")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    match line.as_str() {
        "ready\n" => Ok(child),
        line => Err(format!("the workload {words:?} said '{line}'").into()),
    }
}

/// The part that a workload plays.
struct Role<'a> {
    words: &'a [&'a str],
}

impl<'a> Role<'a> {
    fn value(&self, key: &str) -> Option<&'a str> {
        let mut words = self.words.iter();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }
}

pub(crate) fn workload(name: &str, words: &[&str]) -> Result {
    let role = Role { words };
    let needs: Vec<&str> = role
        .value("needs")
        .map_or(vec![], |text| text.split(',').collect());
    let mut workload = Agent::connect()?.register(name, &needs)?;
    let session_name = SessionName::new(name)?;
    let claims = role.has("claim") || role.has("claim-only");
    let _session = if claims {
        let claim = workload.claim(&session_name)?;
        claim.session.retrieve_fd(Token(7))?;
        if role.has("claim") {
            workload.restored()?;
            workload.surely(BACK, |workload| workload.finish_session(&session_name))?;
        }
        claim.session
    } else {
        let session = workload.create_session(&session_name)?;
        session.preserve_fd(memfd::create("memory", 8192)?, Token(7))?;
        session
    };
    println!("ready");
    loop {
        let event = match role.has("stays") {
            // luod may end and come back.
            true => workload.surely(BACK, Workload::next_event)?,
            false => workload.next_event()?,
        };
        if event.kind != EventKind::Cancel && !answer(&mut workload, &role, &event)? {
            return Ok(());
        }
    }
}

/// Whether it stays.
fn answer(workload: &mut Workload, role: &Role<'_>, event: &Event) -> Result<bool> {
    let step = match event.kind {
        EventKind::Prepare => "prepare",
        EventKind::Freeze => "freeze",
        EventKind::Cancel => return Ok(true),
    };
    if role.value("hang") == Some(step) {
        return Ok(true);
    }
    let veto = role.value("veto").and_then(|text| text.split_once(':'));
    match veto.filter(|(when, _)| *when == step) {
        Some((_, reason)) => workload.veto(event, &reason.replace('_', " "))?,
        None => workload.ready(event)?,
    }
    if role.has("leave") {
        workload.detach()?;
        return Ok(false);
    }
    Ok(true)
}
