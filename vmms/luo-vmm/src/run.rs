// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest runs, on a thread of its own, until it ends or is told to stand still.
//!
//! ```text
//!   Still --start--> Runs --stop--> Still      the processor and the port move along
//!     ^                |'--the guest ends--> Over      nothing starts it again
//!     '--start fails---'
//! ```
//!
//! A guest that does not stop in time runs on: nobody has lost it.
//!
//! To stop it a flag is set, and the thread gets a signal, by which `KVM_RUN` returns. The signal
//! may come right before that call and be without effect; so it is sent again until the thread has
//! ended. What the thread does at the end matters: an exit for a port is finished only by the next
//! `KVM_RUN`, and until then the registers are those of neither before nor after it. So it
//! makes that call with `immediate_exit`, which finishes the exit and runs nothing.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kvm_ioctls::VcpuExit;
use luo_monitor::exit::Ended;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::SIGUSR1;
use vmm_sys_util::signal::Killable;

use crate::exit::{self, Error};
use crate::serial::{self, Serial};
use crate::vcpu::Vcpu;

/// Between two signals to a thread that has not stopped yet.
const AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 1_000_000,
};

/// The port of the keyboard's controller, by which a PC is reset.
const KEYBOARD: u16 = 0x64;
const RESET: u8 = 0xfe;

/// The port by which a guest powers off; it is where QEMU has it.
const POWER: u16 = 0x604;
const OFF: [u8; 2] = [0x00, 0x20];

fn well(reason: &str) -> Ended {
    Ended {
        code: exit::DONE,
        reason: reason.to_owned(),
    }
}

fn panicked() -> Ended {
    Ended {
        code: exit::SYSTEM,
        reason: "its thread has panicked".to_owned(),
    }
}

/// What can be run on a thread.
pub trait Runs: Send + 'static {
    /// Runs until it ends, or until it is told to stand still.
    fn run(&mut self, is_told: &AtomicBool) -> Why;
}

/// A guest, whatever it does.
pub enum Life<G> {
    /// It stands still.
    Still(G),
    /// It runs.
    Runs(Running<G>),
    /// It has ended, and nothing brings it back.
    Over(Ended),
}

/// A guest that stands still.
pub struct Still {
    /// Its processor.
    pub vcpu: Vcpu,
    /// Its serial port.
    pub serial: Serial,
}

/// Why a guest stands still.
#[derive(Debug)]
pub enum Why {
    /// It was told to.
    Told,
    /// It has ended.
    Ended(Ended),
    /// It cannot be run on.
    Failed(Error),
}

/// A guest that runs.
pub struct Running<G> {
    /// None is what it gives if it was never given the guest.
    thread: JoinHandle<Option<(G, Why)>>,
    is_told: Arc<AtomicBool>,
    /// It has an end when the thread has.
    end: UnixStream,
}

/// Has the signal interrupt a call, and do nothing else. Once for a process.
///
/// # Errors
/// [`Error::Monitor`].
pub fn listen() -> Result<(), Error> {
    let registered = signal_hook::flag::register(SIGUSR1, Arc::default());
    registered.map(drop).map_err(Error::system("signals"))
}

impl<G: Runs> Life<G> {
    /// Lets it run. `before` is called right before it does, on its own thread, and when this
    /// returns it was: if it fails, nothing has run.
    ///
    /// # Errors
    /// Of `before`, or [`Error::Monitor`]: there is no thread to be had. The guest stands still as
    /// before. [`Error::Guest`]: it has ended.
    pub fn start(
        &mut self,
        before: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        match std::mem::replace(self, Self::Over(panicked())) {
            Self::Still(guest) => {
                let (life, done) = Running::begin(guest, before);
                *self = life;
                done
            }
            Self::Over(ended) => {
                let why = Error::Guest(ended.reason.clone());
                *self = Self::Over(ended);
                Err(why)
            }
            // It was told to stop, and did not in time.
            running @ Self::Runs(_) => {
                *self = running;
                Ok(())
            }
        }
    }

    /// Has it stand still, if it runs. It may turn out to have ended.
    ///
    /// # Errors
    /// [`Error::Guest`]: it does not stop in that time. It runs on.
    pub fn stop(&mut self, within: Duration) -> Result<(), Error> {
        let running = match std::mem::replace(self, Self::Over(panicked())) {
            Self::Runs(running) => running,
            other => {
                *self = other;
                return Ok(());
            }
        };
        *self = match running.stop(within) {
            Stopped::Late(running) => {
                *self = Self::Runs(running);
                return Err(Error::Guest("its processor does not stop".into()));
            }
            Stopped::Done(guest, Why::Told) => Self::Still(guest),
            Stopped::Done(_, Why::Ended(ended)) => Self::Over(ended),
            Stopped::Done(_, Why::Failed(why)) => Self::Over(Ended {
                code: why.code(),
                reason: why.to_string(),
            }),
            Stopped::Panicked => Self::Over(panicked()),
        };
        Ok(())
    }
}

