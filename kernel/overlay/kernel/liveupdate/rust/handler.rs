// SPDX-License-Identifier: GPL-2.0-only
//! File handlers as the engine calls them: tables of callbacks in C, and what is written
//! in Rust ([`crate::handlers`]).

use core::any::Any;

use kernel::prelude::*;
use luo_abi::errno::Errno;
use luo_core::{AnyKind, FileCallbacks, Incoming, Keeps, Outgoing, Preserved, Subject, Unrestored};

use crate::host::Linux;
use crate::sys::account;
use crate::sys::file;
use crate::sys::handler_table::{HandlerTable, PrivateData};
use crate::sys::lent::Lent;
use crate::sys::memory;
use crate::sys::module::{ModulePin, Owner};

/// A file handler.
#[derive(Clone)]
pub(crate) enum Handler {
    /// One that is written in C.
    Table(HandlerTable),
    /// One that is written in Rust, with the owner of its code.
    Kind(&'static dyn AnyKind<Linux>, Owner),
}

impl PartialEq for Handler {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Table(one), Self::Table(other)) => one == other,
            // No two that are registered have one name.
            (Self::Kind(one, _), Self::Kind(other, _)) => one.compatible() == other.compatible(),
            _ => false,
        }
    }
}

impl Handler {
    fn owner(&self) -> Owner {
        match self {
            Self::Table(table) => table.owner(),
            Self::Kind(_, owner) => *owner,
        }
    }
}

/// The part of a preserved file that a handler keeps in this kernel.
pub(crate) enum Private {
    /// Of one that is written in C: a pointer of its own.
    Table(PrivateData),
    /// Of one that is written in Rust: a value of its own.
    Kind(KBox<dyn Any + Send>),
}

impl Keeps for Linux {
    fn keep<T: Send + 'static>(value: T) -> Result<Private, Errno> {
        let value = KBox::new(value, memory::flags()).map_err(|_| Errno::ENOMEM)?;
        Ok(Private::Kind(value))
    }

    fn kept<T: 'static>(private: &mut Private) -> Option<&mut T> {
        match private {
            Private::Table(_) => None,
            Private::Kind(value) => (**value).downcast_mut(),
        }
    }
}

impl FileCallbacks<Linux> for Handler {
    fn pin(&self, _: &Linux) -> Option<ModulePin> {
        ModulePin::new(self.owner())
    }

    fn is_ready(&self, _: &Linux) -> bool {
        self.owner().is_ready()
    }

    fn object_id(&self, linux: &Linux, file: &Lent) -> u64 {
        match self {
            Self::Table(table) => table.object_id(file),
            Self::Kind(kind, _) => kind.object_id(linux, file),
        }
    }

    fn can_preserve(&self, linux: &Linux, file: &Lent) -> bool {
        match self {
            Self::Table(table) => table.can_preserve(file),
            Self::Kind(kind, _) => kind.knows(linux, file),
        }
    }

    fn bytes(&self, linux: &Linux, file: &Lent) -> u64 {
        match self {
            Self::Table(_) => file::bytes(file),
            Self::Kind(kind, _) => kind.bytes(linux, file),
        }
    }

    fn preserve(
        &self,
        linux: &Linux,
        of: &Subject,
        file: &Lent,
    ) -> Result<Preserved<Linux>, Errno> {
        // A file that an event preserves, or that a cancel preserves again, is not its caller's.
        account::of_machine_if(!of.is_in_call(), || match self {
            Self::Table(table) => {
                let (data, private) = table.preserve(of, file)?;
                let private = Private::Table(private);
                Ok(Preserved { data, private })
            }
            Self::Kind(kind, _) => kind.preserve(linux, of, file),
        })
    }

    fn unpreserve(&self, linux: &Linux, file: Outgoing<'_, Linux>) {
        match (self, file) {
            (Self::Kind(kind, _), file) => kind.unpreserve(linux, &file),
            (
                Self::Table(table),
                Outgoing {
                    file,
                    data,
                    private,
                    ..
                },
            ) => {
                if let Private::Table(private) = private {
                    table.unpreserve(file, data, private);
                }
            }
        }
    }

    fn freeze(&self, linux: &Linux, file: Outgoing<'_, Linux>) -> Result<u64, Errno> {
        let data = file.data;
        // The freeze of all is for all, so its caller is not charged for pages that others have
        // written to their files since. Who freezes a session of its own pays for that.
        account::of_machine_if(!file.in_call, || match (self, file) {
            (Self::Kind(kind, _), file) => kind.freeze(linux, file).map(|()| data),
            (Self::Table(table), Outgoing { file, private, .. }) => match private {
                Private::Table(private) => table.freeze(file, data, private),
                Private::Kind(_) => Err(Errno::EIO),
            },
        })
    }

    fn unfreeze(&self, linux: &Linux, file: Outgoing<'_, Linux>) {
        match (self, file) {
            (Self::Kind(kind, _), file) => kind.unfreeze(linux, file),
            (
                Self::Table(table),
                Outgoing {
                    file,
                    data,
                    private,
                    ..
                },
            ) => {
                if let Private::Table(private) = private {
                    table.unfreeze(file, data, private);
                }
            }
        }
    }

    fn lose(&self, linux: &Linux, file: Outgoing<'_, Linux>) {
        match self {
            // What handlers in C tell the next kernel is behind their handles.
            Self::Table(_) => {}
            Self::Kind(kind, _) => kind.lose(linux, file),
        }
    }

    fn retrieve(&self, linux: &Linux, of: &Subject, data: u64) -> Result<Lent, Unrestored> {
        match self {
            Self::Table(table) => Ok(table.retrieve(of, data)?.into()),
            Self::Kind(kind, _) => kind.retrieve(linux, of, data),
        }
    }

    fn can_finish(&self, linux: &Linux, file: &Incoming<'_, Linux>) -> bool {
        match self {
            Self::Table(table) => {
                table.can_finish(file.file.map(|file| &**file), file.data, file.retrieval)
            }
            Self::Kind(kind, _) => kind.can_finish(linux),
        }
    }

    fn finish(&self, linux: &Linux, file: &Incoming<'_, Linux>) {
        let finish = || match self {
            Self::Table(table) => {
                table.finish(file.file.map(|file| &**file), file.data, file.retrieval);
            }
            Self::Kind(kind, _) => kind.finish(linux, file),
        };
        match file.file {
            Some(_) => finish(),
            // Memory that nobody has taken back is let go of. To find it takes room for a moment,
            // which must not fail because the group of whoever ends the session is full.
            None => account::of_machine(finish),
        }
    }
}
