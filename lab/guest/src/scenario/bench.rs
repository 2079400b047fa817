// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much each call takes, with few and with many sessions and files.
//!
//! Figures are in ticks of the processor's counter. Where the machine counts
//! instructions, a tick is an instruction.

use std::time::Duration;

use anyhow::{Context, Result};
use luo_sys::{Device, Errno, Session, SessionName, Token, clock};

use crate::check::{name, refused};
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::{kexec, port, window};

const PAGE: u64 = 4096;

/// How long a kernel that has just booted is left alone: it still has work of
/// its own, which would be counted with the calls.
const SETTLE: Duration = Duration::from_secs(2);

/// What the kernel's clock ticks in, and how far behind a tick a measurement begins: a
/// short one shall not contain any, nor what the kernel does later for the one before.
const TICK: Duration = Duration::from_millis(10);
const BEHIND_TICK: Duration = Duration::from_micros(500);

/// Measures this side, and after the kexec the other.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let crowd = Crowd {
        sessions: guest.args.get("sessions", 100)?,
        files: guest.args.get("files", 1)?,
        warm: guest.args.get("warm", 0)?,
    };
    // A table of descriptors that grows waits for other processors; it never
    // shrinks, so one high number makes room for all.
    let all = (crowd.sessions + crowd.warm) * (crowd.files + 1);
    let high = i32::try_from(2 * all + 1000)?;
    drop(rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), high)?);
    std::thread::sleep(SETTLE);
    if guest.boot == 0 {
        before(guest, &crowd)
    } else {
        after(&crowd)
    }
}

/// Sessions and the files in each.
struct Crowd {
    sessions: u64,
    files: u64,
    /// Sessions of one file that go before those that are measured, on each side. An
    /// emulated processor translates code when it runs first, and in real time a
    /// hundred operations would measure little else.
    warm: u64,
}

impl Crowd {
    fn names(&self, kind: &str) -> Vec<SessionName> {
        let count = if kind == WARM {
            self.warm
        } else {
            self.sessions
        };
        let names = (0..count).map(|index| name(&format!("{kind}-{index:06}")));
        names.collect()
    }
}

const MEASURED: &str = "bench";
const WARM: &str = "warm";

fn before(guest: &Guest, crowd: &Crowd) -> Result<()> {
    let mut figures = Figures::new(crowd.sessions);
    let names = crowd.names(MEASURED);
    let mut files = Vec::new();
    for token in 0..crowd.sessions * crowd.files {
        files.push(fill::memfd("bench", PAGE, Prng::of(&[token]))?);
    }
    let device = Device::open()?;
    let _warm = warm_before(&device, crowd)?;
    let mut sessions = Vec::with_capacity(names.len());
    figures.each("CREATE_SESSION", crowd.sessions, || {
        for name in &names {
            sessions.push(device.create_session(name)?);
        }
        Ok(())
    })?;
    figures.each("PRESERVE_FD", crowd.sessions * crowd.files, || {
        let mut files = files.iter();
        for session in &sessions {
            for (token, file) in (0..crowd.files).zip(files.by_ref()) {
                session.preserve_fd(file, Token(token))?;
            }
        }
        Ok(())
    })?;
    figures.tell();
    // The kernel holds the files now; the descriptors only cost memory.
    drop(files);
    kexec::go(guest, |_, _| ())
}

fn after(crowd: &Crowd) -> Result<()> {
    let mut figures = Figures::new(crowd.sessions);
    let names = crowd.names(MEASURED);
    // Mainline takes the sessions over when the device is opened, ours before the first
    // call. No session has this name, so the call itself does next to nothing.
    let device = figures.each("first use", 1, || {
        let device = Device::open()?;
        refused(device.retrieve_session(&name("nobody")), Errno::ENOENT)?;
        Ok(device)
    })?;
    warm_after(&device, crowd)?;
    let mut sessions = Vec::with_capacity(names.len());
    figures.each("RETRIEVE_SESSION", crowd.sessions, || {
        for name in &names {
            sessions.push(device.retrieve_session(name)?);
        }
        Ok(())
    })?;
    let mut files = Vec::with_capacity(names.len() * usize::try_from(crowd.files)?);
    figures.each("RETRIEVE_FD", crowd.sessions * crowd.files, || {
        for session in &sessions {
            for token in 0..crowd.files {
                files.push(session.retrieve_fd(Token(token))?);
            }
        }
        Ok(())
    })?;
    // The last one may end the update as well.
    let (last, others) = sessions.split_last().context("no session")?;
    if !others.is_empty() {
        figures.each("FINISH", crowd.sessions - 1, || {
            others.iter().try_for_each(|session| Ok(session.finish()?))
        })?;
    }
    figures.each("FINISH of the last session", 1, || Ok(last.finish()?))?;
    figures.each("close of a finished session", crowd.sessions, || {
        sessions.clear();
        Ok(())
    })?;
    figures.tell();
    Ok(())
}

/// What is warm stays until the kexec: the sessions' descriptors.
fn warm_before(device: &Device, crowd: &Crowd) -> Result<Vec<Session>> {
    let mut sessions = Vec::new();
    for name in crowd.names(WARM) {
        let session = device.create_session(&name)?;
        let file = fill::memfd("warm", PAGE, Prng::of(&[]))?;
        session.preserve_fd(&file, Token(0))?;
        sessions.push(session);
    }
    Ok(sessions)
}

fn warm_after(device: &Device, crowd: &Crowd) -> Result<()> {
    for name in crowd.names(WARM) {
        let session = device.retrieve_session(&name)?;
        session.retrieve_fd(Token(0))?;
        session.finish()?;
    }
    Ok(())
}

/// Figures of one boot. They are told at its end: the host's port has interrupts, which
/// would be counted with what is measured next.
struct Figures {
    n: u64,
    taken: Vec<(&'static str, f64)>,
}

impl Figures {
    const fn new(n: u64) -> Self {
        Self {
            n,
            taken: Vec::new(),
        }
    }

    /// Counts what `body` takes, which does something `count` times.
    fn each<T>(
        &mut self,
        metric: &'static str,
        count: u64,
        body: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        quiet();
        window::open();
        let start = ticks()?;
        let done = body()?;
        let total = ticks()? - start;
        window::close();
        self.taken.push((metric, total as f64 / count as f64));
        Ok(done)
    }

    fn tell(&self) {
        for (metric, value) in &self.taken {
            port::sample(metric, self.n, *value, port::TICKS);
        }
    }
}

/// The processor's counter.
///
/// # Errors
/// It has none.
pub(super) fn ticks() -> Result<u64> {
    clock::ticks().context("this processor has no counter that programs may read")
}

/// Sleeps until the kernel has nothing else to do for a while.
pub(super) fn quiet() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let tick = TICK.as_nanos() as u64;
    let into_tick = now.tv_nsec as u64 % tick;
    // Over a whole tick at least, in which deferred work is done.
    let left = Duration::from_nanos(2 * tick - into_tick);
    std::thread::sleep(left + BEHIND_TICK);
}