impl Runs for Still {
    fn run(&mut self, is_told: &AtomicBool) -> Why {
        loop {
            let told = is_told.load(Ordering::Acquire);
            self.vcpu.set_immediate_exit(told);
            let Self { vcpu, serial } = self;
            let done = match vcpu.run() {
                Ok(exit) => serve(exit, serial),
                Err(why) => match std::io::Error::from_raw_os_error(why.errno()).kind() {
                    ErrorKind::Interrupted if told => {
                        self.vcpu.set_immediate_exit(false);
                        return Why::Told;
                    }
                    ErrorKind::Interrupted | ErrorKind::WouldBlock => Ok(None),
                    _ => Err(Error::kvm("KVM_RUN")(why)),
                },
            };
            match done {
                Ok(None) => {}
                Ok(Some(ended)) => return Why::Ended(ended),
                Err(why) => return Why::Failed(why),
            }
        }
    }
}

/// Does for the guest what it has asked for; says whether that was its end.
fn serve(exit: VcpuExit<'_>, serial: &mut Serial) -> Result<Option<Ended>, Error> {
    match exit {
        VcpuExit::IoOut(port, data) if serial::PORTS.contains(&port) => serial.write(port, data)?,
        VcpuExit::IoIn(port, data) if serial::PORTS.contains(&port) => serial.read(port, data),
        VcpuExit::IoOut(KEYBOARD, [RESET]) => return Ok(Some(well("the guest was reset"))),
        // Ready for a command.
        VcpuExit::IoIn(KEYBOARD, data) => data.fill(0),
        VcpuExit::IoOut(POWER, data) if data == OFF => {
            return Ok(Some(well("the guest was shut down")));
        }
        // There is nothing at other ports and addresses.
        VcpuExit::IoIn(_, data) | VcpuExit::MmioRead(_, data) => data.fill(0xff),
        VcpuExit::IoOut(..) | VcpuExit::MmioWrite(..) | VcpuExit::Intr | VcpuExit::Hlt => {}
        VcpuExit::Shutdown => {
            return Ok(Some(Ended {
                code: exit::GUEST,
                reason: "the guest's processor has shut down: three faults in a row".into(),
            }));
        }
        other => {
            return Err(Error::Guest(format!(
                "an exit that is not known: {other:?}"
            )));
        }
    }
    Ok(None)
}

/// What has come of a guest that was told to stand still.
enum Stopped<G> {
    Done(G, Why),
    Late(Running<G>),
    Panicked,
}

impl<G: Runs> Running<G> {
    fn begin(
        guest: G,
        before: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> (Life<G>, Result<(), Error>) {
        let (end, held) = match UnixStream::pair() {
            Ok(pair) => pair,
            Err(why) => return (Life::Still(guest), Err(Error::system("a socket")(why))),
        };
        let is_told = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_told);
        // It gets the guest when it is there, for what a thread has that is not there is lost.
        let (give, take) = mpsc::channel::<G>();
        let (say, hear) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("vcpu0".into());
        let thread = thread.spawn(move || {
            let mut guest = take.recv().ok()?;
            let why = match before() {
                Ok(()) => {
                    // Whoever has started it waits for this.
                    let _ = say.send(());
                    guest.run(&told)
                }
                Err(why) => {
                    drop(say);
                    Why::Failed(why)
                }
            };
            drop(held);
            Some((guest, why))
        });
        let thread = match thread {
            Ok(thread) => thread,
            Err(why) => return (Life::Still(guest), Err(Error::system("a thread")(why))),
        };
        if let Err(mpsc::SendError(guest)) = give.send(guest) {
            let why = Error::Guest(panicked().reason);
            return (Life::Still(guest), Err(why));
        }
        if hear.recv().is_ok() {
            let running = Self {
                thread,
                is_told,
                end,
            };
            return (Life::Runs(running), Ok(()));
        }
        match thread.join() {
            Ok(Some((guest, Why::Failed(why)))) => (Life::Still(guest), Err(why)),
            _ => {
                let ended = panicked();
                let why = Error::Guest(ended.reason.clone());
                (Life::Over(ended), Err(why))
            }
        }
    }

