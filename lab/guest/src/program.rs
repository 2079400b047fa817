// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of a user's: this one, started again with a part to play. Such a program says what
//! it does, a line at a time.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use luo_scenes::stage::within;
use rustix::process::{Pid, Signal, kill_process};

/// A program has what it needs for its part, and waits for [`GO`].
pub(crate) const READY: &str = "ready";
/// A file that is there when a program may go on.
pub(crate) const GO: &str = "/tmp/go";
/// How long a program waits before it looks again.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// In a program: waits until it may go on.
pub(crate) fn wait_to_go() {
    wait_for(Path::new(GO));
}

/// In a program: waits until those may go on that play its part.
pub(crate) fn wait_to_go_as(part: &str) {
    wait_for(&go_of(part));
}

/// A file that is there when those may go on that play a part, beside others that may not.
pub(crate) fn go_of(part: &str) -> PathBuf {
    format!("{GO}-{part}").into()
}

fn wait_for(file: &Path) {
    while !file.exists() {
        std::thread::sleep(PAUSE);
    }
}

/// In a program: until it is killed.
pub(crate) fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

/// One that runs. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Starts it as a user, with arguments and what it inherits.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn begin(user: u32, arguments: &[&str], inherits: impl Into<Stdio>) -> Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .args(arguments)
            .stdin(inherits)
            .stdout(Stdio::piped())
            .uid(user)
            .gid(user)
            .spawn()
            .with_context(|| format!("{arguments:?}"))?;
        let said = Arc::<Mutex<Vec<String>>>::default();
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                lock(&heard).push(line);
            }
        });
        Ok(Self { child, said })
    }

    /// What it has said that begins so.
    pub(crate) fn has_said(&self, begin: &str) -> Vec<String> {
        let said = lock(&self.said);
        let lines = said.iter().filter(|line| line.starts_with(begin));
        lines.cloned().collect()
    }

    /// Waits until it has said so many lines that begin so; gives the last.
    ///
    /// # Errors
    /// It does not, or has ended.
    pub(crate) fn says(&mut self, begin: &str, lines: usize, patience: Duration) -> Result<String> {
        let mut last = None;
        within(patience, begin, || {
            let heard = self.has_said(begin);
            last = heard.last().cloned();
            ensure!(heard.len() >= lines || self.runs()?, "it has ended");
            Ok(heard.len() >= lines)
        })
        .with_context(|| format!("it said {:?}", lock(&self.said)))?;
        Ok(last.unwrap_or_default())
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Has it be killed, and does not wait: what it waits for may be ours.
    ///
    /// # Errors
    /// It has ended before, and been waited for.
    pub(crate) fn signal(&mut self) -> Result<()> {
        Ok(self.child.kill()?)
    }

    /// Does something while it stands still.
    ///
    /// # Errors
    /// It has ended; or that fails.
    pub(crate) fn while_it_stands<T>(&self, does: impl FnOnce() -> Result<T>) -> Result<T> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP)?;
        let done = does();
        kill_process(pid, Signal::CONT)?;
        done
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    /// It has ended before, and been waited for.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Not waited for: what it waits for may be ours.
        let _ = self.child.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
