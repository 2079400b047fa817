// SPDX-License-Identifier: MIT OR Apache-2.0
//! From boot to boot.

use std::fs::File;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use luo_core::Compat;
use luo_sys::supervise::{self, DescriptorLimit, SpawnError, Tree};

use crate::boot::Parts;
use crate::error::Error;
use crate::fault::{Asked, Faults, Step};
use crate::filter::filter;
use crate::machine::Machine;
use crate::memory::Handed;
use crate::outcome::{Boot, Ending, Left};
use crate::policy::Policy;
use crate::program::Program;
use crate::random::Random;
use crate::reboot::{Kernel, Loaded};
use crate::stop::{End, Stop};
use crate::supervisor::Supervisor;
use crate::trace::Journal;
use crate::tree;

/// The variable that tells a program in which boot it runs.
const BOOT_VARIABLE: &str = "LUO_SIM_BOOT";

/// What is to be run.
pub(crate) struct Plan<'a> {
    pub(crate) boots: Vec<Program>,
    pub(crate) again: Option<Program>,
    pub(crate) most: Option<usize>,
    /// Whether there are to be that many.
    pub(crate) all: bool,
    pub(crate) faults: Asked,
    pub(crate) seed: u64,
    pub(crate) parameters: String,
    pub(crate) subsystems: Vec<Compat>,
    pub(crate) test_driver: bool,
    pub(crate) mainlines_memfds: bool,
    pub(crate) journal: Arc<Journal>,
    pub(crate) output: Option<&'a File>,
    pub(crate) limit: DescriptorLimit,
}

impl Plan<'_> {
    /// What runs at a boot, if there is to be one.
    fn program(&self, boot: usize) -> Option<&Program> {
        let wanted = self.most.is_none_or(|most| boot < most);
        let program = self.boots.get(boot).or(self.again.as_ref());
        program.filter(|_| wanted)
    }

    /// Whether boots after this one are missing of those that are to be.
    fn is_short(&self, boot: usize) -> bool {
        self.all && self.most.is_some_and(|most| boot + 1 < most)
    }
}

/// Runs all boots.
pub(crate) fn run(plan: &Plan<'_>) -> Result<(Ending, Vec<Boot>), Error> {
    luo_sys::seccomp::check_available().map_err(Error::forbidden)?;
    let mut program = plan.program(0).ok_or(Error::NoCommand)?;
    let mut over = Vec::new();
    let mut handed = None;
    let mut parameters = plan.parameters.clone();
    let mut random = Random::new(plan.seed);
    let mut left_at = None;
    loop {
        let boot = over.len();
        plan.journal.set_boot(boot);
        let seed = (random.next(), random.next());
        let power = Power {
            plan,
            boot,
            seed,
            handed: handed.take(),
            parameters: &parameters,
        };
        let ended = power.on(program)?;
        if let (Some(left_at), Some(last)) = (left_at, over.last_mut()) {
            let last: &mut Boot = last;
            last.gap = ended.began.saturating_duration_since(left_at);
        }
        left_at = Some(ended.at);
        let (left, next) = match ended.end {
            End::Kexec => {
                let faults = Faults::new(&plan.faults, boot);
                handed = ended.handed.map(|mut left| {
                    for said in faults.damage(&mut left, &mut random) {
                        plan.journal.note(0, "fault", "handover", said, "frozen");
                    }
                    left
                });
                parameters = match ended.loaded {
                    Some(Kernel::Handover(line)) => line,
                    // Nobody said what its command line is: it boots as this one did.
                    Some(Kernel::Legacy) | None => parameters,
                };
                (Left::Kexec, None)
            }
            End::Restart => (Left::ColdBoot(None), None),
            End::Crash(step) => (Left::ColdBoot(Some(step)), None),
            End::PowerOff if plan.is_short(boot) => (Left::Last, Some(Ending::TooEarly)),
            End::PowerOff => (Left::Last, Some(Ending::PowerOff)),
            End::Exited(status) => {
                let more = boot + 1 < plan.boots.len() || plan.is_short(boot);
                let ending = if more {
                    Ending::NoKexec
                } else {
                    Ending::Exited
                };
                (Left::Last, Some(ending(status)))
            }
            End::Broken(why) => return Err(why),
        };
        if matches!(left, Left::ColdBoot(_)) {
            parameters.clone_from(&plan.parameters);
        }
        over.push(Boot {
            left,
            gap: Duration::ZERO,
        });
        if let Some(ending) = next {
            return Ok((ending, over));
        }
        match plan.program(boot + 1) {
            Some(next) => program = next,
            None => return Ok((Ending::NoMoreBoots, over)),
        }
    }
}

