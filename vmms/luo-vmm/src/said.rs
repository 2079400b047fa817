// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest says, on its way out. It goes by a buffer with an end to a thread of its own, so
//! that a terminal that stands still holds no processor up, and a full disk ends no guest: what
//! cannot be written is lost, and counted. The first loss can be waited for, to be told at once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Bytes that wait at most.
pub const ROOM: usize = 64 << 10;

/// What a guest says.
pub struct Said {
    shared: Arc<Shared>,
    news: UnixStream,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Takes a byte at the first loss.
    news: UnixStream,
}

#[derive(Default)]
struct State {
    /// What waits to be written.
    waits: Vec<u8>,
    /// The thread has more, which it is about to write.
    is_busy: bool,
    /// Bytes that are lost, since that was told last.
    lost: usize,
    /// Something was lost before.
    has_lost: bool,
    /// Why the last of them could not be written.
    why: Option<Errno>,
    /// There is no more to come.
    is_over: bool,
}

impl Said {
    /// Goes to a file, a terminal or a pipe.
    ///
    /// # Errors
    /// There is no thread or no socket to be had.
    pub fn new(out: File) -> io::Result<Self> {
        let (news, tell) = UnixStream::pair()?;
        news.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            news: tell,
        });
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("serial".into());
        thread.spawn(move || its.write(&out))?;
        Ok(Self { shared, news })
    }

    /// Can be read when something was lost for the first time.
    #[must_use]
    pub fn news(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }

    /// Whether that is so, once.
    #[must_use]
    pub fn has_news(&self) -> bool {
        (&self.news).read(&mut [0]).is_ok_and(|bytes| bytes > 0)
    }

    /// Waits until all of it is written, up to a moment.
    pub fn settle(&self, within: Duration) {
        let end = Instant::now() + within;
        let mut state = self.shared.lock();
        while state.is_busy || !state.waits.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What was lost since this was asked last, in words.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        let mut state = self.shared.lock();
        let lost = std::mem::take(&mut state.lost);
        let why = match state.why.take() {
            Some(why) => io::Error::from(why).to_string(),
            None => "nobody takes them".to_owned(),
        };
        (lost > 0).then(|| format!("{lost} bytes of what the guest said are lost: {why}"))
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

/// The side of the serial port: it never waits, and never fails.
pub struct Mouth(pub Arc<Said>);

impl Write for Mouth {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let shared = &self.0.shared;
        let mut state = shared.lock();
        let room = ROOM.saturating_sub(state.waits.len()).min(bytes.len());
        let (fits, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        state.waits.extend(fits);
        shared.lose(&mut state, rest.len());
        drop(state);
        shared.changed.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, state: &mut State, bytes: usize) {
        state.lost = state.lost.saturating_add(bytes);
        if bytes > 0 && !std::mem::replace(&mut state.has_lost, true) {
            // Nobody waits for it any more if it cannot be told.
            let _ = (&self.news).write(&[0]);
        }
    }

    /// What the thread does.
    fn write(&self, out: &File) {
        while let Some(bytes) = self.next() {
            let (written, why) = write(out, &bytes);
            let mut state = self.lock();
            state.is_busy = false;
            state.why = why.or(state.why);
            self.lose(&mut state, bytes.len().saturating_sub(written));
            drop(state);
            self.changed.notify_all();
        }
    }

    /// What is to be written next; `None` if there is no more to come.
    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        while state.waits.is_empty() {
            if state.is_over {
                return None;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.is_busy = true;
        Some(std::mem::take(&mut state.waits))
    }
}

/// Writes as much as can be; gives how much that is, and why it is not more.
fn write(out: &File, bytes: &[u8]) -> (usize, Option<Errno>) {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::write(out, rest) {
            Ok(0) => return (done, Some(Errno::IO)),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            // Somebody else has the terminal in this mode.
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(out, PollFlags::OUT)];
                // Whatever comes of it, it is tried again.
                let _ = poll(&mut fds, None);
            }
            Err(why) => return (done, Some(why)),
        }
    }
    (done, None)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn said(out: File) -> (Arc<Said>, Mouth) {
        let said = Arc::new(Said::new(out).unwrap());
        let mouth = Mouth(Arc::clone(&said));
        (said, mouth)
    }

    #[test]
    fn all_of_it_is_written_in_its_order() {
        let file = tempfile::tempfile().unwrap();
        let (said, mut mouth) = said(file.try_clone().unwrap());
        for _ in 0..1000 {
            mouth.write_all(b"tick\n").unwrap();
        }
        said.settle(LONG);
        assert_eq!(said.lost(), None);
        let mut bytes = vec![0; 5000];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
        assert_eq!(bytes, b"tick\n".repeat(1000));
    }

    #[test]
    fn a_reader_that_stands_still_holds_nobody_up_and_gets_what_there_was_room_for() {
        let (mut read, write) = std::io::pipe().unwrap();
        let (said, mut mouth) = said(File::from(OwnedFd::from(write)));
        // More than a pipe and the buffer take.
        let piece = [b'x'; 4096];
        let pieces = 1000;
        for _ in 0..pieces {
            mouth.write_all(&piece).unwrap();
        }
        // It would never be done.
        said.settle(Duration::from_millis(1));
        let words = said.lost().unwrap();
        let lost: usize = words.split(' ').next().unwrap().parse().unwrap();
        assert!(words.contains("nobody takes them"), "{words}");
        assert_eq!(said.lost(), None, "it is told once");
        drop((said, mouth));
        let mut got = Vec::new();
        read.read_to_end(&mut got).unwrap();
        assert_eq!(got.len() + lost, pieces * piece.len());
    }

    #[test]
    fn a_full_disk_is_told_and_ends_nothing() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (said, mut mouth) = said(full);
        mouth.write_all(b"lost").unwrap();
        said.settle(LONG);
        assert!(said.has_news() && !said.has_news());
        let words = said.lost().unwrap();
        assert!(words.starts_with("4 bytes "), "{words}");
        assert!(words.contains("No space left"), "{words}");
        // The next is tried again.
        mouth.write_all(b"lost").unwrap();
        said.settle(LONG);
        assert!(!said.has_news() && said.lost().is_some());
    }
}
