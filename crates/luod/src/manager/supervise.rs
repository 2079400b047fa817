// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small service manager for machines without systemd: it starts the agent, keeps
//! the descriptors that the agent stores, and starts it anew with them when it dies.
//!
//! The agent speaks systemd's protocol, see sd_notify(3), "FDSTORE=1". The new agent
//! fetches what was kept from a socket of its own (`protocol::fetch`): one
//! descriptor with each message, and the message is its name.

//!
//! | file | concern |
//! |---|---|
//! | `kept` | what is kept, and what is known of the agent |
//! | `signals` | signals, and the waiting for all that may come |
//! | `sockets` | the sockets, to which nobody but the agent is listened |
//! | here | the agent is started, watched, and started again |
//!
//! Once it runs, nothing that fails ends it while something is kept: what is kept goes with it.

mod kept;
mod signals;
mod sockets;

use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::alone::{has_no_agent, supervises};
use super::protocol::{COUNT, MOST, ROOM, SOCKET};
use kept::{Kept, WATCHDOG};
use signals::{Signals, ends};
use sockets::Sockets;

/// The exit code of an agent whose configuration or policy cannot be used: to start it again
/// does not help. It is that of sysexits.h.
pub const BAD_CONFIG: u8 = 78;

/// The exit code of an agent whose kernel refuses what the previous one has handed over: to start
/// it again does not help before the next boot. It is that of sysexits.h.
pub const REFUSED_HANDOVER: u8 = 71;

/// An agent that dies so soon after its start has failed, though it may have been up: it is not
/// started again at once.
const SOON: Duration = Duration::from_secs(60);

/// How long it waits then; twice as long each time in a row.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest such time.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How often in a row that is tried if nothing is kept that would be lost.
const TIMES: u32 = 10;

/// How long an agent that is told to end may take, as in the unit for systemd
/// (`TimeoutStopSec=`). Then it is killed: it hangs, and a jump that is under way goes on
/// without it.
const GRACE: Duration = Duration::from_secs(90);

/// How many times in a row an agent has failed, if it had so many before. `up_for` is for how
/// long this one ran, if it has ever been up.
fn failures(before: u32, up_for: Option<Duration>) -> u32 {
    match up_for {
        Some(time) if time >= SOON => 0,
        _ => before.saturating_add(1),
    }
}

/// How long to wait before an agent is started again that has failed so many times in a row;
/// `None` to give up. As long as sessions are kept it is tried for ever.
fn pause(times: u32, keeps: bool, is_hopeless: bool) -> Option<Duration> {
    if (is_hopeless || times >= TIMES) && !keeps {
        return None;
    }
    let factor = 1_u32.checked_shl(times.saturating_sub(1));
    Some(
        PAUSE
            .saturating_mul(factor.unwrap_or(u32::MAX))
            .min(MAX_PAUSE),
    )
}

/// By how much a wait may take longer than it should. What takes longer stood still.
const STALL: Duration = Duration::from_secs(1);

/// How an agent has ended.
struct Ended {
    /// Its status; or why it could not be started.
    how: io::Result<ExitStatus>,
    /// It was told to.
    was_told: bool,
}

impl Ended {
    fn words(&self) -> String {
        match &self.how {
            Ok(status) => format!("luod has ended ({status})"),
            Err(why) => format!("luod could not be started ({why})"),
        }
    }

    fn is_hopeless(&self) -> bool {
        let hopeless = [BAD_CONFIG, REFUSED_HANDOVER].map(i32::from);
        let code = self.how.as_ref().ok().and_then(ExitStatus::code);
        code.is_some_and(|code| hopeless.contains(&code))
    }
}

/// Runs a command, and again whenever it dies of a signal, fails or cannot be started, until it
/// succeeds or there is no hope. SIGTERM, SIGINT and SIGHUP are passed on to it; after the first
/// two it is not started again.
///
/// # Errors
/// The command cannot be started, and nothing is kept; another supervisor, or another agent, is
/// there; the sockets cannot be made.
pub fn run(program: &Path, arguments: &[String], runtime: &Path) -> io::Result<ExitStatus> {
    run_with(GRACE, program, arguments, runtime)
}

