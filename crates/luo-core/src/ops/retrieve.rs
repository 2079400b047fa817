// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Retrieving a file from a session of the previous kernel.

use core::task::{ready, Poll};

use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::{FileId, SessionId};
use crate::session::{Direction, Progress, Stage};

/// Restores the file that was preserved under a token. Asked again, it gives
/// the same file again; of several who ask at once, one does the work.
///
/// # Errors
/// [`Error::NoToken`], [`Error::WrongDirection`], [`Error::Frozen`],
/// [`Error::NoMemory`]; or what the handler said, then and each time after: a
/// handler that failed is not asked again.
pub fn retrieve_file<H: Host>(host: &H, session: SessionId, token: u64) -> Result<H::File, Error> {
    let begun = host.with(|engine| engine.begin_retrieve(session, token))?;
    let (id, handler, data) = match begun {
        Begun::There(file) => return Ok(file),
        Begun::Retrieve { id, handler, data } => (id, handler, data),
    };
    let outcome = host.retrieve(&handler, data);
    let object = outcome
        .as_ref()
        .ok()
        .map(|file| host.object_id(&handler, file));
    let answer = outcome.clone().map_err(Error::from);
    let mut progress = Some(match outcome {
        Ok(file) => Progress::Done(file),
        Err(errno) => Progress::Failed(errno),
    });
    host.with(|engine| {
        if let Some(progress) = progress.take() {
            engine.set_progress(id, progress);
        }
        if let Some(object) = object {
            // Memory for it was set aside at the beginning. A handler that
            // gives an object which is preserved already keeps it so.
            let _ = engine.index_object(id, object);
        }
        engine.mark_idle(session);
        Poll::Ready(())
    });
    answer
}

enum Begun<H: Host> {
    /// It is restored already.
    There(H::File),
    /// The caller is to run the handler.
    Retrieve {
        id: FileId,
        handler: H::Handler,
        data: u64,
    },
}

impl<H: Host> Engine<H> {
    fn begin_retrieve(&mut self, session: SessionId, token: u64) -> Poll<Result<Begun<H>, Error>> {
        ready!(self.enter(session, Direction::Incoming))?;
        let Some(id) = self.find_file(session, token) else {
            return Poll::Ready(Err(Error::NoToken));
        };
        // One for this file and one for each that is being retrieved already.
        self.objects.reserve(self.busy.saturating_add(1))?;
        let Some(file) = self.files.get_mut(id) else {
            return Poll::Ready(Err(Error::Inconsistent));
        };
        let data = file.data;
        let Stage::Incoming(arrived) = &mut file.stage else {
            return Poll::Ready(Err(Error::Inconsistent));
        };
        match &arrived.progress {
            Progress::Retrieving => Poll::Pending,
            Progress::Done(file) => Poll::Ready(Ok(Begun::There(file.clone()))),
            Progress::Failed(errno) => Poll::Ready(Err((*errno).into())),
            Progress::Waiting => {
                arrived.progress = Progress::Retrieving;
                let handler = arrived.handler.clone();
                self.mark_busy(session);
                Poll::Ready(Ok(Begun::Retrieve { id, handler, data }))
            }
        }
    }

    fn set_progress(&mut self, id: FileId, progress: Progress<H>) {
        if let Some(file) = self.files.get_mut(id) {
            if let Stage::Incoming(arrived) = &mut file.stage {
                arrived.progress = progress;
            }
        }
    }
}
