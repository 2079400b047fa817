// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The steps of a transition for one file, and files in order.

use luo_abi::errno::Errno;

use crate::engine::under_way::is_taken;
use crate::engine::{files_of, Engine};
use crate::error::Error;
use crate::failure::Failure;
use crate::file_name::FileName;
use crate::graph::{First, Order};
use crate::host::{FileCallbacks, Host, Outgoing, Subject};
use crate::id::{FileId, HandlerId};
use crate::lock::Lock;
use crate::session::preserve::{install, preserve_source, put_back_source, Taken};
use crate::session::{File, Live, Lost, Session, Source, Stage};
use crate::update_state::UpdateState;
use crate::walk::backwards;

/// Which outgoing files are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those that were there when what is preserved was fixed.
    TookPart,
    /// Those that are frozen.
    Frozen,
    /// Those that a reboot has lost, and that no call has in its hands.
    Lost,
    /// All.
    All,
}

impl Whose {
    fn means<H: Host>(self, file: &File<H>, update: &UpdateState) -> bool {
        let Some(file) = file.as_outgoing() else {
            return false;
        };
        match self {
            Self::TookPart => file.made.is_some_and(|made| update.took_part(made)),
            Self::Frozen => file.frozen,
            Self::Lost => file.lost.is_some_and(|lost| lost != Lost::InHands),
            Self::All => true,
        }
    }
}

/// Preserves a registered file; nothing happens to one that is preserved.
pub(crate) fn prepare_file<H: Lock>(host: &H, id: FileId) -> Result<(), Error> {
    let Some((of, source, handler)) = host.now(|engine| engine.take_registered(id)) else {
        return Ok(());
    };
    let bytes = source.handler.bytes(host, &source.file);
    match preserve_source(host, &of, handler, source) {
        Ok(made) => {
            install(host, id, made);
            host.now(|engine| engine.set_bytes(id, bytes));
            Ok(())
        }
        Err((why, source)) => {
            put_back_source(host, id, source);
            Err(why)
        }
    }
}

/// Unfreezes all files that are frozen, the last frozen first.
pub(crate) fn unfreeze_files<H: Lock>(host: &H) {
    // The freeze order is not stored: of those that were frozen, recomputing it gives the
    // same result.
    let frozen = |engine: &mut Engine<H>| engine.arrange_outgoing(Whose::Frozen, First::Dependents);
    backwards(host, frozen, |id| unfreeze_file(host, id));
}

/// Freezes a file; nothing happens to one that is lost.
pub(crate) fn freeze_file<H: Lock>(host: &H, id: FileId) -> Result<(), Errno> {
    if host.now(|engine| engine.is_lost(id)) {
        return Ok(());
    }
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

pub(crate) fn unfreeze_file<H: Lock>(host: &H, id: FileId) {
    if let Some((mut live, _, data)) = host.now(|engine| engine.take_live(id)) {
        live.unfreeze(host, data);
        put_back(host, id, live, data, false);
    }
}

/// Tells the handler of a file that the file is lost, and that nobody lets go of it.
pub(crate) fn lose_file<H: Lock>(host: &H, id: FileId) {
    if let Some((mut live, _, data)) = host.now(|engine| engine.take_live(id)) {
        live.lose(host, data);
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

    fn lose(&mut self, host: &H, data: u64) {
        let (handler, file) = self.parts(data);
        handler.lose(host, file);
    }

    fn parts(&mut self, data: u64) -> (&H::Handler, Outgoing<'_, H>) {
        let file = Outgoing {
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

    /// Whether a file for the next kernel is lost.
    pub(crate) fn is_lost(&self, id: FileId) -> bool {
        let file = self.files.get(id);
        file.is_some_and(|file| file.lost_by().is_some())
    }

    /// Puts outgoing files in order, but for those of sessions that a call has for itself:
    /// it may be going along them. Of those only what is frozen is meant, which no call
    /// goes along.
    pub(crate) fn arrange_outgoing(&mut self, whose: Whose, first: First) -> Order {
        let (files, update) = (&self.files, &self.update);
        let is_meant = |session: &Session<H>| whose == Whose::Frozen || !is_taken(session);
        let all = files_of(&self.sessions, files, &self.outgoing, is_meant);
        let means = |id: &FileId| files.get(*id).is_some_and(|file| whose.means(file, update));
        self.graph.arrange(all.filter(means), first)
    }

    fn take_registered(&mut self, id: FileId) -> Option<(Subject, Source<H>, HandlerId)> {
        let file = self.files.get_mut(id)?;
        let handler = file.handler?;
        let of = Subject {
            file: id,
            in_call: false,
            carries: None,
            session: file.session,
            token: file.token,
        };
        match &mut file.as_outgoing_mut()?.stage {
            Stage::Registered(source) => Some((of, source.take()?, handler)),
            _ => None,
        }
    }

    /// Takes a file that prepare has preserved.
    pub(crate) fn take_prepared(&mut self, id: FileId) -> Option<Taken<H>> {
        if !self.files.get(id)?.as_outgoing()?.registered {
            return None;
        }
        self.take_live(id)
    }

    /// The failure of a transition in which a file's handler returned an error.
    pub(crate) fn failure_of(&self, id: FileId, why: Error) -> Failure {
        let named: Option<(FileName, _)> = self.file_name(id).and_then(|name| {
            let handler = self.files.get(id)?.handler?;
            Some((name, self.handlers.get(handler)?.name))
        });
        match (named, why) {
            (Some((file, handler)), Error::Host(errno)) => Failure::Handler {
                file,
                handler,
                errno,
            },
            _ => Failure::Engine(why),
        }
    }
}
