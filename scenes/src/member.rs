// SPDX-License-Identifier: MIT OR Apache-2.0
//! A workload. What it does it says on its standard output, a word a line:
//!
//! ```text
//! registered  prepare  ready  freeze  frozen  cancel  left  gone
//! claimed  verified  restored  finished
//! ```
//!
//! With a gate at one of these points it waits there until the gate, a FIFO, has been
//! opened by somebody else and closed again.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use luo_client::agent::{self, Agent, Event, EventKind, Workload};
use luo_client::memory::Regions;
use luo_client::{Session, SessionName};
use luo_varlink::Step;

/// The part that a member plays.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Member {
    /// Its name, which is its session's too.
    pub name: String,
    /// The members that it needs.
    #[arg(long, value_delimiter = ',')]
    pub needs: Vec<String>,
    /// It leaves once it is ready.
    #[arg(long)]
    pub leave: bool,
    /// It says no at this step, once.
    #[arg(long, value_parser = step)]
    pub veto: Option<Step>,
    /// It never answers this step.
    #[arg(long, value_parser = step)]
    pub hang: Option<Step>,
    /// It waits at this point.
    #[arg(long, value_name = "POINT")]
    pub gate: Option<String>,
    /// The folder of the gates.
    #[arg(long, default_value = ".")]
    pub folder: PathBuf,
    /// Bytes of its memory.
    #[arg(long, default_value_t = 65_536)]
    pub bytes: u64,
}

fn step(word: &str) -> Result<Step, String> {
    let mut steps = Step::ALL.iter().copied();
    let found = steps.find(|step| step.word() == word);
    found.ok_or_else(|| format!("there is no step '{word}'"))
}

/// How long it waits for the agent to come back.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two writes.
const PAUSE: Duration = Duration::from_millis(2);

/// The FIFO of a member's gate.
#[must_use]
pub fn gate_path(folder: &Path, member: &str) -> PathBuf {
    folder.join(format!("{member}.gate"))
}

/// Memory whose every word follows from a number, the member's name and its place.
struct Memory {
    regions: Regions,
    seed: u64,
}

const NUMBER: usize = 0;

impl Memory {
    fn new(name: &str, bytes: u64) -> Result<Self> {
        let mut regions = Regions::new();
        regions.create("data", bytes)?;
        let memory = Self::of(name, regions);
        memory.write(1)?;
        Ok(memory)
    }

