// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGKILL for the agent, and for each workload, at each point of an update: no session
//! is lost, none goes to somebody else, and the machine ends in normal.

use std::fmt;
use std::str::FromStr;
use std::thread::ScopedJoinHandle;

use anyhow::{Context, Result, bail, ensure};
use luo_varlink::{Custody, Phase, TimelineKind};

use super::common::{NAMES, all_is_there, completed, jump, member, newest, start_all};
use crate::member::Member;
use crate::stage::{Stage, until};

/// The process that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The agent.
    Agent,
    /// A member, by its name.
    Member(&'static str),
}

/// The point at which it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// No update is under way.
    Running,
    /// Asked to prepare, and not answered.
    Prepare,
    /// Ready, before the rest is.
    Ready,
    /// All are ready; those who leave have left.
    Prepared,
    /// Asked to freeze, and not answered.
    Freeze,
    /// Frozen, before the rest is.
    Frozen,
    /// All are frozen.
    AllFrozen,
    /// After the jump: registered.
    Registered,
    /// After the jump: it has its session, and nothing else.
    Claimed,
    /// After the jump: it serves again, and its session is not finished.
    Restored,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Running,
        Self::Prepare,
        Self::Ready,
        Self::Prepared,
        Self::Freeze,
        Self::Frozen,
        Self::AllFrozen,
        Self::Registered,
        Self::Claimed,
        Self::Restored,
    ];

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Prepare => "prepare",
            Self::Ready => "ready",
            Self::Prepared => "prepared",
            Self::Freeze => "freeze",
            Self::Frozen => "frozen",
            Self::AllFrozen => "all-frozen",
            Self::Registered => "registered",
            Self::Claimed => "claimed",
            Self::Restored => "restored",
        }
    }

    /// Whether it is after the jump.
    #[must_use]
    pub const fn is_after(self) -> bool {
        matches!(self, Self::Registered | Self::Claimed | Self::Restored)
    }

    /// Whether a member is at it by itself, and can have a gate there.
    const fn is_members(self) -> bool {
        !matches!(self, Self::Running | Self::Prepared | Self::AllFrozen)
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "luod",
            Self::Member(name) => name,
        })
    }
}

/// A combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The process that is killed.
    pub victim: Victim,
    /// The point at which it is killed.
    pub point: Point,
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill-{}-at-{}", self.victim, self.point.word())
    }
}

impl FromStr for Kill {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut all = combinations();
        let found = all.find(|kill| kill.to_string() == text);
        found.with_context(|| format!("there is no scene '{text}'"))
    }
}

/// Each process at each point. A workload that has left has no process to be killed.
pub fn combinations() -> impl Iterator<Item = Kill> {
    let victims = [Victim::Agent].into_iter();
    let victims = victims.chain(NAMES.map(Victim::Member));
    let all = victims.flat_map(|victim| {
        let points = Point::ALL.into_iter();
        points.map(move |point| Kill { victim, point })
    });
    all.filter(|kill| {
        let has_left = matches!(
            kill.point,
            Point::Prepared | Point::Freeze | Point::Frozen | Point::AllFrozen
        );
        !(kill.victim == Victim::Member("batch") && has_left)
    })
}

