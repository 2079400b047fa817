// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest runs, each of its processors on a thread of its own, until it ends or is told to stand
//! still.
//!
//! ```text
//!   Still --start--> Runs --stop--> Still      the processors and the port move along
//!     ^                |'--the guest ends--> Over      nothing starts it again
//!     '--start fails---'
//! ```
//!
//! A guest that does not stop in time runs on: nobody has lost it. Those of its processors that did
//! stop are started again once the others do.
//!
//! To stop it a flag is set, and each thread gets a signal, by which `KVM_RUN` returns. The signal
//! may come right before that call and be without effect; so it is sent again until the thread has
//! ended. What the thread does at the end matters: an exit for a port is finished only by the next
//! `KVM_RUN`, and until then the registers are those of neither before nor after it. So it
//! makes that call with `immediate_exit`, which finishes the exit and runs nothing.

use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kvm_ioctls::VcpuExit;
use luo_monitor::exit::Ended;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::SIGUSR1;
use vmm_sys_util::signal::Killable;

use crate::doorbell::{self, Heard};
use crate::exit::{self, Error};
use crate::serial::{self, Serial};
use crate::vcpu::Vcpu;

/// Between two signals to a thread that has not stopped yet.
const AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 1_000_000,
};

/// Between two steps into memory that is frozen.
const THAW: Duration = Duration::from_millis(1);

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

/// A processor, or what can be run on a thread in place of one.
pub trait Runs: Send + 'static {
    /// Runs until it ends, or until it is told to stand still.
    fn run(&mut self, is_told: &AtomicBool) -> Why;
}

/// A guest, whatever it does: its processors.
pub enum Life<G> {
    /// It stands still.
    Still(Vec<G>),
    /// It runs.
    Runs(Running<G>),
    /// It has ended, and nothing brings it back.
    Over(Ended),
}

/// A processor of a guest that stands still.
pub struct Still {
    /// The processor.
    pub vcpu: Vcpu,
    /// The guest's serial port, which all its processors have.
    pub serial: Arc<Mutex<Serial>>,
    /// What it reads of its doorbell, if it has one.
    pub heard: Option<Heard>,
}

/// Why a processor stands still.
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
    threads: Vec<Thread<G>>,
    is_told: Arc<AtomicBool>,
    /// It can be read once one of the threads has ended.
    end: UnixStream,
}

/// A processor's thread. None is what it gives if it was never given the processor.
type Thread<G> = JoinHandle<Option<(G, Why)>>;

/// Has the signal interrupt a call, and do nothing else. Once for a process.
///
/// # Errors
/// [`Error::Monitor`].
pub fn listen() -> Result<(), Error> {
    let registered = signal_hook::flag::register(SIGUSR1, Arc::default());
    registered.map(drop).map_err(Error::system("signals"))
}

impl<G: Runs> Life<G> {
    /// Lets it run. `before` is called right before it does, on the thread of its first processor, and
    /// when this returns it was: if it fails, nothing has run.
    ///
    /// # Errors
    /// Of `before`, or [`Error::Monitor`]: there is no thread to be had. The guest stands still as
    /// before. [`Error::Guest`]: it has ended.
    pub fn start(
        &mut self,
        before: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        match std::mem::replace(self, Self::Over(panicked())) {
            Self::Still(processors) => {
                let (life, done) = Running::begin(processors, before);
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
                return Err(Error::Guest("a processor does not stop".into()));
            }
            Stopped::Still(processors) => Self::Still(processors),
            Stopped::Over(ended) => Self::Over(ended),
        };
        Ok(())
    }
}

