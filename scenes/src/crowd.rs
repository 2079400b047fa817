// SPDX-License-Identifier: MIT OR Apache-2.0
//! A crowd: many workloads with a session each, and the agent that takes all of them
//! through prepare, freeze and a cancel. What the agent takes for it in time and memory
//! is measured.
//!
//! The members are in one process, are connected by themselves, and answer at once. So
//! what a call of the administrator takes is the agent's own overhead at most: the
//! members' answers, the simulator's system calls and the scheduler are in it.

mod process;
mod share;

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use luo_lab_protocol::Event;
use luo_varlink::{Outcome, Phase, WorkloadState};
use rustix::process::{getpid, getuid};

use crate::stage::{PATIENCE, Stage};
use process::Process;
use share::{Answers, Share};

/// The crowd that comes, and the agent that it comes to.
#[derive(Clone, Debug, clap::Args)]
pub struct Crowd {
    /// How many workloads.
    #[arg(long, default_value_t = 1000)]
    pub clients: usize,
    /// The threads that answer for them.
    #[arg(long, default_value = "2")]
    pub threads: NonZeroUsize,
    /// The program `luod`; else this one is it, too.
    #[arg(long)]
    pub luod: Option<PathBuf>,
    /// Where the files of this run are.
    pub folder: PathBuf,
    /// A folder that `luo-sim system` has written.
    pub system: PathBuf,
}

/// The measurements.
#[derive(Clone, Debug)]
pub struct Figures {
    clients: usize,
    prepare: Duration,
    freeze: Duration,
    cancel: Duration,
    /// Processor time of the agent, and of the crowd, in prepare and freeze.
    agent: Spent,
    crowd: Spent,
    /// Of all answers of a member.
    answer_median: Duration,
    answer_slowest: Duration,
    /// KiB of the agent: before anybody came, when all stood still, and at most.
    before: u64,
    frozen: u64,
    peak: u64,
}

/// Processor time, and the time in which no processor was free.
#[derive(Clone, Copy, Debug)]
struct Spent {
    ran: Duration,
    waited: Option<Duration>,
}

impl Spent {
    /// Up to now.
    fn by(process: Process) -> Result<Self> {
        Ok(Self {
            ran: process.time()?,
            waited: process.waited()?,
        })
    }

    fn since(self, earlier: Self) -> Self {
        let waited = self.waited.zip(earlier.waited);
        Self {
            ran: self.ran.saturating_sub(earlier.ran),
            waited: waited.map(|(later, earlier)| later.saturating_sub(earlier)),
        }
    }
}

impl Figures {
    /// A sample a figure.
    #[must_use]
    pub fn samples(&self) -> Vec<Event> {
        let n = self.clients as u64;
        let sample = |metric: &str, value, unit: &str| Event::Sample {
            metric: metric.to_owned(),
            n,
            value,
            unit: unit.to_owned(),
        };
        let time = |metric, took: Duration| sample(metric, took.as_secs_f64() * 1e3, "ms");
        let short = |metric, took: Duration| sample(metric, took.as_secs_f64() * 1e6, "us");
        let memory = |metric, kib: u64| sample(metric, kib as f64 / 1024.0, "MiB");
        let waited = |metric, spent: Spent| spent.waited.map(|took| time(metric, took));
        let known = [
            time("prepare", self.prepare),
            time("freeze", self.freeze),
            time("overhead", self.prepare + self.freeze),
            time("cpu-luod", self.agent.ran),
            time("cpu-crowd", self.crowd.ran),
            short("answer-median", self.answer_median),
            short("answer-slowest", self.answer_slowest),
            time("cancel", self.cancel),
            memory("rss-before", self.before),
            memory("rss-frozen", self.frozen),
            memory("rss-peak", self.peak),
        ];
        let waits = [
            waited("wait-luod", self.agent),
            waited("wait-crowd", self.crowd),
        ];
        known
            .into_iter()
            .chain(waits.into_iter().flatten())
            .collect()
    }
}

/// Has the crowd come, go through an update up to freeze, hear that it is off, and go.
///
/// # Errors
/// A fault, in words.
pub fn run(crowd: &Crowd) -> Result<Figures> {
    luo_sys::supervise::raise_descriptor_limit(4 * crowd.clients as u64 + 1024)?;
    let mut stage = Stage::simulated(&crowd.folder, &crowd.system)?.with_limits(&limits(crowd));
    if let Some(program) = &crowd.luod {
        stage = stage.with_luod(program);
    }
    stage.start_agent("")?;
    let agent = Process(stage.agent_process()?);
    let before = agent.resident()?;
    let threads = begin(crowd, &stage)?;
    let figures = measure(crowd, &stage, agent, before, threads)?;
    nothing_is_left(&stage)?;
    stage.end()?;
    Ok(figures)
}

/// The policy that allows so many workloads of one user, who need not be root.
fn limits(crowd: &Crowd) -> String {
    let (uid, connections) = (getuid().as_raw(), crowd.clients + 64);
    format!("connections = {connections}\n[[allow]]\nuid = {uid}\nnames = [\"crowd-*\"]\n")
}

