// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a case is, and what it gets.

use core::any::Any;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use luo_abi::uapi::SESSION_NAME_LENGTH;
use luo_sys::Device;

use crate::difference::Differs;
use crate::implementation::Implementation;
use crate::look::SYSFS;

/// Cases about one thing.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// The first half of each case's name in reports.
    pub name: &'static str,
    /// Its cases.
    pub cases: &'static [Case],
}

/// One behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The second half of its name in reports.
    pub name: &'static str,
    /// What it does, and in how many kernels.
    pub course: Course,
    /// Implementations that do it otherwise.
    pub differs: &'static [Differs],
}

/// What a case does in one kernel.
pub type Step = fn(&mut Context<'_>) -> Result<()>;

/// The kernels that a case needs.
#[derive(Clone, Copy, Debug)]
pub enum Course {
    /// One, and nothing under way in it.
    Here(Step),
    /// Two, the second of which it shares with others: it must leave alone what
    /// is not its own, the machine's state included.
    Shared(Step, Step),
    /// As many as there are steps, all to itself.
    Alone(&'static [Step]),
}

/// A case in one kernel, nothing declared.
pub(crate) const fn here(name: &'static str, step: Step) -> Case {
    Case {
        name,
        course: Course::Here(step),
        differs: &[],
    }
}

/// A case across a kexec, nothing declared.
pub(crate) const fn shared(name: &'static str, before: Step, after: Step) -> Case {
    Case {
        name,
        course: Course::Shared(before, after),
        differs: &[],
    }
}

/// A case with kexecs of its own, nothing declared.
pub(crate) const fn alone(name: &'static str, steps: &'static [Step]) -> Case {
    Case {
        name,
        course: Course::Alone(steps),
        differs: &[],
    }
}

impl Case {
    /// Declares differences.
    pub(crate) const fn but(mut self, differs: &'static [Differs]) -> Self {
        self.differs = differs;
        self
    }

    /// The difference that is declared for an implementation.
    #[must_use]
    pub fn difference(&self, on: Implementation) -> Option<&'static Differs> {
        self.differs.iter().find(|differs| differs.on == on)
    }
}

/// What a case asks of the machine it runs on.
pub trait Machine {
    /// Loads a kernel and asks for the jump, which must be refused; gives the
    /// error. If the machine jumps all the same, the next kernel has to report
    /// that of the named case.
    ///
    /// # Errors
    /// No kernel can be loaded.
    fn refused_kexec(&self, case: &str) -> Result<luo_sys::Error>;

    /// The file of a module of the running kernel; `None` if it has no such module.
    fn module(&self, file: &str) -> Option<PathBuf>;
}

/// Things to be kept until the jump.
pub type Luggage = Vec<Box<dyn Any>>;

/// Names and values of kernel parameters.
pub type Parameters = Vec<(&'static str, &'static str)>;

/// What one case tells its later steps.
pub type Notes = BTreeMap<String, u64>;

/// The most of a case's full name that fits a session's.
pub(crate) fn own_name(full_name: &str) -> &str {
    let longest = SESSION_NAME_LENGTH - 1;
    let behind = full_name.len().saturating_sub(longest);
    full_name.get(behind..).unwrap_or(full_name)
}

/// Everything a step gets.
pub struct Context<'a> {
    /// What is tested.
    pub implementation: Implementation,
    case: String,
    machine: &'a dyn Machine,
    notes: &'a RefCell<Notes>,
    device: &'a OnceCell<Rc<Device>>,
    held: Luggage,
    parameters: Parameters,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        implementation: Implementation,
        case: &str,
        machine: &'a dyn Machine,
        notes: &'a RefCell<Notes>,
        device: &'a OnceCell<Rc<Device>>,
    ) -> Self {
        Self {
            implementation,
            case: case.to_owned(),
            machine,
            notes,
            device,
            held: Vec::new(),
            parameters: Vec::new(),
        }
    }

    /// The name of a session that belongs to this case alone.
    #[must_use]
    pub fn own_name(&self) -> &str {
        own_name(&self.case)
    }

    /// Keeps something until the jump: a session lives as long as a descriptor.
    pub fn hold(&mut self, thing: impl Any) {
        self.held.push(Box::new(thing));
    }

    /// The device, open until the jump, and the same for all cases that share
    /// a kexec: there is one opener at a time, and what is registered on the
    /// device goes with it.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn device(&self) -> Result<Rc<Device>> {
        if let Some(device) = self.device.get() {
            return Ok(Rc::clone(device));
        }
        let device = Rc::new(crate::check::device()?);
        Ok(Rc::clone(self.device.get_or_init(|| device)))
    }

    /// Tells the steps in later kernels a number.
    pub fn note(&mut self, key: &str, value: u64) {
        self.notes.borrow_mut().insert(key.to_owned(), value);
    }

    /// The number that an earlier step noted.
    ///
    /// # Errors
    /// If none did.
    pub fn noted(&self, key: &str) -> Result<u64> {
        let value = self.notes.borrow().get(key).copied();
        value.with_context(|| format!("no step noted '{key}'"))
    }

    /// Has the next kernel booted with a parameter. For cases that are alone.
    pub fn boot_with(&mut self, name: &'static str, value: &'static str) {
        self.parameters.push((name, value));
    }

    /// Asks for a kexec that must be refused, of a machine where what cannot go with a
    /// reboot vetoes it, as always on mainline.
    ///
    /// # Errors
    /// No kernel can be loaded.
    pub fn refused_kexec(&self) -> Result<luo_sys::Error> {
        let path = format!("{SYSFS}/reboot");
        let can_choose = std::fs::exists(&path)?;
        if can_choose {
            std::fs::write(&path, "veto").context("veto")?;
        }
        let refused = self.machine.refused_kexec(&self.case);
        if can_choose {
            std::fs::write(&path, "lose").context("lose")?;
        }
        refused
    }

    /// The file of a module of the running kernel; `None` if it has no such module.
    #[must_use]
    pub fn module(&self, file: &str) -> Option<PathBuf> {
        self.machine.module(file)
    }

    pub(crate) fn into_held(self) -> (Luggage, Parameters) {
        (self.held, self.parameters)
    }
}
