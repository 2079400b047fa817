// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Registering subsystems and calling them.
//!
//! They are few and found by walking, in the order of registration, which is the
//! order they are called in; undoing goes the other way.

use core::task::{ready, Poll};

use luo_abi::supplement::MAX_SUBSYSTEMS;

use crate::engine::Engine;
use crate::error::Error;
use crate::host::{Host, SubsystemCallbacks};
use crate::lock::Lock;
use crate::participant::subsystem::Subsystem;
use crate::text::Compat;

impl<H: Host> Engine<H> {
    /// Registers a subsystem. See `liveupdate_register_subsystem`.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::Full`] at 63 subsystems,
    /// [`Error::Prepared`], [`Error::Frozen`], [`Error::NoMemory`]; pending during
    /// a transition.
    pub fn register_subsystem(
        &mut self,
        name: Compat,
        table: &H::Subsystem,
    ) -> Poll<Result<(), Error>> {
        ready!(self.update.changeable())?;
        if self
            .subsystems
            .iter()
            .any(|entry| entry.name == name || entry.table == *table)
        {
            return Poll::Ready(Err(Error::NameTaken));
        }
        if self.subsystems.len() >= MAX_SUBSYSTEMS {
            return Poll::Ready(Err(Error::Full));
        }
        let pushed = self.subsystems.push(Subsystem {
            name,
            table: table.clone(),
            prepared: None,
            frozen: false,
        });
        Poll::Ready(pushed.map_err(Error::from))
    }

    /// Unregisters a subsystem.
    ///
    /// # Errors
    /// [`Error::NotRegistered`], [`Error::Prepared`], [`Error::Frozen`]; pending
    /// during a transition.
    pub fn unregister_subsystem(&mut self, table: &H::Subsystem) -> Poll<Result<(), Error>> {
        if !self.update.is_moving() && !self.subsystems.iter().any(|s| s.table == *table) {
            return Poll::Ready(Err(Error::NotRegistered));
        }
        ready!(self.update.changeable())?;
        let mut all = self.subsystems.iter();
        if let Some(at) = all.position(|entry| entry.table == *table) {
            self.subsystems.remove(at);
        }
        Poll::Ready(Ok(()))
    }

    /// The number that a subsystem of this name handed over in the previous kernel, until it
    /// has been told that the update is over.
    ///
    /// # Errors
    /// [`Error::NoData`] if none did.
    pub fn subsystem_data(&self, name: &Compat) -> Result<u64, Error> {
        let mut all = self.arrived_subsystems.iter();
        all.find(|entry| entry.name == *name && !entry.finished)
            .map(|entry| entry.data)
            .ok_or(Error::NoData)
    }
}

/// A subsystem that is to be called.
pub(crate) struct Call<H: Host> {
    pub(crate) name: Compat,
    pub(crate) table: H::Subsystem,
    pub(crate) data: u64,
    /// It has had its last look.
    pub(crate) frozen: bool,
}

/// A subsystem that is kept from going away, or the name of one that is going.
type Pinned<H> = Result<(Call<H>, <H as Host>::Pin), Compat>;

/// The subsystem at a place, pinned, for its prepare; `Err` with its name if its
/// owner is going away.
pub(crate) fn pin_for_prepare<H: Lock>(host: &H, at: usize) -> Option<Pinned<H>> {
    host.now(|engine| {
        engine.subsystems.get(at).map(|entry| {
            let pin = entry.table.pin(host).ok_or(entry.name)?;
            let call = Call {
                name: entry.name,
                table: entry.table.clone(),
                data: 0,
                frozen: false,
            };
            Ok((call, pin))
        })
    })
}

/// The subsystem at a place, which is prepared.
pub(crate) fn prepared<H: Lock>(host: &H, at: usize) -> Option<Call<H>> {
    host.now(|engine| {
        engine.subsystems.get(at).and_then(|entry| {
            let (data, _) = entry.prepared.as_ref()?;
            Some(Call {
                name: entry.name,
                table: entry.table.clone(),
                data: *data,
                frozen: entry.frozen,
            })
        })
    })
}

/// Notes what the subsystem at a place said at prepare, or that it was cancelled; gives
/// back what it said before.
pub(crate) fn set_prepared<H: Lock>(
    host: &H,
    at: usize,
    prepared: Option<(u64, H::Pin)>,
) -> Option<(u64, H::Pin)> {
    host.now(|engine| {
        let entry = engine.subsystems.get_mut(at)?;
        entry.frozen = false;
        core::mem::replace(&mut entry.prepared, prepared)
    })
}

/// Tells each subsystem that handed something over that the update is finished.
pub(crate) fn finish_all<H: Lock>(host: &H) -> usize {
    let mut told = 0usize;
    let count = host.now(|engine| engine.subsystems.len());
    for at in 0..count {
        let next = host.now(|engine| engine.take_finish(host, at));
        if let Some((table, data, pin)) = next {
            table.finish(host, data);
            drop(pin);
            told = told.saturating_add(1);
        }
    }
    told
}

impl<H: Host> Engine<H> {
    /// The subsystem at a place and what it handed over, once.
    fn take_finish(&mut self, host: &H, at: usize) -> Option<(H::Subsystem, u64, H::Pin)> {
        let entry = self.subsystems.get(at)?;
        let mut arrived = self.arrived_subsystems.iter_mut();
        let arrived = arrived.find(|arrived| arrived.name == entry.name && !arrived.finished)?;
        // One whose owner is going away is told no more.
        let pin = entry.table.pin(host)?;
        arrived.finished = true;
        Some((entry.table.clone(), arrived.data, pin))
    }
}