impl Kill {
    /// The member at whose gate the update is stopped.
    fn witness(self) -> &'static str {
        match self.victim {
            // The batch is the last to be asked to prepare.
            Victim::Agent => "cache",
            Victim::Member(name) => name,
        }
    }

    /// Up to the jump.
    ///
    /// # Errors
    /// The fault, in words.
    pub fn before(self, stage: &Stage) -> Result<()> {
        stage.start_agent("")?;
        if self.point.is_after() {
            start_all(stage)?;
            return jump(stage);
        }
        for name in NAMES {
            stage.start(&self.role(name))?;
            stage.hear(name, "preserved")?;
        }
        self.strike(stage)?;
        self.recover(stage)?;
        jump(stage)
    }

    fn role(self, name: &str) -> Member {
        let has_gate = name == self.witness() && self.point.is_members();
        Member {
            gate: has_gate.then(|| self.point.word().to_owned()),
            ..member(name)
        }
    }

    /// Lets an update come to the point, and strikes.
    fn strike(self, stage: &Stage) -> Result<()> {
        if self.point == Point::Running {
            return self.kill(stage);
        }
        std::thread::scope(|scope| {
            let update = scope.spawn(|| {
                let mut admin = stage.admin()?;
                admin.prepare(stage.target())?;
                match self.point {
                    Point::Prepared => stage.phase(Phase::Prepared),
                    _ => Ok(admin.freeze()?),
                }
            });
            let ended = |update: ScopedJoinHandle<'_, Result<()>>| {
                update.join().unwrap_or_else(|_| bail!("a panic"))
            };
            if !self.point.is_members() {
                ended(update)?;
                return self.kill(stage);
            }
            let gate = stage.at_gate(self.witness(), self.point.word())?;
            self.kill(stage)?;
            drop(gate);
            let ended = ended(update);
            // The victim had answered, maybe as the last. Then the call had its answer.
            let waits = matches!(self.point, Point::Prepare | Point::Freeze);
            ensure!(
                ended.is_err() || !waits,
                "the update went on without {}",
                self.victim
            );
            Ok(())
        })
    }

    fn kill(self, stage: &Stage) -> Result<()> {
        match self.victim {
            Victim::Agent => stage.kill_agent(),
            Victim::Member(name) => stage.kill(name),
        }
    }

    /// All is as it was, and who was killed is started again.
    fn recover(self, stage: &Stage) -> Result<()> {
        stage.agent_answers()?;
        stage.phase(Phase::Normal)?;
        let has_left = self.batch_has_left(stage)?;
        let present: Vec<_> = NAMES
            .into_iter()
            .filter(|name| !(has_left && *name == "batch"))
            .collect();
        match self.victim {
            Victim::Agent => {
                // The batch has said so already.
                for name in present.iter().filter(|name| **name != "batch") {
                    stage.hear(name, "back")?;
                }
            }
            Victim::Member(name) => {
                until("that it is forgotten", || {
                    let status = stage.status()?;
                    let mut workloads = status.workloads.iter();
                    Ok(!workloads.any(|workload| workload.name == name))
                })?;
                stage.start(&member(name))?;
                stage.hear(name, "preserved")?;
            }
        }
        until("that all run", || Ok(stage.all_run(&present).is_ok()))?;
        if self.point == Point::Running {
            return Ok(());
        }
        let reason = newest(stage)?.reason.unwrap_or_default();
        let expected = match self.victim {
            Victim::Agent => "luod was restarted".to_owned(),
            Victim::Member(name) => format!("workload '{name}' was lost"),
        };
        ensure!(reason.contains(&expected), "the history says: {reason}");
        Ok(())
    }

    /// Whether the batch has left by now. If so, the agent holds its session. Only the batch
    /// itself can tell: its word to the agent may be on its way still.
    fn batch_has_left(self, stage: &Stage) -> Result<bool> {
        let words: &[&str] = match self.victim {
            Victim::Agent => &["left", "back"],
            Victim::Member("batch") => return Ok(false),
            Victim::Member(_) if self.point == Point::Running => return Ok(false),
            Victim::Member(_) => {
                let timeline = newest(stage)?.timeline;
                let mut lines = timeline.iter();
                let is_asked = lines.any(|line| {
                    line.kind == TimelineKind::Asked && line.workload.as_deref() == Some("batch")
                });
                if !is_asked {
                    return Ok(false);
                }
                &["left", "cancel"]
            }
        };
        if !stage.hear_one_of("batch", words)?.starts_with("left") {
            return Ok(false);
        }
        stage.ended("batch")?;
        let sessions = stage.admin()?.sessions()?;
        let held = sessions
            .iter()
            .any(|session| session.name == "batch" && session.custody == Custody::Agent);
        ensure!(held, "the agent does not hold its session: {sessions:?}");
        Ok(true)
    }

    /// From the jump on.
    ///
    /// # Errors
    /// The fault, in words.
    pub fn after(self, stage: &Stage) -> Result<()> {
        if !self.point.is_after() {
            return all_is_there(stage);
        }
        stage.start_agent("")?;
        stage.phase(Phase::Updated)?;
        let witness = self.witness();
        if witness != "cache" {
            stage.start(&member("cache"))?;
            stage.hear("cache", "preserved")?;
        }
        stage.start(&self.role(witness))?;
        let gate = stage.at_gate(witness, self.point.word())?;
        self.kill(stage)?;
        if self.victim == Victim::Agent {
            // A service whose agent is gone in the middle of this is started again.
            stage.kill(witness)?;
            stage.agent_answers()?;
        }
        drop(gate);
        until("that it is seen to be gone", || {
            let status = stage.status()?;
            let mut workloads = status.workloads.iter();
            Ok(!workloads.any(|workload| workload.name == witness && workload.connected))
        })?;
        let mut rest: Vec<_> = NAMES.into_iter().filter(|name| *name != "cache").collect();
        rest.push("cache");
        for name in rest {
            if witness != "cache" && name == "cache" {
                continue;
            }
            stage.start(&member(name))?;
        }
        for name in NAMES {
            if name != witness && name == "cache" {
                continue;
            }
            stage.hear(name, "verified")?;
            stage.hear(name, "preserved")?;
        }
        completed(stage)?;
        stage.all_run(&NAMES)
    }
}
