// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent of a stage: its process, and how it stands.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use luo_client::agent::{Admin, Status};
use luo_varlink::{HistoryEntry, Phase, WorkloadState};
use rustix::process::{Pid, Signal, kill_process};

use super::children::child_of;
use super::wait::until;
use super::{Stage, lock};

impl Stage {
    /// Starts the agent, as its small service manager would, with lines of
    /// configuration; waits until it can be talked to.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_agent(&self, lines: &str) -> Result<()> {
        let config = self.folder.join("luod.toml");
        let state = self.folder.join("state");
        let root = &self.root;
        let text = format!("state_directory = {state:?}\n{lines}\n[checks]\nroot = {root:?}\n");
        fs::write(&config, text)?;
        self.limit(&self.limits)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("luod.log"))?;
        let (program, word) = &self.luod;
        let child = Command::new(program)
            .args(word)
            .arg("--config")
            .arg(config)
            .arg("--policy")
            .arg(self.folder.join("policy.toml"))
            .arg("--runtime-directory")
            .arg(self.runtime())
            .arg("supervise")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("luod")?;
        *lock(&self.agent) = Some(child);
        self.agent_answers()
    }

    /// Writes the policy, with limits. It counts when the agent is started again.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn limit(&self, limits: &str) -> Result<()> {
        // Names alone keep nobody out here: identities have to.
        let policy = format!("[limits]\n{limits}\n[[allow]]\nuid = 4711\nnames = [\"*\"]\n");
        fs::write(self.folder.join("policy.toml"), policy)?;
        Ok(())
    }

    /// Waits until the agent answers.
    ///
    /// # Errors
    /// It does not.
    pub fn agent_answers(&self) -> Result<()> {
        until("luod", || Ok(self.status().is_ok()))
    }

    /// How the agent stands.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self) -> Result<luo_varlink::Status> {
        Ok(Status::connect_to(&self.runtime())?.get()?)
    }

    /// The agent, as administrators have it.
    ///
    /// # Errors
    /// It does not answer.
    pub fn admin(&self) -> Result<Admin> {
        Ok(Admin::connect_to(&self.runtime())?)
    }

    /// The last updates, the newest first.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn history(&self) -> Result<Vec<HistoryEntry>> {
        let mut history = Status::connect_to(&self.runtime())?.history(100)?;
        history.retain(|entry| entry.outcome.is_over());
        Ok(history)
    }

    /// The agent's process. Its parent is the small service manager.
    ///
    /// # Errors
    /// It is not there.
    pub fn agent_process(&self) -> Result<Pid> {
        let manager = lock(&self.agent).as_ref().map(Child::id);
        child_of(manager.context("no agent was started")?)
    }

    /// Kills the agent itself with SIGKILL. Its manager starts it again.
    ///
    /// # Errors
    /// It is not there.
    pub fn kill_agent(&self) -> Result<()> {
        let pid = self.agent_process()?;
        kill_process(pid, Signal::KILL)?;
        let path = format!("/proc/{}", pid.as_raw_nonzero());
        // Its number is gone once its parent has seen that it has ended.
        until("the end of luod", || Ok(!Path::new(&path).exists()))
    }

    /// Waits until the agent is in a phase.
    ///
    /// # Errors
    /// It does not come there.
    pub fn phase(&self, phase: Phase) -> Result<()> {
        until(phase.word(), || {
            Ok(self.status().is_ok_and(|status| status.phase == phase))
        })
    }

    /// Asserts that members run, connected, and that no update is under way.
    ///
    /// # Errors
    /// One does not.
    pub fn all_run(&self, names: &[&str]) -> Result<()> {
        let status = self.status()?;
        ensure!(
            status.phase == Phase::Normal,
            "the phase is {}",
            status.phase
        );
        for name in names {
            let mut workloads = status.workloads.iter();
            let workload = workloads.find(|workload| workload.name == *name);
            let workload = workload.with_context(|| format!("{name} is not there"))?;
            ensure!(
                workload.state == WorkloadState::Running && workload.connected,
                "{name} is {}",
                workload.state
            );
        }
        Ok(())
    }
}