type Thread = JoinHandle<Result<(Share, Answers)>>;

/// Starts the threads, and waits until all have preserved what is theirs.
fn begin(crowd: &Crowd, stage: &Stage) -> Result<Vec<Thread>> {
    let (tell, joined) = channel();
    let count = crowd.threads.get();
    let threads: Vec<Thread> = (0..count)
        .map(|first| {
            let members = (first..crowd.clients).step_by(count);
            let names: Vec<_> = members.map(|number| format!("crowd-{number}")).collect();
            let (runtime, tell) = (stage.runtime(), tell.clone());
            std::thread::spawn(move || {
                let mut share = Share::join(&runtime, names)?;
                has_joined(&tell)?;
                let answers = share.answer()?;
                Ok((share, answers))
            })
        })
        .collect();
    drop(tell);
    for _ in 0..count {
        if joined.recv_timeout(PATIENCE).is_err() {
            // One has ended, and says why.
            let ended = threads.into_iter().find(JoinHandle::is_finished);
            ended.map(end).transpose()?;
            bail!("the crowd does not come together");
        }
    }
    Ok(threads)
}

fn has_joined(tell: &Sender<()>) -> Result<()> {
    tell.send(()).context("nobody waits for the crowd")
}

fn end(thread: Thread) -> Result<(Share, Answers)> {
    let ended = thread.join();
    ended.map_err(|_| anyhow!("a thread of the crowd has panicked"))?
}

fn measure(
    crowd: &Crowd,
    stage: &Stage,
    agent: Process,
    before: u64,
    threads: Vec<Thread>,
) -> Result<Figures> {
    let mut admin = stage.admin()?;
    let own = Process(getpid());
    let begun = (Spent::by(agent)?, Spent::by(own)?);
    let (id, prepare) = timed(|| admin.prepare(stage.target()))?;
    let ((), freeze) = timed(|| admin.freeze())?;
    let ended = (Spent::by(agent)?, Spent::by(own)?);
    let frozen = agent.resident()?;
    all_are(stage, crowd, Phase::Frozen, WorkloadState::Frozen)?;
    let ((), cancel) = timed(|| admin.cancel(Some("this was a rehearsal")))?;
    all_are(stage, crowd, Phase::Normal, WorkloadState::Running)?;

    let mut answers = Answers::default();
    let mut shares = Vec::new();
    for thread in threads {
        let (share, answered) = end(thread)?;
        answers.add(answered);
        shares.push(share);
    }
    for (step, count) in [
        ("ready", answers.prepare.len()),
        ("frozen", answers.freeze.len()),
        ("cancelled", answers.cancelled),
    ] {
        let clients = crowd.clients;
        ensure!(count == clients, "{count} of {clients} were {step}");
    }
    let entry = stage.history()?.into_iter().next();
    let entry = entry.context("the update is not in the history")?;
    ensure!(
        entry.update == id && entry.outcome == Outcome::Cancelled,
        "the last update was {}, {}",
        entry.update,
        entry.outcome
    );
    for share in shares {
        share.leave()?;
    }
    let mut took = [answers.prepare, answers.freeze].concat();
    took.sort_unstable();
    Ok(Figures {
        clients: crowd.clients,
        prepare,
        freeze,
        cancel,
        agent: ended.0.since(begun.0),
        crowd: ended.1.since(begun.1),
        answer_median: took.get(took.len() / 2).copied().unwrap_or_default(),
        answer_slowest: took.last().copied().unwrap_or_default(),
        before,
        frozen,
        peak: agent.peak()?,
    })
}

fn timed<T, E>(call: impl FnOnce() -> Result<T, E>) -> Result<(T, Duration), E> {
    let begun = Instant::now();
    let done = call()?;
    Ok((done, begun.elapsed()))
}

/// The agent is in a phase, and all of the crowd are in a state.
fn all_are(stage: &Stage, crowd: &Crowd, phase: Phase, state: WorkloadState) -> Result<()> {
    let status = stage.status()?;
    let (found, clients) = (status.phase, crowd.clients);
    ensure!(found == phase, "the phase is {found}, and not {phase}");
    let workloads = status.workloads.iter();
    let there = workloads.filter(|workload| workload.connected && workload.state == state);
    let count = there.count();
    ensure!(count == clients, "{count} of {clients} are {state}");
    Ok(())
}

/// No workload, no session and no note of one is there any more.
fn nothing_is_left(stage: &Stage) -> Result<()> {
    let workloads = stage.status()?.workloads;
    ensure!(workloads.is_empty(), "workloads are left: {workloads:?}");
    let sessions = stage.admin()?.sessions()?;
    ensure!(sessions.is_empty(), "sessions are left: {sessions:?}");
    let notes = fs::read_dir(stage.runtime().join("state/workloads"))?.count();
    ensure!(notes == 0, "{notes} notes of workloads are left");
    Ok(())
}
