// SPDX-License-Identifier: MIT OR Apache-2.0
//! A lock that keeps others from shutting the machine down while a kernel is loaded: any
//! reboot would be a jump then. systemd-inhibit(1) has the lock as long as the program
//! below it runs, which ends with the last of this process that holds the other end of its
//! standard input.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long the manager has to grant it.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much of what systemd-inhibit(1) says against it is read, in bytes.
const MOST_SAID: u64 = 512;

/// The lock.
#[derive(Debug)]
pub struct Inhibitor {
    child: Child,
    /// Its end ends the program, and so the lock.
    input: Option<ChildStdin>,
}

impl Inhibitor {
    /// Takes the lock. Without systemd there is none, and if systemd does not grant it the
    /// update goes on.
    #[must_use]
    pub fn take() -> Option<Self> {
        // Where that cannot be looked at, the lock is tried for.
        if let Ok(false) = Path::new("/run/systemd/system").try_exists() {
            return None;
        }
        let mut command = Command::new("systemd-inhibit");
        command.args([
            "--what=shutdown",
            "--mode=block",
            "--who=luod",
            "--why=a live update is under way, and any reboot would jump into its kernel",
            "cat",
        ]);
        match Self::by(command) {
            Ok(lock) => Some(lock),
            Err(why) => {
                tracing::warn!("systemd-inhibit: {why}: a reboot now would jump");
                None
            }
        }
    }

    /// Gives the lock back, and waits until the manager has noticed: until then it refuses this
    /// very process's shutdown, too.
    pub fn release(self) {
        let pid = self.child.id().to_string();
        drop(self);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let arguments = ["--list", "--no-legend", "--no-pager"];
            let asked = Command::new("systemd-inhibit").args(arguments).output();
            // A manager that cannot be asked holds nothing up that this could wait for.
            let is_listed = asked.is_ok_and(|output| lists(&output.stdout, &pid));
            if !is_listed {
                return;
            }
        }
        tracing::warn!("systemd-inhibit: the lock is not given back yet");
    }

    /// One that no manager knows of.
    #[cfg(test)]
    pub(crate) fn made_up() -> Self {
        Self::by(Command::new("cat")).expect("cat")
    }

    /// Runs a program that has the lock once it echoes what it reads.
    fn by(mut command: Command) -> std::io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut lock = Self { child, input };
        let (Some(input), Some(mut output)) = (&mut lock.input, output) else {
            return Err(std::io::Error::other("there is no pipe"));
        };
        // If it has ended already, what it has said tells more than this.
        let _ = input.write_all(b"\n");
        let mut fds = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
        let patience = Timespec::try_from(PATIENCE).unwrap_or_default();
        let answered = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&patience)))? > 0;
        match answered.then(|| output.read(&mut [0])).transpose()? {
            Some(1..) => Ok(lock),
            Some(0) => Err(std::io::Error::other(lock.why_refused())),
            None => Err(std::io::Error::other("it is not granted in time")),
        }
    }
}

impl Inhibitor {
    /// The words of the program when it ended without a lock.
    fn why_refused(&mut self) -> String {
        let mut said = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            // It has ended, or is about to: its other output is closed.
            let _ = errors.take(MOST_SAID).read_to_end(&mut said);
        }
        let said = String::from_utf8_lossy(&said);
        let said = said.lines().next().unwrap_or_default().trim();
        if said.is_empty() {
            "it ends without the lock and says nothing".to_owned()
        } else {
            said.to_owned()
        }
    }
}

/// Whether the manager's list has a lock of a process: `luod 0 root 812 systemd-inhibit ...`.
fn lists(list: &[u8], pid: &str) -> bool {
    let list = String::from_utf8_lossy(list);
    let mut lines = list.lines().map(|line| line.split_whitespace().skip(1));
    lines.any(|mut words| words.any(|word| word == pid))
}

impl Drop for Inhibitor {
    fn drop(&mut self) {
        self.input = None;
        // The program below ends by itself; what waits for it need not be waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_there_until_it_is_dropped() {
        let lock = Inhibitor::by(Command::new("cat")).unwrap();
        let pid = lock.child.id();
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        drop(lock);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_lock_is_found_in_the_list() {
        let list = b"luod 0 root 812 systemd-inhibit shutdown a live update block\n\
                     812 0 root 7 x sleep - delay\n";
        assert!(lists(list, "812") && lists(list, "7"));
        assert!(!lists(list, "81") && !lists(b"812 a b 9 c d e f", "812"));
        assert!(!lists(b"", "812"));
    }

    #[test]
    fn who_does_not_grant_it_is_told_apart() {
        let silent = Inhibitor::by(Command::new("true")).unwrap_err();
        assert!(silent.to_string().contains("says nothing"), "{silent}");
        let mut refused = Command::new("sh");
        refused.args(["-c", "echo Access denied >&2; echo more >&2; exit 1"]);
        let refused = Inhibitor::by(refused).unwrap_err();
        assert_eq!(refused.to_string(), "Access denied");
        assert!(Inhibitor::by(Command::new("/nonexistent")).is_err());
    }
}
