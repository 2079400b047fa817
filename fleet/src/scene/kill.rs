// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGKILL for the agent, and for each workload, at each point of an update: no session
//! is lost, none goes to somebody else, and the machine ends in normal.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use luo_varlink::Phase;

use super::{NAMES, completed, jump, member, start_all};
use crate::member::Member;
use crate::stage::Stage;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The agent.
    Agent,
    /// A member, by its name.
    Member(&'static str),
}

/// When.
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
    /// Who.
    pub victim: Victim,
    /// When.
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

/// Everybody at each point. Who has left is no process that could be killed.
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
    /// Whose gate it is at.
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
    /// What went wrong.
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
        let has_left = self.strike(stage)?;
        self.recover(stage, has_left)?;
        jump(stage)
    }

    fn role(self, name: &str) -> Member {
        let has_gate = name == self.witness() && self.point.is_members();
        Member {
            gate: has_gate.then(|| self.point.word().to_owned()),
            ..member(name)
        }
    }

    /// Lets an update come to the point and strikes. Says whether the batch has left by
    /// then.
    fn strike(self, stage: &Stage) -> Result<bool> {
        if self.point == Point::Running {
            self.kill(stage)?;
            return Ok(false);
        }
        let witness = self.witness();
        std::thread::scope(|scope| {
            let update = scope.spawn(|| {
                let mut admin = stage.admin()?;
                admin.prepare(stage.target())?;
                match self.point {
                    Point::Prepared => stage.phase(Phase::Prepared),
                    _ => Ok(admin.freeze()?),
                }
            });
            let gate = match self.point.is_members() {
                true => Some(stage.at_gate(witness, self.point.word())?),
                false => {
                    let ended = update.join();
                    ended.map_err(|_| anyhow::anyhow!("a panic"))??;
                    self.kill(stage)?;
                    return Ok(true);
                }
            };
            self.kill(stage)?;
            drop(gate);
            let ended = update.join().map_err(|_| anyhow::anyhow!("a panic"))?;
            ensure!(ended.is_err(), "the update went on without {}", self.victim);
            // It leaves as soon as it is ready, which is after the cache was.
            Ok(matches!(self.point, Point::Freeze | Point::Frozen)
                || (self.victim == Victim::Member("web")
                    && self.point == Point::Ready
                    && stage.has_left("batch")?))
        })
    }

    fn kill(self, stage: &Stage) -> Result<()> {
        match self.victim {
            Victim::Agent => stage.kill_agent(),
            Victim::Member(name) => stage.kill(name),
        }
    }

    /// All is as it was, and who was killed is started again.
    fn recover(self, stage: &Stage, has_left: bool) -> Result<()> {
        stage.agent_answers()?;
        stage.phase(Phase::Normal)?;
        if has_left {
            stage.ended("batch")?;
            let sessions = stage.admin()?.sessions()?;
            let held = sessions.iter().any(|session| {
                session.name == "batch" && session.custody == luo_varlink::Custody::Agent
            });
            ensure!(
                held,
                "the agent does not hold the batch's session: {sessions:?}"
            );
        }
        match self.victim {
            Victim::Agent => {
                for name in NAMES.iter().filter(|name| !(has_left && **name == "batch")) {
                    stage.hear(name, "back")?;
                }
            }
            Victim::Member(name) => {
                crate::stage::until("that it is forgotten", || {
                    let status = stage.status()?;
                    Ok(!status
                        .workloads
                        .iter()
                        .any(|workload| workload.name == name))
                })?;
                stage.start(&member(name))?;
                stage.hear(name, "preserved")?;
            }
        }
        let present: Vec<_> = NAMES
            .into_iter()
            .filter(|name| !(has_left && *name == "batch"))
            .collect();
        crate::stage::until("that all run", || Ok(stage.all_run(&present).is_ok()))?;
        if self.point != Point::Running {
            let reason = super::newest(stage)?.reason.unwrap_or_default();
            let expected = match self.victim {
                Victim::Agent => "luod was restarted".to_owned(),
                Victim::Member(name) => format!("workload '{name}' was lost"),
            };
            ensure!(reason.contains(&expected), "the history says: {reason}");
        }
        Ok(())
    }

    /// From the jump on.
    ///
    /// # Errors
    /// What went wrong.
    pub fn after(self, stage: &Stage) -> Result<()> {
        if !self.point.is_after() {
            return super::all_is_there(stage);
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
        crate::stage::until("that it is seen to be gone", || {
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

/// A scene of the table by its name, or a combination.
///
/// # Errors
/// There is none.
pub fn run(name: &str, stage: &Stage, is_after: bool) -> Result<()> {
    if let Some(scene) = super::SCENES.iter().find(|scene| scene.name == name) {
        return match is_after {
            true => (scene.after)(stage),
            false => (scene.before)(stage),
        };
    }
    let Ok(kill) = name.parse::<Kill>() else {
        bail!("there is no scene '{name}'");
    };
    match is_after {
        true => kill.after(stage),
        false => kill.before(stage),
    }
}
