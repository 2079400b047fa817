// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The lines that `/proc/PID/fdinfo/FD` shows of a session's descriptor.
//!
//! ```text
//! luo-name:      vm
//! luo-direction: outgoing
//! luo-state:     open
//! luo-files:     2
//! luo-file:      token 0x1 handler memfd-v2 status preserved bytes 4096
//! luo-file:      token 0x2 handler memfd-v2 status busy bytes 0
//! ```

use core::fmt::{self, Write};

use luo_abi::contract::{
    direction_word, file_status_word, session_state_word, FileInfo, SessionInfo,
};
use luo_core::ops::{self, Page};
use luo_core::{Compat, Lock, SessionId, SessionName};

/// Shows a session and its files. A session or a file that goes meanwhile ends what is
/// shown, and so does it that the reader is killed.
///
/// # Errors
/// Those of `to`: it has no more room.
pub fn show<H: Lock>(host: &H, id: SessionId, to: &mut impl Write) -> fmt::Result {
    let session = host.now_killable(|engine| engine.describe_session(id));
    let Ok(Some(session)) = session else {
        return Ok(());
    };
    show_session(to, &session)?;
    let mut page = Page::empty();
    loop {
        match ops::list_files(host, id, page.next, ops::MAX_PAGE) {
            Ok(next) => page = next,
            Err(_) => return Ok(()),
        }
        for file in page.entries.iter() {
            show_file(to, file)?;
        }
        if page.next == 0 {
            return Ok(());
        }
    }
}

/// Names are escaped as in the log: a name must not look like a line of ours.
fn show_session(to: &mut impl Write, session: &SessionInfo) -> fmt::Result {
    if let Ok(name) = SessionName::parse(&session.name) {
        writeln!(to, "luo-name:      {name}")?;
    }
    writeln!(to, "luo-direction: {}", direction_word(session.direction))?;
    writeln!(to, "luo-state:     {}", session_state_word(session.state))?;
    writeln!(to, "luo-files:     {}", session.files)
}

fn show_file(to: &mut impl Write, file: &FileInfo) -> fmt::Result {
    write!(to, "luo-file:      token {:#x}", file.token)?;
    // A file whose handler is not found yet has none.
    if let Ok(handler) = Compat::parse(&file.handler) {
        write!(to, " handler {handler}")?;
    }
    let status = file_status_word(file.status);
    writeln!(to, " status {status} bytes {}", file.bytes)
}