    /// Can be read when the guest has ended.
    #[must_use]
    pub fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Whether the guest has ended by itself, or stands still after all.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    fn stop(self, within: Duration) -> Stopped<G> {
        self.is_told.store(true, Ordering::Release);
        let late = Instant::now() + within;
        while !self.thread.is_finished() {
            // A thread that has ended takes no signal, which is as well.
            let _ = self.thread.kill(SIGUSR1);
            let mut fds = [PollFd::new(&self.end, PollFlags::IN)];
            // Whatever comes of it, the thread is looked at.
            let _ = poll(&mut fds, Some(&AGAIN));
            if Instant::now() > late {
                // It may have heard it at this very moment: then it stands still, which is seen.
                self.is_told.store(false, Ordering::Release);
                return Stopped::Late(self);
            }
        }
        match self.thread.join() {
            Ok(Some((guest, why))) => Stopped::Done(guest, why),
            Ok(None) | Err(_) => Stopped::Panicked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that does what it is told: it ends so, when it hears that it is to stand still; or
    /// at once.
    struct Fake {
        end: Option<fn() -> Why>,
        /// It listens once there is something to be heard here.
        listens: Option<mpsc::Receiver<()>>,
        runs: u32,
    }

    const LONG: Duration = Duration::from_secs(20);

    fn fake(end: Option<fn() -> Why>) -> Fake {
        Fake {
            end,
            listens: None,
            runs: 0,
        }
    }

    impl Runs for Fake {
        fn run(&mut self, is_told: &AtomicBool) -> Why {
            self.runs += 1;
            if let Some(end) = self.end {
                return end();
            }
            if let Some(listens) = self.listens.take() {
                listens.recv().unwrap();
            }
            while !is_told.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            Why::Told
        }
    }

    fn started(guest: Fake) -> Life<Fake> {
        listen().unwrap();
        let mut life = Life::Still(guest);
        life.start(|| Ok(())).unwrap();
        life
    }

    fn running(life: &Life<Fake>) -> &Running<Fake> {
        match life {
            Life::Runs(running) => running,
            _ => panic!("it does not run"),
        }
    }

    #[test]
    fn a_guest_stands_still_and_goes_on() {
        let mut life = started(fake(None));
        life.stop(LONG).unwrap();
        life.start(|| Ok(())).unwrap();
        life.stop(LONG).unwrap();
        assert!(matches!(life, Life::Still(Fake { runs: 2, .. })));
    }

    #[test]
    fn a_guest_that_has_ended_is_not_started_again() {
        let ends: [fn() -> Why; 2] = [
            || Why::Ended(well("the guest was shut down")),
            || Why::Failed(Error::Guest("an exit".into())),
        ];
        for (end, code) in ends.into_iter().zip([exit::DONE, exit::GUEST]) {
            let mut life = started(fake(Some(end)));
            // Whether it is told before its end or after it.
            life.stop(LONG).unwrap();
            assert!(life.start(|| Ok(())).is_err());
            assert!(matches!(&life, Life::Over(ended) if ended.code == code));
        }
    }

    #[test]
    fn a_guest_that_does_not_stop_in_time_runs_on_and_can_be_stopped_later() {
        let (wake, listens) = mpsc::channel();
        let listens = Some(listens);
        let mut life = started(Fake {
            listens,
            ..fake(None)
        });
        assert!(life.stop(Duration::ZERO).is_err());
        // It is started as by whoever calls an update off, and that is no mistake.
        life.start(|| Ok(())).unwrap();
        assert!(!running(&life).has_ended());
        wake.send(()).unwrap();
        // What it was told before has no effect any more.
        std::thread::yield_now();
        assert!(!running(&life).has_ended());
        life.stop(LONG).unwrap();
        assert!(matches!(life, Life::Still(Fake { runs: 1, .. })));
    }

    #[test]
    fn what_is_done_before_a_guest_runs_is_done_and_if_it_fails_nothing_has_run() {
        let mut life = Life::Still(fake(None));
        let why = life.start(|| Err(Error::Guest("no".into())));
        assert!(matches!(why, Err(Error::Guest(why)) if why == "no"));
        assert!(matches!(life, Life::Still(Fake { runs: 0, .. })));
        let done = Arc::new(AtomicBool::new(false));
        let its = Arc::clone(&done);
        life.start(move || {
            its.store(true, Ordering::Release);
            Ok(())
        })
        .unwrap();
        assert!(done.load(Ordering::Acquire));
        listen().unwrap();
        life.stop(LONG).unwrap();
        assert!(matches!(life, Life::Still(Fake { runs: 1, .. })));
    }
}
