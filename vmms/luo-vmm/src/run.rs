// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest runs, on a thread of its own, until it ends or is told to stand still.
//!
//! ```text
//!   Still --start--> Running --stop--> Still      the processor and the port move along
//!                       '--the guest ends--> Still
//! ```
//!
//! To stop it a flag is set, and the thread gets a signal, by which `KVM_RUN` returns. The signal
//! may come right before that call and be without effect; so it is sent again until the thread has
//! ended. What the thread does at the end matters: an exit for a port is finished only by the next
//! `KVM_RUN`, and until then the registers are those of neither before nor after it. So it
//! makes that call with `immediate_exit`, which finishes the exit and runs nothing.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kvm_ioctls::VcpuExit;
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

/// How a guest has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code that says the same.
    pub code: u8,
    /// What it was, in words.
    pub reason: String,
}

impl Ended {
    fn well(reason: &str) -> Self {
        Self {
            code: exit::DONE,
            reason: reason.to_owned(),
        }
    }
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
pub struct Running {
    thread: JoinHandle<(Still, Why)>,
    is_told: Arc<AtomicBool>,
    /// It has an end when the thread has.
    end: UnixStream,
}

/// Has the signal interrupt a call, and do nothing else. Once for a process.
///
/// # Errors
/// [`Error::System`].
pub fn listen() -> Result<(), Error> {
    let registered = signal_hook::flag::register(SIGUSR1, Arc::default());
    registered.map(drop).map_err(Error::system("signals"))
}

impl Still {
    /// Lets it run.
    ///
    /// # Errors
    /// [`Error::System`]: there is no thread to be had. The guest is gone.
    pub fn start(self) -> Result<Running, Error> {
        let (end, held) = UnixStream::pair().map_err(Error::system("a socket"))?;
        let is_told = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_told);
        let thread = std::thread::Builder::new().name("vcpu0".into());
        let thread = thread.spawn(move || {
            let mut still = self;
            let why = still.run(&told);
            drop(held);
            (still, why)
        });
        Ok(Running {
            thread: thread.map_err(Error::system("a thread"))?,
            is_told,
            end,
        })
    }

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
        VcpuExit::IoOut(KEYBOARD, [RESET]) => return Ok(Some(Ended::well("the guest was reset"))),
        // Ready for a command.
        VcpuExit::IoIn(KEYBOARD, data) => data.fill(0),
        VcpuExit::IoOut(POWER, data) if data == OFF => {
            return Ok(Some(Ended::well("the guest was shut down")));
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

impl Running {
    /// Can be read when the guest has ended.
    #[must_use]
    pub fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Whether the guest has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Has it stand still, and says why it does.
    ///
    /// # Errors
    /// [`Error::Guest`]: its thread does not stop in that time, or has panicked.
    pub fn stop(self, within: Duration) -> Result<(Still, Why), Error> {
        self.is_told.store(true, Ordering::Release);
        let late = Instant::now() + within;
        while !self.thread.is_finished() {
            // A thread that has ended takes no signal, which is as well.
            let _ = self.thread.kill(SIGUSR1);
            let mut fds = [PollFd::new(&self.end, PollFlags::IN)];
            // Whatever comes of it, the thread is looked at.
            let _ = poll(&mut fds, Some(&AGAIN));
            if Instant::now() > late {
                return Err(Error::Guest("its processor does not stop".into()));
            }
        }
        let panicked = |_| Error::Guest("its thread has panicked".into());
        self.thread.join().map_err(panicked)
    }
}