impl Runs for Still {
    fn run(&mut self, is_told: &AtomicBool) -> Why {
        loop {
            let told = is_told.load(Ordering::Acquire);
            self.vcpu.set_immediate_exit(told);
            let Self {
                vcpu,
                serial,
                heard,
            } = self;
            let done = match vcpu.run() {
                Ok(exit) => serve(exit, serial, heard.as_ref()),
                Err(why) => match std::io::Error::from_raw_os_error(why.errno()).kind() {
                    ErrorKind::Interrupted if told => {
                        self.vcpu.set_immediate_exit(false);
                        return Why::Told;
                    }
                    ErrorKind::Interrupted | ErrorKind::WouldBlock => Ok(None),
                    // It has touched a hole in memory that is frozen still, of an update that is
                    // called off. Nobody tells when the kernel has let go of it.
                    ErrorKind::ResourceBusy => {
                        std::thread::park_timeout(THAW);
                        Ok(None)
                    }
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
fn serve(
    exit: VcpuExit<'_>,
    serial: &Mutex<Serial>,
    heard: Option<&Heard>,
) -> Result<Option<Ended>, Error> {
    let serial = || serial.lock().unwrap_or_else(PoisonError::into_inner);
    match exit {
        VcpuExit::IoOut(port, data) if serial::PORTS.contains(&port) => {
            serial().write(port, data)?;
        }
        VcpuExit::IoIn(port, data) if serial::PORTS.contains(&port) => serial().read(port, data),
        VcpuExit::IoIn(doorbell::PORT, data) => match heard {
            Some(heard) => heard.read(data),
            None => data.fill(0xff),
        },
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
    Still(Vec<G>),
    Over(Ended),
    Late(Running<G>),
}

impl<G: Runs> Running<G> {
    fn begin(
        processors: Vec<G>,
        before: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> (Life<G>, Result<(), Error>) {
        let is_told = Arc::new(AtomicBool::new(false));
        // Each gets its processor when all are there, for what a thread has that is not there is lost.
        let made = threads(processors.len(), &is_told, before);
        let Made {
            threads,
            places,
            begun,
            end,
        } = match made {
            Ok(made) => made,
            Err(why) => return (Life::Still(processors), Err(why)),
        };
        let mut processors = processors.into_iter();
        let mut places = places.into_iter();
        // The others wait until what is to be done before is done.
        let first = processors.next().zip(places.next());
        let is_given = first.is_some_and(|(first, place)| place.send(first).is_ok());
        if is_given && begun.recv().is_ok() {
            let given = processors
                .zip(places)
                .all(|(one, place)| place.send(one).is_ok());
            if !given {
                is_told.store(true, Ordering::Release);
                let ended = panicked();
                let why = Error::Guest(ended.reason.clone());
                return (Life::Over(ended), Err(why));
            }
            let running = Self {
                threads,
                is_told,
                end,
            };
            return (Life::Runs(running), Ok(()));
        }
        // Those that were given nothing end.
        drop(places);
        let mut threads = threads.into_iter();
        let first = threads.next().map(JoinHandle::join);
        match first {
            Some(Ok(Some((first, Why::Failed(why))))) => {
                let all = std::iter::once(first).chain(processors).collect();
                (Life::Still(all), Err(why))
            }
            _ => {
                let ended = panicked();
                let why = Error::Guest(ended.reason.clone());
                (Life::Over(ended), Err(why))
            }
        }
    }

    /// Can be read when the guest, or a processor of it, has ended.
    #[must_use]
    pub fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Whether the guest has ended by itself, or stands still after all, or a processor of it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    fn stop(self, within: Duration) -> Stopped<G> {
        self.is_told.store(true, Ordering::Release);
        let late = Instant::now() + within;
        while !self.threads.iter().all(JoinHandle::is_finished) {
            for thread in &self.threads {
                // A thread that has ended takes no signal, which is as well.
                let _ = thread.kill(SIGUSR1);
            }
            self.wait_a_moment();
            if Instant::now() > late {
                // It may have heard it at this very moment: then it stands still, which is seen.
                self.is_told.store(false, Ordering::Release);
                return Stopped::Late(self);
            }
        }
        let mut processors = Vec::new();
        let mut over = None;
        for thread in self.threads {
            let ended = match thread.join() {
                Ok(Some((processor, Why::Told))) => {
                    processors.push(processor);
                    continue;
                }
                Ok(Some((_, Why::Ended(ended)))) => ended,
                Ok(Some((_, Why::Failed(why)))) => Ended {
                    code: why.code(),
                    reason: why.to_string(),
                },
                Ok(None) | Err(_) => panicked(),
            };
            // Of several the first is as good as any.
            over.get_or_insert(ended);
        }
        over.map_or(Stopped::Still(processors), Stopped::Over)
    }

    /// Waits until the first thread ends, and for a millisecond at most.
    fn wait_a_moment(&self) {
        let mut end = [PollFd::new(&self.end, PollFlags::IN)];
        // Once one has ended this can be read, and would be no pause for the others.
        let fds = match self.has_ended() {
            true => &mut [][..],
            false => &mut end[..],
        };
        // Whatever comes of it, the threads are looked at.
        let _ = poll(fds, Some(&AGAIN));
    }
}

/// Threads that wait for their processors.
struct Made<G> {
    threads: Vec<Thread<G>>,
    /// Where each is given its processor.
    places: Vec<mpsc::Sender<G>>,
    /// It is said here when the first runs.
    begun: mpsc::Receiver<()>,
    /// It can be read once one of them has ended.
    end: UnixStream,
}

/// Makes so many; the first does something before it runs.
fn threads<G: Runs>(
    count: usize,
    is_told: &Arc<AtomicBool>,
    before: impl FnOnce() -> Result<(), Error> + Send + 'static,
) -> Result<Made<G>, Error> {
    let (end, held) = UnixStream::pair().map_err(Error::system("a socket"))?;
    let (say, begun) = mpsc::channel::<()>();
    let mut before = Some((before, say));
    let (mut threads, mut places) = (Vec::new(), Vec::new());
    for number in 0..count {
        let (place, take) = mpsc::channel::<G>();
        let (told, before) = (Arc::clone(is_told), before.take());
        let mut held = held.try_clone().map_err(Error::system("a socket"))?;
        let thread = std::thread::Builder::new().name(format!("vcpu{number}"));
        let thread = thread.spawn(move || {
            let mut processor = take.recv().ok()?;
            let done = match before {
                Some((before, say)) => before().inspect(|()| {
                    // Whoever has started it waits for this.
                    let _ = say.send(());
                }),
                None => Ok(()),
            };
            let why = match done {
                Ok(()) => processor.run(&told),
                Err(why) => Why::Failed(why),
            };
            // Whoever waits for its end sees it soon, if not by this.
            let _ = held.write(&[0]);
            Some((processor, why))
        });
        threads.push(thread.map_err(Error::system("a thread"))?);
        places.push(place);
    }
    Ok(Made {
        threads,
        places,
        begun,
        end,
    })
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
        let mut life = Life::Still(vec![guest]);
        life.start(|| Ok(())).unwrap();
        life
    }

    /// How often each processor of a guest that stands still has run.
    fn runs(life: &Life<Fake>) -> Vec<u32> {
        match life {
            Life::Still(all) => all.iter().map(|one| one.runs).collect(),
            _ => panic!("it does not stand still"),
        }
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
        assert_eq!(runs(&life), [2]);
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
        assert_eq!(runs(&life), [1]);
    }

    #[test]
    fn what_is_done_before_a_guest_runs_is_done_and_if_it_fails_nothing_has_run() {
        let mut life = Life::Still(vec![fake(None), fake(None)]);
        let why = life.start(|| Err(Error::Guest("no".into())));
        assert!(matches!(why, Err(Error::Guest(why)) if why == "no"));
        assert_eq!(runs(&life), [0, 0]);
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
        assert_eq!(runs(&life), [1, 1]);
    }

    #[test]
    fn the_end_of_one_processor_is_that_of_the_guest() {
        listen().unwrap();
        let ends = || Why::Ended(well("the guest was shut down"));
        let mut life = Life::Still(vec![fake(None), fake(Some(ends)), fake(None)]);
        life.start(|| Ok(())).unwrap();
        // It is seen without anybody asking each.
        let mut fds = [PollFd::new(&running(&life).end, PollFlags::IN)];
        assert_eq!(poll(&mut fds, None), Ok(1));
        life.stop(LONG).unwrap();
        assert!(matches!(&life, Life::Over(ended) if ended.code == exit::DONE));
    }

    #[test]
    fn processors_that_stopped_when_another_did_not_are_started_with_it_again() {
        let (wake, listens) = mpsc::channel();
        let slow = Fake {
            listens: Some(listens),
            ..fake(None)
        };
        listen().unwrap();
        let mut life = Life::Still(vec![fake(None), slow]);
        life.start(|| Ok(())).unwrap();
        assert!(life.stop(Duration::from_millis(50)).is_err());
        wake.send(()).unwrap();
        life.stop(LONG).unwrap();
        life.start(|| Ok(())).unwrap();
        life.stop(LONG).unwrap();
        assert_eq!(runs(&life), [2, 2]);
    }
}
