// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals of the small manager, as bytes in pipes: those that it passes on, and the one that
//! says that the agent has ended. They are made once, so that nothing that an agent's life
//! needs can fail later.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

/// How long to wait where waiting itself fails.
const PAUSE: Duration = Duration::from_millis(100);

/// The signals, each with a pipe that has a byte when it has come.
pub(super) struct Signals([(Signal, UnixStream); 4]);

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let pipe = |signal: Signal| {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal.as_raw(), theirs)?;
            Ok::<_, io::Error>((signal, ours))
        };
        Ok(Self([
            pipe(Signal::TERM)?,
            pipe(Signal::INT)?,
            pipe(Signal::HUP)?,
            pipe(Signal::CHILD)?,
        ]))
    }

    /// Those to be passed on that have come since.
    pub(super) fn come(&mut self) -> Vec<Signal> {
        let mut come = Vec::new();
        for (signal, pipe) in &mut self.0 {
            // The pipe does not block. However often a signal has come, it counts once.
            if matches!(pipe.read(&mut [0; 64]), Ok(1..)) && *signal != Signal::CHILD {
                come.push(*signal);
            }
        }
        come
    }

    /// Waits until a signal comes, one of the sockets has something, or a time is over.
    pub(super) fn wait<'a>(
        &'a self,
        sockets: impl IntoIterator<Item = PollFd<'a>>,
        time: Option<Duration>,
    ) {
        let pipes = self.0.iter();
        let pipes = pipes.map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN));
        let mut fds: Vec<_> = sockets.into_iter().chain(pipes).collect();
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        match poll(&mut fds, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // There is no memory for it. Whatever is kept must not be lost by that.
            Err(_) => std::thread::sleep(PAUSE),
        }
    }

    /// Waits until a time is over; says whether it was told to end before. HUP ends the
    /// waiting: the administrator has mended something.
    pub(super) fn ends_within(&mut self, time: Duration) -> bool {
        let begun = Instant::now();
        loop {
            let come = self.come();
            if come.iter().any(|signal| ends(*signal)) {
                return true;
            }
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() || !come.is_empty() {
                return false;
            }
            self.wait([], Some(left));
        }
    }
}

/// Whether a signal says to end.
pub(super) fn ends(signal: Signal) -> bool {
    signal != Signal::HUP
}
