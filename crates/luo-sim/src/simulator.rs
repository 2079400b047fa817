// SPDX-License-Identifier: MIT OR Apache-2.0
//! A simulation: what is to be run, what is to go wrong, and what came of it.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use luo_core::Compat;
use luo_sys::descriptors;
use luo_sys::supervise::{DescriptorLimit, raise_descriptor_limit};

use crate::error::Error;
use crate::fault::{Asked, Fault};
use crate::lock::lock;
use crate::outcome::Outcome;
use crate::policy::Policy;
use crate::program::Program;
use crate::run::{Plan, run};
use crate::trace::{Journal, Sinks};

/// Descriptors that the simulator asks to be allowed to have: one for each session
/// and one for each preserved file.
const DESCRIPTORS: u64 = 1 << 20;

/// A simulation that is being put together.
///
/// ```no_run
/// use luo_sim::{Program, Simulator};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let outcome = Simulator::new()
///     .boot(Program::shell("my-vmm --save && luo-sim kexec"))
///     .boot(Program::shell("my-vmm --restore"))
///     .fault("0/freeze:2=EBUSY".parse()?)
///     .capture()
///     .run()?;
/// assert!(outcome.success(), "{}", outcome.output());
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Simulator {
    boots: Vec<Program>,
    again: Option<Program>,
    most: Option<usize>,
    all: bool,
    faults: Vec<Fault>,
    seed: u64,
    parameters: String,
    subsystems: Vec<String>,
    test_driver: bool,
    mainlines_memfds: bool,
    sinks: Sinks,
    capture: bool,
}

impl Simulator {
    /// A machine that nothing runs on.
    #[must_use]
    pub fn new() -> Self {
        Self {
            seed: 1,
            ..Self::default()
        }
    }

    /// Adds a boot: what runs after the kexec that the one before it asks for.
    #[must_use]
    pub fn boot(mut self, program: Program) -> Self {
        self.boots.push(program);
        self
    }

    /// What runs at each boot after those.
    #[must_use]
    pub fn each_boot(mut self, program: Program) -> Self {
        self.again = Some(program);
        self
    }

    /// Runs that many boots, no more and no fewer: if a command ends without a kexec
    /// before the last, that is no success.
    #[must_use]
    pub fn exactly(mut self, boots: usize) -> Self {
        self.most = Some(boots);
        self.all = true;
        self
    }

    /// Ends the simulation when that many boots have ended, if it has not ended before.
    #[must_use]
    pub fn at_most(mut self, boots: usize) -> Self {
        self.most = Some(boots);
        self.all = false;
        self
    }

    /// Has something go wrong. If it does not come about, that is no success.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// What random choices follow from.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The command line of the first kernel; those after it have what was loaded.
    #[must_use]
    pub fn parameters(mut self, line: impl Into<String>) -> Self {
        self.parameters = line.into();
        self
    }

    /// Adds a subsystem that takes part in updates and does nothing else.
    #[must_use]
    pub fn subsystem(mut self, name: impl Into<String>) -> Self {
        self.subsystems.push(name.into());
        self
    }

    /// Adds the devices `/dev/luo_forge` and `/dev/luo_participant`: files and
    /// subsystems that fail or wait on demand and write down what they are called for,
    /// for tests of an orchestrator. Their parameters are those of the kernel's driver
    /// of this name, by way of [`luo_sys::test_driver`].
    #[must_use]
    pub fn test_driver(mut self) -> Self {
        self.test_driver = true;
        self
    }

    /// Has the kernels say that they have mainline's handler of memfds: then the checks of the
    /// agent `luod` tell what that loses. What comes back is the same.
    #[must_use]
    pub fn mainlines_memfds(mut self) -> Self {
        self.mainlines_memfds = true;
        self
    }

    /// Keeps what the programs write, instead of passing it on.
    #[must_use]
    pub fn capture(mut self) -> Self {
        self.capture = true;
        self
    }

    /// Keeps a trace.
    #[must_use]
    pub fn trace(mut self) -> Self {
        self.sinks.kept = Some(Vec::new());
        self
    }

    /// Writes a trace to standard error.
    #[must_use]
    pub fn trace_lines(mut self) -> Self {
        self.sinks.lines = true;
        self
    }

    /// Writes a trace as lines of JSON.
    #[must_use]
    pub fn trace_json(mut self, to: File) -> Self {
        self.sinks.json = Some(Arc::new(to));
        self
    }

    /// Runs it, to its end, on a thread with descriptors of its own: what else this
    /// process does meanwhile, other simulations included, does not matter. It raises
    /// the process's limit of descriptors as far as that is allowed; programs get the
    /// limit that was there before.
    ///
    /// # Errors
    /// [`Error`]: it could not begin, or go on.
    pub fn run(self) -> Result<Outcome, Error> {
        let limit = programs_limit()?;
        // Closed on this side, where it was opened.
        let json = self.sinks.json.clone();
        let kept = json.as_deref().map(AsFd::as_fd);
        let done = descriptors::with_own(kept, || self.run_here(limit));
        done.map_err(Error::io("a thread with descriptors of its own"))?
    }

    fn run_here(self, limit: DescriptorLimit) -> Result<Outcome, Error> {
        if let Some((word, takes)) = Policy::mistake(&self.parameters) {
            return Err(Error::Parameter { word, takes });
        }
        let subsystem = |name: &String| {
            // It stands in lists, a line each.
            let is_plain = !name.contains(|letter: char| letter.is_control());
            let known = Compat::try_from(name.as_str()).ok().filter(|_| is_plain);
            known.ok_or_else(|| Error::Subsystem(name.escape_debug().to_string()))
        };
        let subsystems = self.subsystems.iter().map(subsystem);
        let subsystems = subsystems.collect::<Result<_, _>>()?;
        let output = self.capture.then(|| luo_sys::memfd::create("output", 0));
        let output = output.transpose();
        let output = output.map_err(|why| Error::io("the programs' output")(why.into()))?;
        let journal = Arc::new(Journal::new(self.sinks));
        let faults = Asked::new(&self.faults);
        let (ending, boots) = run(&Plan {
            boots: self.boots,
            again: self.again,
            most: self.most,
            all: self.all,
            faults: faults.clone(),
            seed: self.seed,
            parameters: self.parameters,
            subsystems,
            test_driver: self.test_driver,
            mainlines_memfds: self.mainlines_memfds,
            journal: Arc::clone(&journal),
            output: output.as_ref(),
            limit,
        })?;
        let output = output.map_or(Ok(Vec::new()), |mut file| {
            let mut bytes = Vec::new();
            file.rewind()?;
            file.read_to_end(&mut bytes).map(|_| bytes)
        });
        Ok(Outcome {
            ending,
            boots,
            output: output.map_err(Error::io("the programs' output"))?,
            unfired: faults.unfired(),
            trace_lost: journal.lost(),
            trace: journal.take(),
        })
    }
}

/// Raises this process's limit of descriptors, once; gives what it was before, which
/// is what programs get.
fn programs_limit() -> Result<DescriptorLimit, Error> {
    static BEFORE: Mutex<Option<DescriptorLimit>> = Mutex::new(None);
    let mut before = lock(&BEFORE);
    if let Some(before) = &*before {
        return Ok(*before);
    }
    let raised = raise_descriptor_limit(DESCRIPTORS);
    let limit = raised.map_err(|why| Error::io("the limit of descriptors")(why.into()))?;
    *before = Some(limit);
    Ok(limit)
}