/// A machine that is switched on, for one boot.
struct Power<'a> {
    plan: &'a Plan<'a>,
    boot: usize,
    seed: (u64, u64),
    handed: Option<Handed>,
    parameters: &'a str,
}

/// What a boot leaves behind.
struct Ended {
    end: End,
    handed: Option<Handed>,
    /// The kernel that was loaded.
    loaded: Option<Kernel>,
    /// When its command began.
    began: Instant,
    /// When its end was decided.
    at: Instant,
}

impl Power<'_> {
    fn on(self, program: &Program) -> Result<Ended, Error> {
        let plan = self.plan;
        let stop = Arc::new(Stop::new().map_err(Error::system("eventfd"))?);
        let policy = Policy::of(self.parameters);
        let machine = Machine::boot(Parts {
            seed: self.seed,
            handed: self.handed.filter(|_| policy.enabled),
            policy,
            faults: Faults::new(&plan.faults, self.boot),
            journal: Arc::clone(&plan.journal),
            stop: Arc::clone(&stop),
            subsystems: plan.subsystems.clone(),
            test_driver: plan.test_driver,
            mainlines_memfds: plan.mainlines_memfds,
        })?;
        let loaded = Loaded::default();
        let _ = machine.reach(Step::Boot);
        let mut began = Instant::now();
        if !stop.is_asked() {
            let tree = start(plan, self.boot, program)?;
            began = Instant::now();
            if let Err(why) = tree::probe(&tree) {
                tree::kill(tree);
                return Err(Error::forbidden(why));
            }
            let supervisor = Supervisor::new(&machine, &tree, &loaded);
            let supervised = supervisor.map(|supervisor| supervisor.run());
            tree::kill(tree);
            supervised?;
        }
        // Somebody has asked: else nobody would have stopped.
        let asked = stop.take();
        let (end, at) = asked.unwrap_or_else(|| (End::PowerOff, Instant::now()));
        let loaded = loaded.take();
        let handed = match end {
            // A kernel without live update leaves nothing, and an image that was loaded by
            // kexec_load finds nothing.
            End::Kexec if machine.policy.enabled && !matches!(loaded, Some(Kernel::Legacy)) => {
                machine.jump()
            }
            _ => None,
        };
        Ok(Ended {
            end,
            handed,
            loaded,
            began,
            at,
        })
    }
}

/// Starts a boot's command.
fn start(plan: &Plan<'_>, boot: usize, program: &Program) -> Result<Tree, Error> {
    let mut command = program.command();
    command.env(BOOT_VARIABLE, boot.to_string());
    if let Some(output) = plan.output {
        let copy = || {
            output
                .try_clone()
                .map_err(Error::io("the programs' output"))
        };
        command.stdin(Stdio::null());
        command.stdout(copy()?).stderr(copy()?);
    }
    let filter = filter()?;
    let started = supervise::spawn(command, &filter, plan.limit);
    started.map_err(|why| match why {
        SpawnError::Supervision(why) => Error::forbidden(why),
        SpawnError::Command(why) => Error::Command {
            command: program.name(),
            why,
        },
    })
}
