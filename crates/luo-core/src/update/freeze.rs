// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Freezing files and subsystems.
//!
//! The event FREEZE freezes the files that took part in the prepare. The reboot unfreezes them and
//! freezes all files, those that came after the prepare too: the state that a handler saves then is
//! the one that counts. Programs on other processors run on until those are stopped, right before
//! the jump; a handler may lose what they write to a frozen file. A session that its owner has frozen
//! before the others (`update::early`) is passed over by both. A subsystem is frozen once: it
//! has no callback that undoes a freeze alone.

use crate::engine::outgoing::Whose;
use crate::engine::Engine;
use crate::error::Error;
use crate::failure::Failure;
use crate::graph::{First, Target};
use crate::host::{Host, SubsystemCallbacks};
use crate::lock::Lock;
use crate::participant::subsystem_calls;
use crate::update::files::freeze_file;
use crate::update::loss::{let_go_of_lost, lose_subsystem, lose_those_who_miss, Obstacle};
use crate::walk::try_forwards;
use crate::within::Within;

/// The reason for a freeze.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The event: a veto refuses it, but for a file of a user without privileges. That one
    /// stays as it is, its owner may mend it, and the reboot asks again.
    ByEvent,
    /// The reboot.
    ByReboot(Obstacle),
}

/// Freezes files and subsystems. On failure some may be frozen already: the caller calls
/// `undo_all`.
pub(crate) fn freeze_all<H: Lock>(host: &H, asked: Asked) -> Result<(), Failure> {
    let whose = match asked {
        Asked::ByEvent => {
            host.now(|engine| engine.check_dependencies(Whose::TookPart))?;
            Whose::TookPart
        }
        Asked::ByReboot(obstacle) => {
            lose_those_who_miss(host, obstacle)?;
            let_go_of_lost(host);
            Whose::All
        }
    };
    let order = |engine: &mut Engine<H>| engine.arrange_outgoing(whose, First::Dependents);
    try_forwards(host, order, |id| {
        match freeze_file(host, Within::Transition, id) {
            Ok(()) => Ok(()),
            Err(errno) => {
                let why = host.now(|engine| engine.failure_of(id, errno.into()));
                match asked {
                    Asked::ByEvent if host.now(|engine| engine.is_users(id)) => Ok(()),
                    Asked::ByEvent => Err(why),
                    Asked::ByReboot(obstacle) => obstacle.decide(host, id, why),
                }
            }
        }
    })?;
    if let Asked::ByReboot(obstacle) = asked {
        if host.now(|engine| engine.losses.files) > 0 {
            // With those that were frozen already and need what turned out to be lost.
            lose_those_who_miss(host, obstacle)?;
            let_go_of_lost(host);
        }
    }
    let count = host.now(|engine| engine.subsystems.len());
    for at in 0..count {
        if let Err(why) = freeze_subsystem(host, at) {
            match asked {
                Asked::ByReboot(Obstacle::IsLost) => lose_subsystem(host, at, &why),
                Asked::ByEvent | Asked::ByReboot(Obstacle::Vetoes) => return Err(why),
            }
        }
    }
    Ok(())
}

fn freeze_subsystem<H: Lock>(host: &H, at: usize) -> Result<(), Failure> {
    let Some(call) = subsystem_calls::prepared(host, at).filter(|call| !call.frozen) else {
        return Ok(());
    };
    let frozen = call.table.freeze(host, call.data);
    let data = frozen.map_err(|errno| Failure::Subsystem {
        name: call.name,
        errno,
    })?;
    host.now(|engine| engine.set_subsystem_frozen(at, data));
    Ok(())
}

impl<H: Host> Engine<H> {
    /// Whether all that outgoing files need is there. Users' files are not asked: no user
    /// can keep the machine from its update.
    pub(crate) fn check_dependencies(&self, whose: Whose) -> Result<(), Failure> {
        if self.graph.edge_count() == 0 {
            return Ok(());
        }
        for id in self.outgoing_files(whose).filter(|&id| !self.is_users(id)) {
            for (_, target) in self.graph.dependencies(id) {
                if let Target::Gone(on) = target {
                    let file = self.file_name(id).ok_or(Error::Inconsistent)?;
                    return Err(Failure::Dependency { file, on });
                }
            }
        }
        Ok(())
    }

    fn set_subsystem_frozen(&mut self, at: usize, data: u64) {
        if let Some(entry) = self.subsystems.get_mut(at) {
            entry.frozen = true;
            if let Some((kept, _)) = entry.prepared.as_mut() {
                *kept = data;
            }
        }
    }
}
