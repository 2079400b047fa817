// SPDX-License-Identifier: GPL-2.0-only
//! File handlers as the engine calls them: tables of callbacks in C, and what is written
//! in Rust here.

use kernel::fs::File;
#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_abi::errno::Errno;
use luo_core::{FileCallbacks, Frozen, Incoming, Preserved, Unrestored};
#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
use luo_memfd::Format;

#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
use crate::handlers::memfd;
use crate::host::Linux;
use crate::sys::file;
use crate::sys::handler_table::{HandlerTable, PrivateData};
use crate::sys::module::{ModulePin, Owner};

/// A file handler.
#[derive(Clone, PartialEq)]
pub(crate) enum Handler {
    /// One that is written in C.
    Table(HandlerTable),
    /// That of memfds, with a format.
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    Memfd(Format),
}

impl From<&HandlerTable> for Handler {
    /// What C code means by a table: perhaps one of ours, which has no callbacks there.
    fn from(table: &HandlerTable) -> Self {
        #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
        for format in Format::ALL {
            if crate::sys::memfd::table(format).as_ref() == Some(table) {
                return Self::Memfd(format);
            }
        }
        Self::Table(table.clone())
    }
}

/// What a handler keeps of a preserved file in this kernel.
pub(crate) enum Private {
    /// Of one that is written in C: a pointer of its own.
    Table(PrivateData),
    /// Of that of memfds.
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    Memfd(KBox<memfd::Preserved>),
}

impl FileCallbacks<Linux> for Handler {
    fn pin(&self, _: &Linux) -> Option<ModulePin> {
        ModulePin::new(match self {
            Self::Table(table) => table.owner(),
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            Self::Memfd(_) => Owner::BUILT_IN,
        })
    }

    fn object_id(&self, _: &Linux, file: &ARef<File>) -> u64 {
        match self {
            Self::Table(table) => table.object_id(file),
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            Self::Memfd(_) => memfd::object_id(file),
        }
    }

    fn can_preserve(&self, _: &Linux, file: &ARef<File>) -> bool {
        match self {
            Self::Table(table) => table.can_preserve(file),
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            Self::Memfd(format) => memfd::can_preserve(*format, file),
        }
    }

    fn bytes(&self, _: &Linux, file: &ARef<File>) -> u64 {
        file::bytes(file)
    }

    fn preserve(&self, _linux: &Linux, file: &ARef<File>) -> Result<Preserved<Linux>, Errno> {
        let (data, private) = match self {
            Self::Table(table) => {
                let (data, private) = table.preserve(file)?;
                (data, Private::Table(private))
            }
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            Self::Memfd(format) => {
                let (data, preserved) = memfd::preserve(_linux, *format, file)?;
                (data, Private::Memfd(preserved))
            }
        };
        Ok(Preserved { data, private })
    }

    fn unpreserve(&self, _: &Linux, file: Frozen<'_, Linux>) {
        // What is written in Rust ends when the engine drops it.
        if let (Self::Table(table), Private::Table(private)) = (self, file.private) {
            table.unpreserve(file.file, file.data, private);
        }
    }

    fn freeze(&self, _linux: &Linux, file: Frozen<'_, Linux>) -> Result<u64, Errno> {
        match (self, file.private) {
            (Self::Table(table), Private::Table(private)) => {
                table.freeze(file.file, file.data, private)
            }
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            (Self::Memfd(format), Private::Memfd(preserved)) => {
                memfd::freeze(_linux, *format, preserved)?;
                Ok(file.data)
            }
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            _ => Err(Errno::EIO),
        }
    }

    fn unfreeze(&self, _: &Linux, file: Frozen<'_, Linux>) {
        if let (Self::Table(table), Private::Table(private)) = (self, file.private) {
            table.unfreeze(file.file, file.data, private);
        }
    }

    fn retrieve(&self, _linux: &Linux, data: u64) -> Result<ARef<File>, Unrestored> {
        match self {
            Self::Table(table) => Ok(table.retrieve(data)?),
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            Self::Memfd(format) => memfd::retrieve(_linux, *format, data),
        }
    }

    fn can_finish(&self, _: &Linux, file: &Incoming<'_, Linux>) -> bool {
        match self {
            Self::Table(table) => table.can_finish(file.file, file.data, file.retrieval),
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            Self::Memfd(_) => true,
        }
    }

    fn finish(&self, _linux: &Linux, file: &Incoming<'_, Linux>) {
        match self {
            Self::Table(table) => table.finish(file.file, file.data, file.retrieval),
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            Self::Memfd(format) => {
                if file.retrieval == luo_core::Retrieval::None {
                    memfd::discard(_linux, *format, file.data);
                }
            }
        }
    }
}
