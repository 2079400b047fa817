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
//! | `agent` | the agent's process: a child, or one whose supervisor has died |
//! | `kept` | what is kept, and what is known of the agent |
//! | `parting` | what goes with this process, if it is told to end |
//! | `signals` | signals, and the waiting for all that may come |
//! | `sockets` | the sockets, to which nobody but the agent is listened |
//! | here | the agent is started, watched, and started again |
//!
//! Once it runs, nothing that fails ends it while something is kept: what is kept goes with it.

mod agent;
mod kept;
mod parting;
mod signals;
mod sockets;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::alone::{has_no_agent, supervises};
use super::protocol::{COUNT, MOST, NOTIFY, ROOM, SOCKET};
use agent::Agent;
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

/// The reason why an agent that has failed is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    /// Nobody in particular.
    No,
    /// The machine has jumped, and workloads wait for what is theirs, which the kernel keeps.
    ToGiveBack,
    /// This process keeps sessions that would be lost.
    ToKeep,
}

impl Needed {
    fn now(kept: &Kept, is_awaited: fn() -> bool) -> Self {
        if !kept.fds.is_empty() {
            Self::ToKeep
        } else if is_awaited() {
            Self::ToGiveBack
        } else {
            Self::No
        }
    }
}

/// How long to wait before an agent is started again that has failed so many times in a row;
/// `None` to give up. As long as sessions are kept, or workloads wait for theirs, it is tried for ever.
fn pause(times: u32, needed: Needed, is_hopeless: bool) -> Option<Duration> {
    let is_given_up = match needed {
        Needed::ToKeep => false,
        Needed::ToGiveBack => is_hopeless,
        Needed::No => is_hopeless || times >= TIMES,
    };
    if is_given_up {
        return None;
    }
    let factor = 1_u32.checked_shl(times.saturating_sub(1));
    Some(
        PAUSE
            .saturating_mul(factor.unwrap_or(u32::MAX))
            .min(MAX_PAUSE),
    )
}

/// The warning while an agent does not run that has left so many descriptors here: it may be the
/// administrator's turn.
fn warns(kept: usize, times: u32, is_hopeless: bool) -> String {
    match kept > 0 && (times > 1 || is_hopeless) {
        true => format!(
            ". What it has left here ({}) is kept: {}",
            parting::count(kept),
            parting::KEEP_RUNNING
        ),
        false => String::new(),
    }
}

/// By how much a wait may take longer than it should. What takes longer stood still.
const STALL: Duration = Duration::from_secs(1);

/// How an agent has ended.
struct Ended {
    /// Its status, if that is told; or why it could not be started.
    how: io::Result<Option<ExitStatus>>,
    /// It was told to.
    was_told: bool,
    /// It was told to when it was up, and was not killed: it has named what goes with it.
    has_parted: bool,
}

impl Ended {
    fn words(&self) -> String {
        match &self.how {
            Ok(Some(status)) => format!("luod has ended ({status})"),
            Ok(None) => "luod, which was taken over, has ended".to_owned(),
            Err(why) => format!("luod could not be started ({why})"),
        }
    }

    fn is_hopeless(&self) -> bool {
        let hopeless = [BAD_CONFIG, REFUSED_HANDOVER].map(i32::from);
        let code = self.known().and_then(|status| status.code());
        code.is_some_and(|code| hopeless.contains(&code))
    }

    /// Whether it has named what goes with it. Nobody tells how one has ended that was taken over.
    fn has_named(&self) -> bool {
        let is_well = |how: &Option<ExitStatus>| how.is_none_or(|status| status.success());
        self.has_parted && self.how.as_ref().is_ok_and(is_well)
    }

    fn known(&self) -> Option<ExitStatus> {
        self.how.as_ref().ok().copied().flatten()
    }

    /// The exit status of the supervisor itself.
    fn status(self) -> io::Result<ExitStatus> {
        self.how.map(Option::unwrap_or_default)
    }
}

/// Runs a command, and again whenever it dies of a signal, fails or cannot be started, until it
/// succeeds with nothing kept, or there is no hope. SIGTERM, SIGINT and SIGHUP are passed on to it; after the first
/// two it is not started again. An agent of this folder whose supervisor has died is taken over.
/// `is_awaited` says whether the machine has jumped, and somebody waits for an agent.
///
/// # Errors
/// The command cannot be started, and nothing is kept; another supervisor, or an agent of somebody
/// else, is there; the sockets cannot be made.
pub fn run(
    program: &Path,
    arguments: &[OsString],
    runtime: &Path,
    is_awaited: fn() -> bool,
) -> io::Result<ExitStatus> {
    run_with(GRACE, program, arguments, runtime, is_awaited)
}

