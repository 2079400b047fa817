// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Registering files on the device: they are preserved at prepare.

use luo_abi::errno::Errno;

use crate::lock::Lock;
use crate::session::preserve::{add_file, find_source};
use crate::session::{File, Stage};

use crate::engine::Engine;
use crate::error::Error;
use crate::host::Host;
use crate::id::SessionId;
use crate::owner::Actor;

/// Registers a file in the session of an open instance of the device; answers
/// with its token, which is unique over the machine's chain of kernels.
///
/// `answer` tells the caller the token, before anything is done: who cannot be told
/// has registered nothing.
///
/// Nothing is preserved before [`crate::ops::prepare`], but from here on nobody else
/// can preserve the same object.
///
/// # Errors
/// [`Error::NoHandler`], [`Error::AlreadyPreserved`], [`Error::Full`],
/// [`Error::Prepared`], [`Error::Frozen`], [`Error::NoMemory`]; what `answer` or
/// `open` says.
pub fn register_file<H: Lock>(
    host: &H,
    session: SessionId,
    answer: impl FnOnce(u64) -> Result<(), Errno>,
    open: impl FnOnce() -> Result<H::File, Errno>,
) -> Result<u64, Error> {
    let token = host.now(|engine| engine.new_token())?;
    answer(token)?;
    let may = |engine: &Engine<H>| engine.update.changeable();
    add_file(host, session, token, may, |id| {
        let (_, source) = find_source(host, Actor::Administrator, id, open)?;
        host.now(|engine| {
            let file = engine.files.get_mut(id);
            if let Some(outgoing) = file.and_then(File::as_outgoing_mut) {
                outgoing.registered = true;
            }
        });
        Ok((Stage::Registered(Some(source)), 0))
    })?;
    Ok(token)
}

impl<H: Host> Engine<H> {
    /// The updates before this kernel, and a number: kernels of a chain never
    /// have the same.
    fn new_token(&mut self) -> Result<u64, Error> {
        let number = self.device_files.checked_add(1).ok_or(Error::Full)?;
        let update = u32::try_from(self.update_number).map_err(|_| Error::Full)?;
        self.device_files = number;
        Ok((u64::from(update) << 32) | u64::from(number))
    }
}
