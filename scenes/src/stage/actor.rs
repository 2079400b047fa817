// SPDX-License-Identifier: MIT OR Apache-2.0
//! A member's process: what it is started with, and what it says.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use luo_varlink::paths;

use super::wait::{PATIENCE, until};
use crate::member::Member;

/// A member that was started.
pub(super) struct Actor {
    name: String,
    process: Child,
    said: Receiver<String>,
    /// All lines that were heard.
    heard: Vec<String>,
}

impl Actor {
    /// Starts a member, whose gate is there if it has one.
    pub(super) fn start(member: &Member, folder: &Path, runtime: &Path) -> Result<Self> {
        let mut process = Command::new("/proc/self/exe")
            .arg("member")
            .args(arguments(member))
            .arg("--folder")
            .arg(folder)
            .env(paths::RUNTIME_VARIABLE, runtime)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| member.name.clone())?;
        let out = process.stdout.take().context("its output")?;
        let (tell, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            name: member.name.clone(),
            process,
            said,
            heard: Vec::new(),
        })
    }

    /// Waits until it says one of some words, from now on; gives the whole line.
    pub(super) fn hear(&mut self, words: &[&str]) -> Result<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            match self.said.recv_timeout(rest) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line
                        .split(' ')
                        .next()
                        .is_some_and(|word| words.contains(&word))
                    {
                        return Ok(line);
                    }
                }
                Err(why) => {
                    let ended = match why {
                        RecvTimeoutError::Timeout => "in time",
                        RecvTimeoutError::Disconnected => "before it ended",
                    };
                    bail!(
                        "{} did not say {} {ended}; it said {:?}",
                        self.name,
                        words.join(" or "),
                        self.heard
                    );
                }
            }
        }
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Ends it, if it has not ended by itself.
    pub(super) fn end(&mut self) -> Result<()> {
        let _ = self.process.kill();
        self.process.wait()?;
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub(super) fn ended(mut self) -> Result<()> {
        let mut status = None;
        until("the end of a member", || {
            status = self.process.try_wait()?;
            Ok(status.is_some())
        })?;
        let status = status.context("its status")?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }
}

fn arguments(member: &Member) -> Vec<String> {
    let mut all = vec![member.name.clone(), format!("--bytes={}", member.bytes)];
    if !member.needs.is_empty() {
        all.push(format!("--needs={}", member.needs.join(",")));
    }
    if member.leave {
        all.push("--leave".to_owned());
    }
    let steps = [("veto", member.veto), ("hang", member.hang)];
    for (option, step) in steps {
        all.extend(step.map(|step| format!("--{option}={step}")));
    }
    all.extend(member.gate.as_ref().map(|gate| format!("--gate={gate}")));
    all
}
