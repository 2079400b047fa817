// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ioctls of a program: descriptor, command, address and bytes are hostile.
//!
//! They take the way of a supervised program's calls through the simulator: the call
//! layer that the kernel has, too, and the engine behind it. What is composed, and what
//! may come of it, says the table of calls. What is checked:
//!
//! - nothing is written but the answer, within the size that the program gave;
//! - who was told that it has a descriptor has one;
//! - what no host knows gets ENOTTY, and nothing ever gets EIO: the engine's books
//!   agree, and what one kernel leaves is taken over by the next;
//! - a call ends with no error but those that the table has for it;
//! - when all is closed, cancelled and finished, nothing is left.

mod argument;

use arbitrary::{Result, Unstructured};
use luo_abi::errno::Errno;
use luo_abi::rfc::{EVENT_CANCEL, EVENT_FINISH, GET_STATE};
use luo_sim::bench::{BASE, Bench, Held};
use luo_sim::{Action, Fault, Step};
use luo_sys::memfd;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::OnceLock;

use argument::{Argument, MEMORY};

/// The most steps of a program that are looked at.
const MOST_STEPS: usize = 48;

/// How far a program came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// Ioctls that succeeded.
    pub succeeded: u32,
    /// Those that did not.
    pub failed: u32,
    /// Kexecs.
    pub kexecs: u32,
    /// Files that came back after one.
    pub retrieved: u32,
}

/// Runs a program.
pub fn run(data: &[u8]) -> Reached {
    let mut reached = Reached::default();
    // Where the bytes end, the program does.
    let _ = steps(&mut Unstructured::new(data), &mut reached);
    reached
}

fn steps(bytes: &mut Unstructured<'_>, reached: &mut Reached) -> Result<()> {
    let bench = Bench::new(faults(bytes)?).expect("a machine boots");
    let mut run = Run { bench, reached };
    run.begin();
    let mut outcome = Ok(());
    for _ in 0..MOST_STEPS {
        if bytes.is_empty() || outcome.is_err() {
            break;
        }
        outcome = run.step(bytes);
    }
    run.end();
    outcome
}

/// Files that a program can have preserved, or not: two memfds, one of them for
/// reading only, too; a pipe.
fn files() -> impl Iterator<Item = OwnedFd> {
    static FILES: OnceLock<Vec<OwnedFd>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let memfd = |length| OwnedFd::from(memfd::create("fuzz", length).expect("a memfd"));
        let (small, large) = (memfd(1), memfd(3 * 4096));
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&small));
        let read_only = std::fs::File::open(path).expect("the memfd again");
        let (pipe, _) = rustix::pipe::pipe().expect("a pipe");
        vec![small, large, read_only.into(), pipe]
    });
    files
        .iter()
        .map(|file| file.try_clone().expect("a descriptor"))
}

/// What goes wrong in handlers, and with memory.
fn faults(bytes: &mut Unstructured<'_>) -> Result<Vec<Fault>> {
    let count = bytes.arbitrary::<u8>()? % 4;
    let can_fail = |step: &&Step| step.can_fail() && !matches!(step, Step::Call | Step::Kexec);
    let steps: Vec<Step> = Step::ALL.iter().filter(can_fail).copied().collect();
    let mut faults = Vec::new();
    for _ in 0..count {
        let step = *bytes.choose(&steps)?;
        let time = u64::from(bytes.arbitrary::<u8>()? % 16) + 1;
        let fail = Action::Fail(*bytes.choose(&argument::ERRORS)?);
        // The first four pages are the machine's own.
        let time = if step == Step::Page { time + 4 } else { time };
        faults.push(Fault::at(step, Some(time), fail));
    }
    Ok(faults)
}

struct Run<'a> {
    bench: Bench,
    reached: &'a mut Reached,
}

