// SPDX-License-Identifier: MIT OR Apache-2.0
//! luod, or `luod supervise`, with a configuration of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::agent::{PATIENCE, Raw, open_policy, until};

/// A folder with a configuration and a policy, and the program that uses them.
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn folder(config: &str, policy: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let config = format!("state_directory = {state:?}\n{config}");
    fs::write(folder.path().join("luod.toml"), config).unwrap();
    fs::write(folder.path().join("policy.toml"), policy).unwrap();
    folder
}

pub(crate) fn command(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_luod"));
    command
        .arg("--config")
        .arg(folder.join("luod.toml"))
        .arg("--policy")
        .arg(folder.join("policy.toml"))
        .arg("--runtime-directory")
        .arg(folder.join("run"))
        .args(more)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .env_remove("RUST_LOG");
    command
}

impl Started {
    pub(crate) fn new(config: &str, policy: &str, more: &[&str]) -> Self {
        let folder = folder(config, policy);
        let log = File::create(folder.path().join("log")).unwrap();
        let child = command(folder.path(), more).stderr(log).spawn().unwrap();
        Self { child, folder }
    }

    /// One that a shell runs, which has done something before.
    pub(crate) fn after(before: &str, more: &[&str], log: impl Into<Stdio>) -> Self {
        Self::in_a_shell(before, more, |_| log.into())
    }

    /// One that may make no file longer than so many KiB, as a shell's `ulimit -f` has it.
    pub(crate) fn limited(most: u32, more: &[&str]) -> Self {
        let log = |folder: &Path| match most {
            // With no length at all the log of a test is nothing but a pipe.
            0 => Stdio::null(),
            _ => File::create(folder.join("log")).unwrap().into(),
        };
        Self::in_a_shell(&format!("ulimit -f {most}"), more, log)
    }

    fn in_a_shell(before: &str, more: &[&str], log: impl FnOnce(&Path) -> Stdio) -> Self {
        let folder = folder("", &open_policy());
        let luod = command(folder.path(), more);
        let child = Command::new("sh")
            .args(["-c", &format!("{before}; exec \"$0\" \"$@\"")])
            .arg(luod.get_program())
            .args(luod.get_args())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .env("RUST_LOG", "info")
            .stderr(log(folder.path()))
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    pub(crate) fn status(&self) -> Value {
        let stream = std::os::unix::net::UnixStream::connect(self.path("run/status"));
        let mut peer = Raw::new(stream.unwrap());
        peer.call("org.liveupdate.Status.GetStatus", serde_json::json!({}))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub(crate) fn wait_until_up(&self) {
        until("luod", || {
            self.log().contains("is up") && self.connect().is_some()
        });
    }

    pub(crate) fn connect(&self) -> Option<Raw> {
        let stream = std::os::unix::net::UnixStream::connect(self.path("run/client"));
        stream.ok().map(Raw::new)
    }

    pub(crate) fn register(&self, name: &str) -> Value {
        self.connect().unwrap().register(name)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The agent that `luod supervise` has started.
    pub(crate) fn agent(&self) -> Pid {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        Pid::from_raw(children.trim().parse().unwrap()).unwrap()
    }

    pub(crate) fn ends(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it does not end:\n{}",
                self.log()
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn is_there(process: Pid) -> bool {
    // Who has ended stays as a zombie until somebody waits for it.
    let status = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    status.is_ok_and(|status| !status.contains(") Z "))
}
