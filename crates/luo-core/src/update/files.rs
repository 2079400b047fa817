// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The steps of a transition for one file, and files in order.

use luo_abi::errno::Errno;

use crate::engine::outgoing::Whose;
use crate::engine::Engine;
use crate::error::Error;
use crate::failure::Failure;
use crate::file_name::FileName;
use crate::graph::First;
use crate::host::{FileCallbacks, Host, Outgoing, Subject};
use crate::id::{FileId, HandlerId};
use crate::lock::Lock;
use crate::session::preserve::{install, preserve_source, put_back_source, Made, Taken};
use crate::session::{Live, Source, Stage};
use crate::walk::backwards;
use crate::within::Within;

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

/// Unfreezes files that are frozen, the last frozen first.
pub(crate) fn unfreeze_files<H: Lock>(host: &H, whose: Whose) {
    // The freeze order is not stored: of those that were frozen, recomputing it gives the
    // same result.
    let frozen = |engine: &mut Engine<H>| engine.arrange_outgoing(whose, First::Dependents);
    backwards(host, frozen, |id| {
        unfreeze_file(host, Within::Transition, id);
    });
}

/// Freezes a file; nothing happens to one that is lost, or frozen already with its session.
pub(crate) fn freeze_file<H: Lock>(host: &H, within: Within, id: FileId) -> Result<(), Errno> {
    if host.now(|engine| engine.is_lost(id) || engine.is_frozen(id)) {
        return Ok(());
    }
    let taken = host.now(|engine| engine.take_live(id));
    let Some((mut live, _, data)) = taken else {
        return Err(Errno::EIO);
    };
    let outcome = live.freeze(host, within == Within::Call, data);
    let (data, frozen) = match &outcome {
        Ok(data) => (*data, true),
        Err(_) => (data, false),
    };
    put_back(host, within, id, (live, data), frozen);
    outcome.map(|_| ())
}

/// Unfreezes a file.
pub(crate) fn unfreeze_file<H: Lock>(host: &H, within: Within, id: FileId) {
    if let Some((mut live, _, data)) = host.now(|engine| engine.take_live(id)) {
        live.unfreeze(host, within == Within::Call, data);
        put_back(host, within, id, (live, data), false);
    }
}

/// Tells the handler of a file that the file is lost, and that nobody lets go of it.
pub(crate) fn lose_file<H: Lock>(host: &H, id: FileId) {
    if let Some((mut live, _, data)) = host.now(|engine| engine.take_live(id)) {
        live.lose(host, data);
        put_back(host, Within::Transition, id, (live, data), false);
    }
}

fn put_back<H: Lock>(host: &H, within: Within, id: FileId, (live, data): Made<H>, frozen: bool) {
    let old = within.step(host, |engine| {
        if let Some(file) = engine.files.get_mut(id) {
            file.data = data;
            if let Some(outgoing) = file.as_outgoing_mut() {
                outgoing.frozen = frozen;
                if frozen {
                    outgoing.veto = None;
                }
            }
        }
        engine.replace_stage(id, Stage::Preserved(Some(live)))
    });
    drop(old);
}

impl<H: Host> Live<H> {
    fn freeze(&mut self, host: &H, in_call: bool, data: u64) -> Result<u64, Errno> {
        let (handler, file) = self.parts(in_call, data);
        handler.freeze(host, file)
    }

    fn unfreeze(&mut self, host: &H, in_call: bool, data: u64) {
        let (handler, file) = self.parts(in_call, data);
        handler.unfreeze(host, file);
    }

    fn lose(&mut self, host: &H, data: u64) {
        let (handler, file) = self.parts(false, data);
        handler.lose(host, file);
    }

    fn parts(&mut self, in_call: bool, data: u64) -> (&H::Handler, Outgoing<'_, H>) {
        let file = Outgoing {
            file: &self.source.file,
            in_call,
            data,
            private: &mut self.private,
        };
        (&self.source.handler, file)
    }
}

impl<H: Host> Engine<H> {
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
