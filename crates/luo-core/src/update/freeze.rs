// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Freezing files and subsystems, and unfreezing files.
//!
//! The event FREEZE freezes what took part in the prepare. The reboot unfreezes that
//! and freezes all there is, what came after the prepare too: a handler may take it that
//! nobody can touch a file which it has frozen, and only then is user space gone. A
//! subsystem is frozen once: it has no callback that undoes a freeze alone.

use luo_abi::errno::Errno;

use crate::engine::{files_of, Engine};
use crate::error::Error;
use crate::failure::Failure;
use crate::graph::{First, Order, Target};
use crate::host::{FileCallbacks, Frozen, Host, SubsystemCallbacks};
use crate::id::FileId;
use crate::lock::Lock;
use crate::participant::subsystem_calls;
use crate::session::{File, Live, Stage};
use crate::update_state::UpdateState;

/// Which outgoing files are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those that were there when what is preserved was fixed.
    TookPart,
    /// Those that are frozen.
    Frozen,
    /// All.
    All,
}

impl Whose {
    fn means<H: Host>(self, file: &File<H>, update: &UpdateState) -> bool {
        let Some(file) = file.as_outgoing() else {
            return false;
        };
        match self {
            Self::TookPart => update.took_part(file.made),
            Self::Frozen => file.frozen,
            Self::All => true,
        }
    }
}

/// Freezes files and subsystems. On failure, and on success, files and subsystems may
/// be frozen: the caller undoes all with `undo_all`.
pub(crate) fn freeze_all<H: Lock>(host: &H, whose: Whose) -> Result<(), Failure> {
    host.now(|engine| engine.check_dependencies(whose))?;
    let mut next = host.now(|engine| engine.arrange_outgoing(whose, First::Dependents).first);
    while let Some(id) = next {
        if let Err(errno) = freeze_file(host, id) {
            return Err(host.now(|engine| engine.failure_of(id, errno.into())));
        }
        next = host.now(|engine| engine.graph.next_in_order(id));
    }
    freeze_subsystems(host)
}

fn freeze_subsystems<H: Lock>(host: &H) -> Result<(), Failure> {
    let mut at = 0usize;
    while let Some(call) = subsystem_calls::prepared(host, at) {
        if !call.frozen {
            let data = call
                .table
                .freeze(host, call.data)
                .map_err(|errno| Failure::Subsystem {
                    name: call.name,
                    errno,
                })?;
            host.now(|engine| engine.set_subsystem_frozen(at, data));
        }
        at = at.saturating_add(1);
    }
    Ok(())
}

/// Unfreezes all files that are frozen, the last frozen first.
pub(crate) fn unfreeze_files<H: Lock>(host: &H) {
    // The freeze order is not stored: of those that were frozen, recomputing it gives the
    // same result.
    let frozen = |engine: &mut Engine<H>| engine.arrange_outgoing(Whose::Frozen, First::Dependents);
    let mut next = host.now(frozen).last;
    while let Some(id) = next {
        unfreeze_file(host, id);
        next = host.now(|engine| engine.graph.prev_in_order(id));
    }
}

fn freeze_file<H: Lock>(host: &H, id: FileId) -> Result<(), Errno> {
    let taken = host.now(|engine| engine.take_live(id));
    let Some((mut live, _, data)) = taken else {
        return Err(Errno::EIO);
    };
    let outcome = live.freeze(host, data);
    let (data, frozen) = match &outcome {
        Ok(data) => (*data, true),
        Err(_) => (data, false),
    };
    put_back(host, id, live, data, frozen);
    outcome.map(|_| ())
}

fn unfreeze_file<H: Lock>(host: &H, id: FileId) {
    if let Some((mut live, _, data)) = host.now(|engine| engine.take_live(id)) {
        live.unfreeze(host, data);
        put_back(host, id, live, data, false);
    }
}

fn put_back<H: Lock>(host: &H, id: FileId, live: Live<H>, data: u64, frozen: bool) {
    let old = host.now(|engine| {
        if let Some(file) = engine.files.get_mut(id) {
            file.data = data;
            if let Some(outgoing) = file.as_outgoing_mut() {
                outgoing.frozen = frozen;
            }
        }
        engine.replace_stage(id, Stage::Preserved(Some(live)))
    });
    drop(old);
}

impl<H: Host> Live<H> {
    fn freeze(&mut self, host: &H, data: u64) -> Result<u64, Errno> {
        let (handler, file) = self.parts(data);
        handler.freeze(host, file)
    }

    fn unfreeze(&mut self, host: &H, data: u64) {
        let (handler, file) = self.parts(data);
        handler.unfreeze(host, file);
    }

    fn parts(&mut self, data: u64) -> (&H::Handler, Frozen<'_, H>) {
        let file = Frozen {
            file: &self.source.file,
            data,
            private: &mut self.private,
        };
        (&self.source.handler, file)
    }
}

impl<H: Host> Engine<H> {
    /// Outgoing files, session by session.
    pub(crate) fn outgoing_files(&self, whose: Whose) -> impl Iterator<Item = FileId> + '_ {
        let all = files_of(&self.sessions, &self.files, &self.outgoing, |_| true);
        let means = move |file| whose.means(file, &self.update);
        all.filter(move |&id| self.files.get(id).is_some_and(means))
    }

    /// Puts outgoing files in order.
    pub(crate) fn arrange_outgoing(&mut self, whose: Whose, first: First) -> Order {
        let (files, update) = (&self.files, &self.update);
        let all = files_of(&self.sessions, files, &self.outgoing, |_| true);
        let means = |id: &FileId| files.get(*id).is_some_and(|file| whose.means(file, update));
        self.graph.arrange(all.filter(means), first)
    }

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
