// SPDX-License-Identifier: MIT OR Apache-2.0
//! The members of a stage: started, heard, stopped at their gates, killed.

use std::fs::{self, File, OpenOptions};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use luo_varlink::paths;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::actor::Actor;
use super::{Stage, lock};
use crate::member::{Member, gate_path};

impl Stage {
    /// Starts a member.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, member: &Member) -> Result<()> {
        if member.gate.is_some() {
            let path = gate_path(&self.folder, &member.name);
            let _ = fs::remove_file(&path);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        let actor = Actor::start(member, &self.folder, &self.runtime())?;
        lock(&self.members).insert(member.name.clone(), actor);
        Ok(())
    }

    /// Waits until a member says a word, from now on; gives the whole line.
    ///
    /// # Errors
    /// It does not, or says that something is wrong.
    pub fn hear(&self, name: &str, word: &str) -> Result<String> {
        self.hear_one_of(name, &[word])
    }

    /// Waits until a member says one of some words, from now on; gives the whole line.
    ///
    /// # Errors
    /// As [`Stage::hear`].
    pub fn hear_one_of(&self, name: &str, words: &[&str]) -> Result<String> {
        let mut members = lock(&self.members);
        let actor = members.get_mut(name).with_context(|| name.to_owned())?;
        actor.hear(words)
    }

    /// Waits until a member is at its gate, and leaves it there. Dropping what this
    /// gives opens the gate.
    ///
    /// # Errors
    /// It does not come there.
    pub fn at_gate(&self, name: &str, point: &str) -> Result<File> {
        self.hear(name, point)?;
        let path = gate_path(&self.folder, name);
        // It opens when the member has opened the other end.
        Ok(OpenOptions::new().write(true).open(path)?)
    }

    /// Kills a member with SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// It was not there.
    pub fn kill(&self, name: &str) -> Result<()> {
        self.leaves(name)?.kill()
    }

    /// Waits until a member has ended by itself.
    ///
    /// # Errors
    /// It has failed.
    pub fn ended(&self, name: &str) -> Result<()> {
        self.leaves(name)?.ended()
    }

    /// A member that is not on the stage any more.
    fn leaves(&self, name: &str) -> Result<Actor> {
        let actor = lock(&self.members).remove(name);
        actor.with_context(|| name.to_owned())
    }

    /// Registers as somebody else; gives the refusal.
    ///
    /// # Errors
    /// It was not refused; this process may not become somebody else.
    pub fn register_as(&self, who: &luo_varlink::Identity, name: &str) -> Result<String> {
        use std::os::unix::fs::PermissionsExt;
        use std::os::unix::process::CommandExt;
        let socket = self.runtime().join(paths::CLIENT);
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666))?;
        let output = Command::new("/proc/self/exe")
            .args(["try-register", name])
            .env(paths::RUNTIME_VARIABLE, self.runtime())
            .uid(who.uid)
            .gid(who.gid)
            .output()
            .context("becoming somebody else takes root")?;
        ensure!(!output.status.success(), "it was let in");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
