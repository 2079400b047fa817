// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of supervised programs that the simulator has open, too.

use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustix::fs::FileType;

/// An open file of a supervised program.
///
/// Whoever closes the last descriptor of a pipe's end waits for who has the pipe locked. So a
/// thread of its own does that, which stays behind if it takes too long.
#[derive(Debug)]
pub(crate) struct Descriptor(Option<OwnedFd>);

/// One that several have.
pub(crate) type File = Arc<Descriptor>;

/// How long is waited for the thread: who looks for the end of a pipe next finds it.
const PATIENCE: Duration = Duration::from_millis(100);

impl From<OwnedFd> for Descriptor {
    fn from(file: OwnedFd) -> Self {
        Self(Some(file))
    }
}

impl Deref for Descriptor {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        self.0.as_ref().expect("it is there until it goes")
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let Some(file) = self.0.take() else {
            return;
        };
        let stat = rustix::fs::fstat(&file);
        if stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo) {
            let (tell, told) = mpsc::channel();
            // Where there can be no thread it is closed at once, by this one.
            let closes = thread::Builder::new().spawn(move || {
                drop(file);
                let _ = tell.send(());
            });
            drop(closes);
            let _ = told.recv_timeout(PATIENCE);
        }
    }
}
