// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a test tells the host to do in its callbacks, and what they did.

use std::collections::{BTreeMap, BTreeSet};

use luo_abi::errno::Errno;

use crate::host::TestHost;

/// The callbacks that can be told to fail or be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The moment before a step takes the engine's lock; cannot fail.
    Step,
    AllocBlock,
    PinHandler,
    CanPreserve,
    Preserve,
    Unpreserve,
    Freeze,
    Unfreeze,
    Retrieve,
    CanFinish,
    Finish,
    PinFlb,
    FlbPreserve,
    FlbUnpreserve,
    FlbRetrieve,
    FlbFinish,
    Narrow,
    PinSubsystem,
    SubsystemPrepare,
    SubsystemFreeze,
    SubsystemCancel,
    SubsystemFinish,
    /// Somebody looks into a pipe, by its number.
    LookIntoPipe,
    MakePipe,
}

/// Runs inside callbacks, with the object (or FLB number) that they are for:
/// how a test of one thread has something happen "meanwhile".
pub type Hook = Box<dyn FnMut(&TestHost, Call, u64) + Send>;

struct Failure {
    call: Call,
    skip: usize,
    errno: Errno,
}

#[derive(Default)]
pub struct Script {
    failures: Vec<Failure>,
    /// Bytes by which files are larger than their objects say.
    pub grown: u64,
    /// Objects that `can_finish` says no to.
    pub stuck: BTreeSet<u64>,
    /// Handlers whose owners are not all there yet.
    pub unready: BTreeSet<u32>,
    /// Objects that do not fit when they are retrieved, for now.
    pub too_large: BTreeSet<u64>,
    /// Objects that somebody has locked, for so many pauses; `preserve` waits for them as for
    /// memfds.
    pub locked: BTreeMap<u64, u32>,
    /// Pauses that were waited for those.
    pub pauses: u64,
    /// Objects of which `preserve` says that they need another object of their session.
    pub needs: BTreeMap<u64, u64>,
    /// The same, of which `preserve` has the other file: its kind, and its object.
    pub needs_files: BTreeMap<u64, (u32, u64)>,
    /// Objects whose `retrieve` wants the file with a token of their session.
    pub wants: BTreeMap<u64, u64>,
    pub hook: Option<Hook>,
    pub log: Vec<String>,
    /// What the engine told of transitions.
    pub transitions: Vec<String>,
    /// What it named as lost.
    pub lost: Vec<luo_core::Failure>,
    /// How many sessions and files were taken over each time.
    pub taken_over: Vec<(usize, usize)>,
    /// Why what was handed over cannot be read, each time that the engine said so.
    pub refusals: Vec<luo_core::Error>,
}

impl Script {
    pub fn fail(&mut self, call: Call, skip: usize, errno: Errno) {
        self.failures.push(Failure { call, skip, errno });
    }

    /// Forgets the failures that did not come about; true if there were any.
    pub fn relent(&mut self) -> bool {
        let left = !self.failures.is_empty();
        self.failures.clear();
        left
    }

    pub fn outcome(&mut self, call: Call) -> Result<(), Errno> {
        let Some(at) = self.failures.iter().position(|f| f.call == call) else {
            return Ok(());
        };
        let failure = &mut self.failures[at];
        if failure.skip > 0 {
            failure.skip -= 1;
            return Ok(());
        }
        Err(self.failures.remove(at).errno)
    }
}
