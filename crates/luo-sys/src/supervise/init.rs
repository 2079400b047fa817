// SPDX-License-Identifier: MIT OR Apache-2.0
//! The init of a supervised tree: it reaps all that is below it, and ends when nobody is left.

use std::io;
use std::os::fd::RawFd;

use super::orphans;
use super::step::{Step, message};

/// How long the init waits for news where the kernel sends none of its children.
const NEWS: libc::c_int = 100;

/// Is the init, until nobody is left.
pub(super) fn be_init(socket: RawFd, command: libc::pid_t) -> ! {
    // Its own end is the supervisor's to decide: what a terminal sends goes to the
    // others.
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGTSTP,
        libc::SIGPIPE,
    ] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    close_all_but(socket);
    let news = news_of_children();
    loop {
        reap(socket, command);
        let mut fds = [(socket, 0), (news, libc::POLLIN)].map(|(fd, events)| libc::pollfd {
            fd,
            events,
            revents: 0,
        });
        let patience = if news < 0 { NEWS } else { -1 };
        // SAFETY: the kernel writes into the two structures, which are borrowed. One of a
        // number below zero it passes over.
        unsafe { libc::poll(fds.as_mut_ptr(), 2, patience) };
        let [supervisor, children] = fds;
        // Nobody writes to this end: it says something when the other one is closed.
        if supervisor.revents != 0 {
            end_all();
        }
        if children.revents != 0 {
            let mut told = [0u8; 128];
            // SAFETY: the kernel writes as many bytes as there are, into bytes of ours.
            unsafe { libc::read(news, told.as_mut_ptr().cast(), told.len()) };
        }
    }
}

/// A descriptor that can be read when a child has ended; below zero where there can be
/// none.
fn news_of_children() -> RawFd {
    // SAFETY: the default for this signal runs no code. The set is a plain one, which the
    // first call fills, and the kernel reads.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let mut set = core::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, core::ptr::null_mut());
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    }
}

/// Waits for a child; gives 0 if it is not to wait and none has ended, and less if there is
/// none.
fn wait(status: &mut libc::c_int, flags: libc::c_int) -> libc::pid_t {
    loop {
        // SAFETY: the kernel writes one number at the pointer.
        let ended = unsafe { libc::wait4(-1, status, flags, core::ptr::null_mut()) };
        if ended >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return ended;
        }
    }
}

/// Reaps who has ended, and tells how the command did. Ends with the last of them.
fn reap(socket: RawFd, command: libc::pid_t) {
    loop {
        let mut status = 0;
        match wait(&mut status, libc::WNOHANG) {
            0 => return,
            ended if ended == command => {
                let bytes = message(Step::Ended, status);
                // SAFETY: the bytes are borrowed and as many as it says. If nobody reads
                // them, nobody wants to know.
                unsafe { libc::write(socket, bytes.as_ptr().cast(), bytes.len()) };
            }
            ended if ended < 0 => leave(),
            _ => {}
        }
    }
}

/// Kills all that is below the init, and ends with it. Whoever loses its parent by that becomes
/// the init's own child.
fn end_all() -> ! {
    // With the init the kernel kills the command at least.
    while orphans::kill_children() && wait(&mut 0, 0) >= 0 {}
    leave()
}

/// Ends this process at once, without handlers of the program that it was forked from.
fn leave() -> ! {
    // SAFETY: it takes a number, and does not return.
    unsafe { libc::_exit(0) }
}

/// Closes what the init was forked with: its pipes must end when the others close
/// them.
fn close_all_but(kept: RawFd) {
    let kept = libc::c_long::from(kept);
    for (first, last) in [(0, kept - 1), (kept + 1, libc::c_long::from(u32::MAX))] {
        if first <= last {
            // SAFETY: this process makes system calls on `kept` only from here on,
            // and nothing in it that owns a descriptor is dropped: it ends by
            // `_exit`.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}
