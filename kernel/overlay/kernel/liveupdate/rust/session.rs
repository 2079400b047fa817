// SPDX-License-Identifier: GPL-2.0-only
//! A session's descriptor: its calls, what procfs shows of it, its close.

use core::fmt::{self, Write};

use kernel::prelude::*;
use luo_core::SessionId;

use crate::errno;
use crate::host::{linux, somebody_comes};
use crate::program::Program;
use crate::say::Say;
use crate::sys::seq::Text;

/// An ioctl on a session's descriptor.
pub(crate) fn ioctl(id: SessionId, command: u32, argument: usize) -> Result {
    let linux = linux().ok_or(ENODEV)?;
    somebody_comes();
    let done = luo_calls::on_session(linux, &Program, id, command, argument as u64);
    done.map_err(errno::to_kernel)
}

/// The last close of a session's descriptor.
pub(crate) fn release(id: SessionId) {
    if let Some(linux) = linux() {
        somebody_comes();
        luo_calls::close_session(linux, id);
    }
}

/// The lines that procfs shows of a session's descriptor.
pub(crate) fn show(id: SessionId, to: &Text<'_>) {
    if let Some(linux) = linux() {
        somebody_comes();
        // If the room is full, the kernel asks again with more.
        let _ = luo_calls::fdinfo::show(linux, id, &mut Room(to));
    }
}

/// A text of the kernel's that ends when its room is full.
struct Room<'a, 'b>(&'a Text<'b>);

impl Write for Room<'_, '_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.0.is_full() {
            return Err(fmt::Error);
        }
        self.0.write(fmt!("{}", Say(part)));
        Ok(())
    }
}
