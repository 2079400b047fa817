// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sockets, and whether there is something on them that nobody has read yet. A message that
//! was sent in time counts, even if luod had no time to look at it: a cancel of an administrator
//! before the jump, an answer or a claim of a workload before its deadline is judged. So all
//! is read before that.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

/// How long is read at most. One that sends without an end keeps nobody waiting.
const PATIENCE: Duration = Duration::from_millis(500);

/// The sockets of one kind of peers: those that are listened on, and the connections.
#[derive(Default)]
pub struct Unread(RefCell<Vec<Weak<dyn AsFd>>>);

impl Unread {
    /// Adds a socket, which is looked at as long as somebody has it.
    pub fn watch<T: AsFd + 'static>(&self, socket: &Rc<T>) {
        let socket: Weak<T> = Rc::downgrade(socket);
        let mut all = self.0.borrow_mut();
        // There may be thousands: they are gone through only when the list would grow.
        if all.len() == all.capacity() {
            all.retain(|known| known.strong_count() > 0);
            let rest = all.len();
            all.reserve(rest.max(16));
        }
        all.push(socket);
    }

    /// Whether there is something unread.
    fn is_there(&self) -> bool {
        let all: Vec<Rc<dyn AsFd>> = {
            let all = self.0.borrow();
            all.iter().filter_map(Weak::upgrade).collect()
        };
        let flags = PollFlags::IN;
        let fds = all.iter().map(|socket| socket.as_fd());
        let fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, flags));
        let mut fds: Vec<_> = fds.collect();
        let now = Timespec::default();
        // If this cannot be told, nothing is waited for.
        matches!(retry_on_intr(|| poll(&mut fds, Some(&now))), Ok(1..))
    }

    /// Waits until all has been read.
    pub(super) async fn is_over(&self) {
        let begun = Instant::now();
        while self.is_there() && begun.elapsed() < PATIENCE {
            // The tasks that read get their turn.
            tokio::task::yield_now().await;
        }
    }
}
