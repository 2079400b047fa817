// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Freezing files and subsystems.
//!
//! The event FREEZE freezes what took part in the prepare. The reboot unfreezes that
//! and freezes all there is, what came after the prepare too: a handler may take it that
//! nobody can touch a file which it has frozen, and only then is user space gone. A
//! subsystem is frozen once: it has no callback that undoes a freeze alone.

use crate::engine::Engine;
use crate::error::Error;
use crate::failure::Failure;
use crate::graph::{First, Target};
use crate::host::{Host, SubsystemCallbacks};
use crate::lock::Lock;
use crate::participant::subsystem_calls;
use crate::update::files::{freeze_file, Whose};
use crate::update::loss::{let_go_of_lost, lose_subsystem, lose_those_who_miss, Obstacle};

/// Freezes files and subsystems. On failure, and on success, files and subsystems may
/// be frozen: the caller undoes all with `undo_all`.
pub(crate) fn freeze_all<H: Lock>(
    host: &H,
    whose: Whose,
    obstacle: Obstacle,
) -> Result<(), Failure> {
    match obstacle {
        Obstacle::Vetoes => host.now(|engine| engine.check_dependencies(whose))?,
        Obstacle::IsLost => {
            lose_those_who_miss(host);
            let_go_of_lost(host);
        }
    }
    let mut next = host.now(|engine| engine.arrange_outgoing(whose, First::Dependents).first);
    while let Some(id) = next {
        if let Err(errno) = freeze_file(host, id) {
            let why = host.now(|engine| engine.failure_of(id, errno.into()));
            obstacle.decide(host, id, why)?;
        }
        next = host.now(|engine| engine.graph.next_in_order(id));
    }
    if obstacle == Obstacle::IsLost && host.now(|engine| engine.losses.files) > 0 {
        // With those that were frozen already and need what turned out to be lost.
        lose_those_who_miss(host);
        let_go_of_lost(host);
    }
    let count = host.now(|engine| engine.subsystems.len());
    for at in 0..count {
        if let Err(why) = freeze_subsystem(host, at) {
            match obstacle {
                Obstacle::Vetoes => return Err(why),
                Obstacle::IsLost => lose_subsystem(host, at, &why),
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
    /// Whether all that outgoing files need is there.
    pub(crate) fn check_dependencies(&self, whose: Whose) -> Result<(), Failure> {
        if self.graph.edge_count() == 0 {
            return Ok(());
        }
        for id in self.outgoing_files(whose) {
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