fn run_with(
    grace: Duration,
    program: &Path,
    arguments: &[OsString],
    runtime: &Path,
    is_awaited: fn() -> bool,
) -> io::Result<ExitStatus> {
    let (_alone, mut orphan) = supervises(runtime)?;
    let mut signals = Signals::new()?;
    let mut sockets = Sockets::bind(runtime)?;
    let mut kept = Kept::default();
    let mut times = 0;
    loop {
        let begun = Instant::now();
        let started = match orphan.take() {
            Some(orphan) => {
                let process = orphan.process.as_raw_nonzero();
                tracing::warn!(
                    "luod, process {process}, runs without a supervisor: it is taken over"
                );
                kept.goes_on();
                Ok(Agent::TakenOver(orphan))
            }
            None => {
                if kept.fds.is_empty() {
                    // Nothing is lost by that, and it may run for years.
                    has_no_agent(runtime)?;
                }
                kept.begins();
                sockets.mend();
                let child = Command::new(program)
                    .args(arguments)
                    .env(NOTIFY, &sockets.paths[0])
                    .env(SOCKET, &sockets.paths[1])
                    .env(COUNT, kept.fds.len().to_string())
                    .env(ROOM, MOST.to_string())
                    .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
                    .env_remove("WATCHDOG_PID")
                    .spawn();
                child.map(Agent::Own)
            }
        };
        let ended = match started {
            Ok(agent) => watch(agent, &mut sockets, &mut kept, &mut signals, grace),
            Err(why) => Ended {
                how: Err(why),
                was_told: false,
                has_parted: false,
            },
        };
        // One that somebody else has told to end is started again if that would lose something.
        let has_ended_well = ended.known().is_some_and(|status| status.success());
        if ended.was_told || has_ended_well && kept.fds.is_empty() {
            if !ended.has_named() {
                parting::tell(kept.fds);
            }
            return ended.status();
        }
        times = failures(times, kept.is_up.then(|| begun.elapsed()));
        let words = ended.words();
        if times == 0 {
            tracing::warn!("{words}: it is started again");
            continue;
        }
        let Some(pause) = pause(times, Needed::now(&kept, is_awaited), ended.is_hopeless()) else {
            tracing::error!("{words}: to start it again does not help");
            return ended.status();
        };
        let seconds = pause.as_secs_f64();
        tracing::warn!(
            "{words}: it is started again in {seconds} s{}",
            warns(kept.fds.len(), times, ended.is_hopeless())
        );
        if signals.ends_within(pause) {
            parting::tell(kept.fds);
            return ended.status();
        }
    }
}

/// Takes messages until the agent has ended, and then those that are left.
fn watch(
    mut agent: Agent,
    sockets: &mut Sockets,
    kept: &mut Kept,
    signals: &mut Signals,
    grace: Duration,
) -> Ended {
    let process = agent.process();
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
        signals.wait(fds.into_iter().chain(agent.waits()), left);
        if left.is_some_and(|left| now.elapsed() > left.saturating_add(STALL)) {
            kept.stood_still();
        }
        // All that it has sent before its end is there by now.
        let ended = agent.has_ended();
        sockets.receive(kept, process);
        if let Some(how) = ended {
            let was_told = told.is_some();
            return Ended {
                how,
                was_told,
                has_parted: was_told && kept.is_up && !is_killed,
            };
        }
        for signal in signals.come() {
            if ends(signal) {
                told.get_or_insert_with(Instant::now);
            }
            agent.tell(signal);
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
            agent.tell(Signal::KILL);
        }
        sockets.give(&kept.fds, process);
        sockets.look();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_cannot_be_started_is_given_up() {
        let pauses: Vec<_> = (1..)
            .map_while(|times| pause(times, Needed::No, false))
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(
            pauses,
            [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]
        );
        assert_eq!(pause(1, Needed::No, true), None);
        assert_eq!(pause(1, Needed::ToGiveBack, true), None);
        // Not while sessions would be lost by that, or workloads wait for theirs.
        for times in [1, 10, 100, u32::MAX] {
            let waits = pause(times, Needed::ToGiveBack, false);
            assert!(waits.is_some_and(|pause| pause <= MAX_PAUSE));
            assert!(pause(times, Needed::ToKeep, true).is_some_and(|pause| pause <= MAX_PAUSE));
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
        let arguments = ["-c", script, deaf.to_str().unwrap()].map(OsString::from);
        let running = std::thread::spawn(move || {
            let grace = Duration::from_millis(300);
            run_with(grace, Path::new("/bin/sh"), &arguments, &runtime, || false).unwrap()
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

    /// Nobody but it knows what it alone has; where it has not told that, its supervisor does.
    #[test]
    fn who_has_not_named_what_goes_with_it_is_known() {
        use std::os::unix::process::ExitStatusExt;
        let exit = |code: i32| Ok(Some(ExitStatus::from_raw(code << 8)));
        let ended = |how, has_parted| Ended {
            how,
            was_told: true,
            has_parted,
        };
        assert!(ended(exit(0), true).has_named());
        assert!(ended(Ok(None), true).has_named());
        for silent in [
            // It was told while it began, or hung and was killed.
            ended(exit(0), false),
            ended(Ok(None), false),
            // It has ended by something else in that moment.
            ended(exit(78), true),
            ended(Ok(Some(ExitStatus::from_raw(9))), true),
            ended(Err(io::ErrorKind::NotFound.into()), true),
        ] {
            assert!(!silent.has_named(), "{:?}", silent.how);
        }
    }

    #[test]
    fn while_it_does_not_run_whoever_looks_is_told_not_to_end_who_keeps_its_sessions() {
        assert_eq!(warns(0, 9, true), "");
        // One that dies once is there again at once.
        assert_eq!(warns(3, 1, false), "");
        for told in [warns(3, 1, true), warns(3, 2, false)] {
            assert!(told.contains("3 descriptors"), "{told}");
            assert!(told.contains("do not end this process"), "{told}");
        }
    }

    #[test]
    fn what_cannot_be_started_is_no_end_but_a_failure() {
        let ended = Ended {
            how: Err(io::ErrorKind::NotFound.into()),
            was_told: false,
            has_parted: false,
        };
        assert!(!ended.is_hopeless());
        assert!(ended.words().contains("could not be started"));
        // However often: what is kept would be lost.
        assert!(pause(u32::MAX, Needed::ToKeep, ended.is_hopeless()).is_some());
    }
}