    fn of(name: &str, regions: Regions) -> Self {
        let seed = name.bytes().fold(7, |sum: u64, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        Self { regions, seed }
    }

    fn map(&self) -> Result<luo_sys::MappedFile> {
        let region = self
            .regions
            .get("data")
            .context("there is no region 'data'")?;
        Ok(region.map()?)
    }

    fn word(&self, number: u64, place: usize) -> u64 {
        let mixed = self.seed ^ number.rotate_left(17) ^ (place as u64).rotate_left(40);
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn write(&self, number: u64) -> Result<()> {
        let map = self.map()?;
        for place in (8..map.len()).step_by(8) {
            map.store(place, self.word(number, place))?;
        }
        map.store(NUMBER, number)?;
        Ok(())
    }

    fn next(&self) -> Result<u64> {
        let number = self.map()?.load(NUMBER)? + 1;
        self.write(number)?;
        Ok(number)
    }

    fn verify(&self) -> Result<u64> {
        let map = self.map()?;
        let number = map.load(NUMBER)?;
        for place in (8..map.len()).step_by(8) {
            ensure!(
                map.load(place)? == self.word(number, place),
                "the word at {place} is not that of write number {number}"
            );
        }
        Ok(number)
    }
}

/// A member that runs.
struct Running<'a> {
    member: &'a Member,
    workload: Workload,
    memory: Memory,
    /// Kept: a session lives as long as somebody has it.
    session: Session,
    has_vetoed: bool,
    frozen: bool,
}

/// Runs until it has left, or is told to end.
///
/// # Errors
/// Something that the member did not expect.
pub fn run(member: &Member) -> Result<()> {
    let name = SessionName::new(&member.name)?;
    let needs: Vec<_> = member.needs.iter().map(String::as_str).collect();
    let mut workload = Agent::connect()?.register(&member.name, &needs)?;
    reach(member, "registered")?;
    let back = workload.registered().claimable.contains(&member.name);
    let memory = if back {
        take_back(member, &mut workload, &name)?
    } else {
        Memory::new(&member.name, member.bytes)?
    };
    let session = workload.create_session(&name)?;
    memory.regions.preserve_into(&session)?;
    say("preserved")?;
    Running {
        member,
        workload,
        memory,
        session,
        has_vetoed: false,
        frozen: false,
    }
    .serve(&name)
}

/// Takes its memory back; from custody it gets a session that it can just drop, for
/// the memory in it went with the process that had it.
fn take_back(member: &Member, workload: &mut Workload, name: &SessionName) -> Result<Memory> {
    let claim = workload.claim(name)?;
    reach(member, "claimed")?;
    if !claim.incoming {
        drop(claim);
        workload.drop_session(name)?;
        say("kept")?;
        return Memory::new(&member.name, member.bytes);
    }
    let regions = Regions::restore_from(&claim.session)?;
    let memory = Memory::of(&member.name, regions);
    let number = memory.verify().context("its memory after the update")?;
    say(&format!("verified {number}"))?;
    workload.restored()?;
    reach(member, "restored")?;
    workload.finish_session(name)?;
    say("finished")?;
    Ok(memory)
}

impl Running<'_> {
    fn serve(mut self, name: &SessionName) -> Result<()> {
        let mut since_cancel = None;
        loop {
            let heard = if self.frozen {
                self.workload.next_event().map(Some)
            } else {
                self.memory.next()?;
                self.workload.next_event_within(PAUSE)
            };
            let event = match heard {
                Ok(event) => event,
                Err(agent::Error::AgentGone | agent::Error::Os { .. }) => {
                    // No jump comes from an agent that is gone.
                    self.frozen = false;
                    say("gone")?;
                    self.workload.reconnect(PATIENCE)?;
                    say("back")?;
                    continue;
                }
                Err(why) => return Err(why.into()),
            };
            let Some(event) = event else {
                if let Some(number) = since_cancel.take() {
                    ensure!(self.memory.verify()? > number, "it did not write on");
                    say("serves-on")?;
                }
                continue;
            };
            if event.kind == EventKind::Cancel {
                self.frozen = false;
                since_cancel = Some(self.memory.verify()?);
            }
            if self.take(&event)? {
                // The agent has the session now.
                let Self { session, .. } = self;
                drop(session);
                say(&format!("left {name}"))?;
                return Ok(());
            }
        }
    }

    /// Does what an event asks for. Says whether it has left.
    fn take(&mut self, event: &Event) -> Result<bool> {
        let member = self.member;
        let step = match event.kind {
            EventKind::Prepare => Step::Prepare,
            EventKind::Freeze => Step::Freeze,
            EventKind::Cancel => {
                let reason = event.reason.as_deref().unwrap_or_default();
                reach(member, "cancel")?;
                say(&format!("because {reason}"))?;
                return Ok(false);
            }
        };
        reach(member, step.word())?;
        if member.hang == Some(step) {
            // Deaf until the agent ends the update.
            return Ok(false);
        }
        if member.veto == Some(step) && !self.has_vetoed {
            self.has_vetoed = true;
            self.workload.veto(event, "not while the backup runs")?;
            return Ok(false);
        }
        self.frozen = step == Step::Freeze;
        match self.workload.ready(event) {
            Ok(()) => {}
            // Another one was the cause: the event that says so is under way.
            Err(agent::Error::Refused(_)) => {
                self.frozen = false;
                return Ok(false);
            }
            Err(agent::Error::AgentGone | agent::Error::Os { .. }) => return Ok(false),
            Err(why) => return Err(why.into()),
        }
        match step {
            Step::Freeze => reach(member, "frozen")?,
            Step::Prepare => reach(member, "ready")?,
        }
        if member.leave && step == Step::Prepare {
            return match self.workload.detach() {
                Ok(()) => Ok(true),
                // The update has ended since: it stays.
                Err(agent::Error::Refused(_) | agent::Error::AgentGone) => Ok(false),
                Err(why) => Err(why.into()),
            };
        }
        Ok(false)
    }
}

/// Says a word to who started it.
fn say(word: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}")?;
    Ok(out.flush()?)
}

/// Is at a point: says so, and waits if it has a gate there.
fn reach(member: &Member, point: &str) -> Result<()> {
    static PASSED: AtomicBool = AtomicBool::new(false);
    say(point)?;
    // It stands open once it has been opened.
    if member.gate.as_deref() != Some(point) || PASSED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let path = gate_path(&member.folder, &member.name);
    let mut gate = File::open(&path).with_context(|| path.display().to_string())?;
    if gate.read(&mut [0])? != 0 {
        bail!("something came through the gate");
    }
    Ok(())
}