fn run_with(
    grace: Duration,
    program: &Path,
    arguments: &[String],
    runtime: &Path,
) -> io::Result<ExitStatus> {
    let _alone = supervises(runtime)?;
    let mut signals = Signals::new()?;
    let mut sockets = Sockets::bind(runtime)?;
    let mut kept = Kept::default();
    let mut times = 0;
    loop {
        if kept.fds.is_empty() {
            // Nothing is lost by that, and it may run for years.
            has_no_agent(runtime)?;
        }
        let begun = Instant::now();
        kept.begins();
        let started = Command::new(program)
            .args(arguments)
            .env("NOTIFY_SOCKET", &sockets.paths[0])
            .env(SOCKET, &sockets.paths[1])
            .env(COUNT, kept.fds.len().to_string())
            .env(ROOM, MOST.to_string())
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .env_remove("WATCHDOG_PID")
            .spawn();
        let ended = match started {
            Ok(child) => watch(child, &mut sockets, &mut kept, &mut signals, grace),
            Err(why) => Ended {
                how: Err(why),
                was_told: false,
            },
        };
        if ended.was_told || ended.how.as_ref().is_ok_and(ExitStatus::success) {
            return ended.how;
        }
        times = failures(times, kept.is_up.then(|| begun.elapsed()));
        let words = ended.words();
        if times == 0 {
            tracing::warn!("{words}: it is started again");
            continue;
        }
        let Some(pause) = pause(times, !kept.fds.is_empty(), ended.is_hopeless()) else {
            tracing::error!("{words}: to start it again does not help");
            return ended.how;
        };
        let seconds = pause.as_secs_f64();
        tracing::warn!("{words}: it is started again in {seconds} s");
        if signals.ends_within(pause) {
            return ended.how;
        }
    }
}

/// Takes messages until the child has ended, and then those that are left.
fn watch(
    mut child: Child,
    sockets: &mut Sockets,
    kept: &mut Kept,
    signals: &mut Signals,
    grace: Duration,
) -> Ended {
    let agent = Pid::from_child(&child);
    let mut told: Option<Instant> = None;
    let mut is_killed = false;
    loop {
        let now = Instant::now();
        let (fds, rest) = sockets.waits();
        // Until when it may go on as it does.
        let patience = match told {
            _ if is_killed => None,
            Some(told) => Some(grace.saturating_sub(told.elapsed())),
            None => kept.patience(now),
        };
        let left = rest.into_iter().chain(patience).min();
        signals.wait(fds, left);
        if left.is_some_and(|left| now.elapsed() > left.saturating_add(STALL)) {
            kept.stood_still();
        }
        // Whatever it has sent before its end is there by its end.
        let ended = child.try_wait();
        sockets.receive(kept, agent);
        let was_told = told.is_some();
        match ended {
            Ok(None) => {}
            Ok(Some(status)) => {
                return Ended {
                    how: Ok(status),
                    was_told,
                };
            }
            // Somebody else has waited for it.
            Err(why) => {
                return Ended {
                    how: Err(why),
                    was_told,
                };
            }
        }
        // Until it is waited for, its number is no other process's.
        for signal in signals.come() {
            if ends(signal) {
                told.get_or_insert_with(Instant::now);
            }
            let _ = kill_process(agent, signal);
        }
        let why = match told {
            _ if is_killed => None,
            Some(told) => (told.elapsed() >= grace)
                .then(|| format!("was told to end {} s ago", grace.as_secs_f64())),
            None => kept
                .patience(Instant::now())
                .filter(Duration::is_zero)
                .map(|_| kept.failing()),
        };
        if let Some(why) = why {
            is_killed = true;
            tracing::error!("luod {why}, and hangs: it is killed");
            let _ = kill_process(agent, Signal::KILL);
        }
        sockets.give(&kept.fds, agent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_cannot_be_started_is_given_up() {
        let pauses: Vec<_> = (1..)
            .map_while(|times| pause(times, false, false))
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(
            pauses,
            [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]
        );
        assert_eq!(pause(1, false, true), None);
        // Not while sessions would be lost by that.
        for times in [1, 10, 100, u32::MAX] {
            assert!(pause(times, true, true).is_some_and(|pause| pause <= MAX_PAUSE));
        }
    }

    #[test]
    fn one_that_dies_again_and_again_has_failed_however_far_it_came() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(failures(0, None), 1);
        assert_eq!(failures(3, seconds(2)), 4);
        assert_eq!(failures(3, seconds(59)), 4);
        assert_eq!(failures(3, seconds(60)), 0);
    }

    #[test]
    fn one_that_does_not_end_when_it_is_told_to_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().to_owned();
        let script = "trap '' TERM; : > \"$0\"; while :; do sleep 0.01; done";
        let deaf = folder.path().join("deaf");
        let arguments = ["-c", script, deaf.to_str().unwrap()].map(str::to_owned);
        let running = std::thread::spawn(move || {
            let grace = Duration::from_millis(300);
            run_with(grace, Path::new("/bin/sh"), &arguments, &runtime).unwrap()
        });
        while !deaf.exists() {
            std::thread::yield_now();
        }
        // By now this process has a handler for it.
        let told = Instant::now();
        rustix::process::kill_process(rustix::process::getpid(), Signal::TERM).unwrap();
        let status = running.join().unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
        assert!(told.elapsed() >= Duration::from_millis(300));
    }

    #[test]
    fn what_cannot_be_started_is_no_end_but_a_failure() {
        let ended = Ended {
            how: Err(io::ErrorKind::NotFound.into()),
            was_told: false,
        };
        assert!(!ended.is_hopeless());
        assert!(ended.words().contains("could not be started"));
        // However often: what is kept would be lost.
        assert!(pause(u32::MAX, true, ended.is_hopeless()).is_some());
    }
}
