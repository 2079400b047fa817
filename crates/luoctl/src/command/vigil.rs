// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether luod hangs while a command waits for more than luod: for workloads, or for the
//! kernel. A luod that is busy answers others meanwhile; one that hangs answers nobody.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use luo_client::agent::{Admin, Error};

use super::context::Context;
use super::pulse::{Pulse, given_up, moment, pulse};
use crate::failure::{Refusal, Result};
use crate::output::complain;

/// How often luod is asked whether it answers.
const EACH: Duration = Duration::from_secs(2);

/// How long one answer is waited for once it is said that there is none.
const LONG: Duration = Duration::from_secs(60);

/// As long as this is there, it is looked whether luod hangs.
pub(super) struct Vigil {
    has_given_up: Arc<AtomicBool>,
    timeout: Duration,
    /// Its end ends the thread.
    _done: mpsc::Sender<()>,
}

impl Vigil {
    /// Says it if luod hangs, and goes on waiting: it may be in the middle of an update, which
    /// nobody would see the end of.
    pub(super) fn begin(context: &Context) -> Self {
        let words = "luod does not answer; it may be in the middle of the update, so it is waited \
                     for. `systemctl status luod` (without systemd `ps -o pid,stat,wchan -C luod`) says whether it hangs; ^C cancels, and twice leaves";
        Self::watch(context, End::Never(words))
    }

    /// The same for a command that does nothing but look.
    pub(super) fn of_a_watch(context: &Context) -> Self {
        let words = "luod does not answer, so nothing is seen of what happens; it is waited for. \
                     `systemctl status luod` (without systemd `ps -o pid,stat,wchan -C luod`) says whether it hangs";
        Self::watch(context, End::Never(words))
    }

    /// Says it if luod hangs, and gives its connection up after --timeout.
    pub(super) fn with_end(context: &Context, admin: &Admin) -> Self {
        let line = admin.as_fd().try_clone_to_owned().ok();
        let end = line.map(|line| End::After(UnixStream::from(line)));
        // Without a copy of its connection luod is waited for.
        let never = "luod does not answer, and is waited for";
        Self::watch(context, end.unwrap_or(End::Never(never)))
    }

    fn watch(context: &Context, ends: End) -> Self {
        let has_given_up = Arc::new(AtomicBool::new(false));
        let (done, end) = mpsc::channel();
        let watch = Watch {
            folder: context.folder.clone(),
            timeout: context.timeout,
            ends,
            has_given_up: Arc::clone(&has_given_up),
        };
        if let Err(why) = std::thread::Builder::new().spawn(move || watch.run(&end)) {
            complain(format_args!(
                "luoctl: there can be no further thread ({why}; `ulimit -u` says how many), so a luod \
                 that hangs is waited for"
            ));
        }
        Self {
            has_given_up,
            timeout: context.timeout,
            _done: done,
        }
    }

    /// What came of a call. `left` says how things stand if luod was given up, `next` what to
    /// do then.
    pub(super) fn outcome<T, R: Refusal>(
        &self,
        result: core::result::Result<T, Error<R>>,
        left: &str,
        next: &str,
    ) -> Result<T> {
        match result {
            Err(Error::AgentGone) if self.has_given_up.load(Ordering::Acquire) => {
                Err(given_up(self.timeout, left).next(next))
            }
            result => Ok(result?),
        }
    }
}

/// What becomes of the wait for a luod that hangs.
enum End {
    /// It goes on; and the words for that.
    Never(&'static str),
    /// The connection is given up after --timeout.
    After(UnixStream),
}

struct Watch {
    folder: PathBuf,
    timeout: Duration,
    ends: End,
    has_given_up: Arc<AtomicBool>,
}

impl Watch {
    fn run(&self, end: &mpsc::Receiver<()>) {
        let mut since: Option<Instant> = None;
        let mut is_said = false;
        loop {
            // Each connection waits in the queue of a luod that hangs, so there are few.
            let within = match since {
                None => moment(self.timeout),
                Some(since) if matches!(self.ends, End::After(_)) => {
                    let left = self.timeout.saturating_sub(since.elapsed());
                    left.max(Duration::from_millis(1))
                }
                Some(_) => LONG,
            };
            let began = Instant::now();
            let pulse = pulse(&self.folder, within);
            if end.try_recv() != Err(mpsc::TryRecvError::Empty) {
                return;
            }
            match pulse {
                Pulse::Answers | Pulse::Unknown => {
                    if is_said && matches!(pulse, Pulse::Answers) {
                        complain("luoctl: luod answers again");
                    }
                    (since, is_said) = (None, false);
                    if end.recv_timeout(EACH) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
                Pulse::Hangs => {
                    let since = *since.get_or_insert(began);
                    if self.gives_up(since) {
                        return;
                    }
                    if !is_said {
                        is_said = true;
                        self.say();
                    }
                }
            }
        }
    }

    fn say(&self) {
        match self.ends {
            End::After(_) => complain(format_args!(
                "luoctl: luod does not answer yet; it has {} s (--timeout)",
                self.timeout.as_secs_f64()
            )),
            End::Never(words) => complain(format_args!("luoctl: {words}")),
        }
    }

    /// Ends the connection of a luod that has hung for too long.
    fn gives_up(&self, since: Instant) -> bool {
        let End::After(line) = &self.ends else {
            return false;
        };
        if since.elapsed() < self.timeout {
            return false;
        }
        self.has_given_up.store(true, Ordering::Release);
        // If this fails the connection is over already.
        let _ = line.shutdown(std::net::Shutdown::Both);
        true
    }
}
