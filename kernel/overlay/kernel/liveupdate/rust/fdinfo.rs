// SPDX-License-Identifier: GPL-2.0-only
//! What `/proc/PID/fdinfo/FD` shows of a session's descriptor.
//!
//! ```text
//! luo-name:      vm
//! luo-direction: outgoing
//! luo-state:     open
//! luo-files:     2
//! luo-file:      token 0x1 handler memfd-v2 status preserved bytes 4096
//! luo-file:      token 0x2 handler memfd-v2 status busy bytes 0
//! ```

use kernel::prelude::*;
use luo_abi::contract::{
    direction_word, file_status_word, session_state_word, FileInfo, SessionInfo,
};
use luo_core::{Compat, SessionName};

use crate::say::Say;
use crate::sys::seq::Text;

/// Shows a session and its files. `next_file` gives them one after the other.
///
/// Names are escaped as in the log: a name must not look like a line of ours.
pub(crate) fn show(
    to: &Text<'_>,
    session: &SessionInfo,
    mut next_file: impl FnMut() -> Option<FileInfo>,
) {
    if let Ok(name) = SessionName::parse(&session.name) {
        to.write(fmt!("luo-name:      {}\n", Say(name)));
    }
    to.write(fmt!(
        "luo-direction: {}\nluo-state:     {}\nluo-files:     {}\n",
        direction_word(session.direction),
        session_state_word(session.state),
        session.files
    ));
    while !to.is_full() {
        let Some(file) = next_file() else {
            break;
        };
        show_file(to, &file);
    }
}

fn show_file(to: &Text<'_>, file: &FileInfo) {
    to.write(fmt!("luo-file:      token {:#x}", file.token));
    // A file whose handler is not found yet has none.
    if let Ok(handler) = Compat::parse(&file.handler) {
        to.write(fmt!(" handler {}", Say(handler)));
    }
    to.write(fmt!(
        " status {} bytes {}\n",
        file_status_word(file.status),
        file.bytes
    ));
}
