// SPDX-License-Identifier: MIT OR Apache-2.0
//! Another process: it asks for one event, on a device that it inherits.

use std::os::fd::AsFd as _;
use std::process::{self, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result};
use luo_sys::{Device, Event};
use rustix::process::{Pid, Signal};

use crate::waiting::{Call, sleeps_in, until};

/// The first argument that makes a program such a process.
pub const ARGUMENT: &str = "--conformance-child";

/// Sends an event.
///
/// # Errors
/// As the kernel answers.
pub fn send(device: &Device, event: Event) -> luo_sys::Result<()> {
    match event {
        Event::Prepare => device.prepare(),
        Event::Freeze => device.freeze(),
        Event::Cancel => device.cancel(),
        Event::Finish => device.finish_update(),
    }
}

/// The ioctl of an event.
fn command(event: Event) -> u32 {
    use luo_abi::rfc;
    match event {
        Event::Prepare => rfc::EVENT_PREPARE,
        Event::Freeze => rfc::EVENT_FREEZE,
        Event::Cancel => rfc::EVENT_CANCEL,
        Event::Finish => rfc::EVENT_FINISH,
    }
}

/// The whole program: asks for the event of this name on the standard input, and
/// exits with the number of the error.
pub fn run(event: Option<&str>) -> ! {
    let wanted = |known: &Event| Some(known.to_string().as_str()) == event;
    let event = Event::ALL.into_iter().find(wanted);
    let device = std::io::stdin().as_fd().try_clone_to_owned();
    let code = match (event, device) {
        (Some(event), Ok(device)) => match send(&Device::from_fd(device), event) {
            Ok(()) => 0,
            Err(error) => error.errno().get(),
        },
        _ => i32::from(u8::MAX),
    };
    process::exit(code)
}

/// Such a process. One that is dropped is killed.
pub struct Child {
    process: process::Child,
    call: Call,
}

impl Child {
    /// Starts this program again, to ask for an event.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn ask(device: &Device, event: Event) -> Result<Self> {
        let process = Command::new("/proc/self/exe")
            .args([ARGUMENT, &event.to_string()])
            .stdin(Stdio::from(device.as_fd().try_clone_to_owned()?))
            .spawn()
            .context("/proc/self/exe")?;
        let call = Call::Ioctl(command(event));
        Ok(Self { process, call })
    }

    /// Waits until it waits for its event.
    ///
    /// # Errors
    /// If it has ended, or never waits.
    pub fn waits(&self) -> Result<()> {
        until("waiting", || sleeps_in(self.process.id(), self.call))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).context("the signal")
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If it does not.
    pub fn ended(mut self) -> Result<ExitStatus> {
        let mut status = None;
        until("the end of the process", || {
            status = self.process.try_wait()?;
            Ok(status.is_some())
        })?;
        status.context("its status")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended. Not waited for: what it waits for may be ours.
        let _ = self.process.kill();
    }
}
