// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is waited for, and how long still, while a command waits for workloads.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use luo_client::agent::Status;
use luo_varlink::{Status as Standing, Work};

use super::context::Context;
use crate::output::{clear, complain, pass};
use crate::text::plain;

/// How long nothing happens before it is said on a terminal, and how often then.
const ON_TERMINAL: Duration = Duration::from_secs(1);

/// The same for a log.
const IN_LOG: Duration = Duration::from_secs(10);

/// How long luod may take to say it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Names that are said.
const NAMES: usize = 3;

/// As long as this is there, it is said who is waited for.
pub(super) struct Waiting {
    heard: Arc<Mutex<Instant>>,
    /// Its end ends the thread.
    _done: mpsc::Sender<()>,
}

impl Waiting {
    /// Begins to say it. Programs read standard output, so they are not told.
    pub(super) fn begin(context: &Context) -> Self {
        let heard = Arc::new(Mutex::new(Instant::now()));
        let (done, end) = mpsc::channel();
        let (since, folder) = (Arc::clone(&heard), context.folder.clone());
        if !context.json {
            // Where there can be no thread it is left unsaid.
            drop(std::thread::Builder::new().spawn(move || say(&since, &end, &folder)));
        }
        Self { heard, _done: done }
    }

    /// Something has happened.
    pub(super) fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.heard();
        drop(clear());
    }
}

fn say(heard: &Mutex<Instant>, end: &mpsc::Receiver<()>, folder: &Path) {
    let on_terminal = io::stderr().is_terminal();
    let each = if on_terminal { ON_TERMINAL } else { IN_LOG };
    while end.recv_timeout(each) == Err(RecvTimeoutError::Timeout) {
        let Ok(mut status) = Status::connect_within(folder, PATIENCE) else {
            continue;
        };
        status.set_timeout(Some(PATIENCE));
        let Ok(status) = status.get() else {
            continue;
        };
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.elapsed() < each {
            continue;
        }
        match waited_for(&status) {
            Some(line) if on_terminal => pass(format_args!("  {line}")),
            Some(line) => complain(format_args!("luoctl: {line}")),
            None => {}
        }
    }
}

/// What an update is at while it asks no workload.
pub(super) fn at_work(work: &Work) -> String {
    let what = plain(&work.what);
    match work.left_ms.div_ceil(1000) {
        0 => format!("waiting for {what}, which is late"),
        seconds => format!("waiting for {what}, {seconds} s left"),
    }
}

/// Who is waited for, the next that is late first; or else what.
fn waited_for(status: &Standing) -> Option<String> {
    if let Some(work) = &status.work {
        return Some(at_work(work));
    }
    let asked = status.workloads.iter();
    let asked = asked.filter_map(|workload| Some((workload.left_ms?, &workload.name)));
    let mut asked: Vec<_> = asked.collect();
    asked.sort();
    let (left_ms, _) = asked.first()?;
    let names: Vec<_> = asked
        .iter()
        .take(NAMES)
        .map(|(_, name)| plain(name))
        .collect();
    let more = match asked.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let seconds = left_ms.div_ceil(1000);
    Some(format!(
        "waiting for {}{more}, {seconds} s left",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use luo_varlink::{Identity, Orchestrator, Phase, Workload, WorkloadState};

    use super::*;

    fn workload(name: &str, left_ms: Option<u64>) -> Workload {
        Workload {
            name: name.into(),
            identity: Identity {
                uid: 0,
                gid: 0,
                unit: None,
            },
            state: WorkloadState::Freezing,
            connected: true,
            needs: vec![],
            sessions: vec![],
            left_ms,
            about: None,
        }
    }

    fn stands(workloads: &[Workload]) -> Standing {
        Standing {
            phase: Phase::Preparing,
            update: None,
            unreadable: None,
            work: None,
            orchestrator: Orchestrator::Contract,
            kernel_state: None,
            kernel_release: String::new(),
            version: String::new(),
            workloads: workloads.to_vec(),
            warnings: None,
        }
    }

    #[test]
    fn a_step_of_the_kernel_is_waited_for_too() {
        let status = Standing {
            unreadable: None,
            work: Some(Work {
                what: "the kernel (PREPARE)".into(),
                left_ms: 40_001,
            }),
            ..stands(&[workload("a", None)])
        };
        let line = "waiting for the kernel (PREPARE), 41 s left";
        assert_eq!(waited_for(&status).as_deref(), Some(line));
    }

    /// The jump is waited for however long it takes.
    #[test]
    fn what_has_no_time_left_is_late() {
        let work = Work {
            what: "the kernel (reboot(KEXEC))".into(),
            left_ms: 0,
        };
        let line = "waiting for the kernel (reboot(KEXEC)), which is late";
        assert_eq!(at_work(&work), line);
    }

    #[test]
    fn the_next_that_is_late_is_named_first() {
        assert_eq!(waited_for(&stands(&[])), None);
        assert_eq!(waited_for(&stands(&[workload("a", None)])), None);
        let mut all = vec![workload("vm", Some(40_001)), workload("web", None)];
        let said = |all: &[Workload]| waited_for(&stands(all)).unwrap();
        assert_eq!(said(&all), "waiting for vm, 41 s left");
        all.push(workload("cache", Some(900)));
        assert_eq!(said(&all), "waiting for cache, vm, 1 s left");
        all.extend([workload("x\x1b", Some(50_000)), workload("y", Some(60_000))]);
        assert_eq!(
            said(&all),
            "waiting for cache, vm, x\u{fffd} and 1 more, 1 s left"
        );
    }
}
