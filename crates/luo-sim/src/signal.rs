// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making a descriptor of a program readable, as the device is when the state has
//! changed, and taking that back.
//!
//! The descriptor is one end of a socket pair. A byte beside the stream (`MSG_OOB`)
//! gives `POLLPRI` with `POLLIN`, as the device does; where the kernel lacks that, a
//! plain byte gives `POLLIN`.

use std::os::fd::OwnedFd;

use rustix::net::{RecvFlags, SendFlags};

/// Makes the other end readable.
pub(crate) fn ring(ours: &OwnedFd) {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if rustix::net::send(ours, b"!", flags | SendFlags::OOB).is_err() {
        // A program that has closed the other end does not want to know.
        let _ = rustix::net::send(ours, b"!", flags);
    }
}

/// Takes away what makes it readable.
pub(crate) fn quiet(theirs: &OwnedFd) {
    let mut byte = [0; 8];
    let _ = rustix::net::recv(theirs, &mut byte[..1], RecvFlags::DONTWAIT | RecvFlags::OOB);
    while rustix::net::recv(theirs, &mut byte, RecvFlags::DONTWAIT).is_ok_and(|(got, _)| got > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn events(fd: &OwnedFd) -> PollFlags {
        let mut fds = [PollFd::new(fd, PollFlags::IN | PollFlags::PRI)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&now)).unwrap();
        fds[0].revents()
    }

    #[test]
    fn a_ring_is_seen_until_it_is_quiet() {
        let (ours, theirs) = crate::socket::pair().unwrap();
        for _ in 0..3 {
            assert_eq!(events(&theirs), PollFlags::empty());
            ring(&ours);
            assert!(events(&theirs).contains(PollFlags::IN));
            quiet(&theirs);
        }
        assert_eq!(events(&theirs), PollFlags::empty());
    }
}