impl Run<'_> {
    /// What a program begins with: the device as descriptor 0, then the files.
    fn begin(&self) {
        // A page that is refused may be asked for again.
        let opened = (0..8).find_map(|_| self.open());
        assert!(opened.is_some(), "the device cannot be opened");
        for file in files() {
            self.bench.give(file).expect("few descriptors");
        }
    }

    fn open(&self) -> Option<RawFd> {
        let opened = self.bench.open();
        crate::show::show(format_args!("open: {opened:?}"));
        assert_ne!(opened, Err(Errno::EIO), "the handover is refused");
        opened.ok()
    }

    fn step(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        match bytes.arbitrary::<u8>()? % 32 {
            0 => drop(self.open()),
            1 | 2 => {
                let fd = self.descriptor(bytes)?;
                crate::show::show(format_args!("close({fd})"));
                self.bench.close(fd);
            }
            3 => self.reboot(),
            4 => {
                let at = usize::from(bytes.arbitrary::<u8>()?) % 4;
                let file = files().nth(at).expect("four files");
                // It may have as many as it can have.
                let _ = self.bench.give(file);
            }
            _ => self.ioctl(bytes)?,
        }
        Ok(())
    }

    /// Mostly one that is there.
    fn descriptor(&self, bytes: &mut Unstructured<'_>) -> Result<RawFd> {
        let all = self.bench.descriptors();
        let at = usize::from(bytes.arbitrary::<u8>()?);
        match all.get(at % (all.len() + 1)) {
            Some(&fd) => Ok(fd),
            None => bytes.arbitrary(),
        }
    }

    fn reboot(&mut self) {
        let before = self.bench.held();
        let rebooted = self.bench.reboot();
        crate::show::show(format_args!("reboot: {rebooted:?}"));
        match rebooted {
            Ok(()) => {
                self.reached.kexecs += 1;
                self.begin();
            }
            Err(errno) => {
                assert!(!matches!(errno, Errno::EIO | Errno::ENODEV), "{errno}");
                assert_eq!(self.bench.held(), before, "a veto has changed something");
            }
        }
    }

    fn ioctl(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        let on = self.descriptor(bytes)?;
        let fd = self.descriptor(bytes)?;
        let argument = Argument::read(bytes, fd)?;
        let before = self.bench.descriptors();
        self.bench.set_memory(argument.memory());
        let said = self.bench.ioctl(on, argument.command, argument.address);
        let after = self.bench.memory();
        crate::show::show(format_args!(
            "ioctl({on}, {:#x}, {:#x}): {said:?}",
            argument.command, argument.address
        ));
        argument.check(&after, said);
        let Some(said) = said else { return Ok(()) };
        match said {
            Ok(()) => self.reached.succeeded += 1,
            Err(_) => self.reached.failed += 1,
        }
        if let Some(fd) = argument.descriptor_of(&after).filter(|_| said.is_ok()) {
            let now = self.bench.descriptors();
            assert!(now.contains(&fd) && !before.contains(&fd), "no new {fd}");
            self.reached.retrieved += u32::from(argument.retrieves());
        } else {
            assert_eq!(self.bench.descriptors(), before, "a descriptor too many");
        }
        Ok(())
    }

    /// Ends all that is under way; nothing may be left.
    fn end(&mut self) {
        self.bench.set_memory(vec![0; MEMORY]);
        // The program may have closed its own.
        let device = (0..8).find_map(|_| self.open());
        let device = device.expect("the device cannot be opened at the end");
        let _ = self.bench.ioctl(device, EVENT_CANCEL, BASE);
        for fd in self.bench.descriptors() {
            if fd != device {
                self.bench.close(fd);
            }
        }
        let _ = self.bench.ioctl(device, EVENT_FINISH, BASE);
        self.bench.close(device);
        let nothing = Held::default();
        // A handler may have kept a file at the first try.
        for _ in 0..8 {
            if self.bench.held() == Ok(nothing) {
                return;
            }
            // It is tried again before the first call on a newly opened device.
            if let Some(device) = self.open() {
                let _ = self.bench.ioctl(device, GET_STATE, BASE);
                self.bench.close(device);
            }
        }
        assert_eq!(self.bench.held(), Ok(nothing), "left over");
    }
}
