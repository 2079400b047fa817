// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/dev/luo_forge`, the test driver: files and subsystems that fail or wait on
//! demand and write down what they are called for. What it does is described in its
//! source, `lib/tests/luo_forge_device.c` of the kernel's overlay.
//!
//! The simulator has it as well. There its parameters are not in sysfs, but reached by
//! an ioctl on the device ([`luo_sys::test_driver`]), since the simulator does not see
//! what is read and written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use luo_sys::{Errno, test_driver};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::check::{Absent, same, skip};
use crate::patience::{PATIENCE, until};

/// The device node.
pub const DEVICE: &str = "/dev/luo_forge";

/// The name of its file handler.
pub const HANDLER: &str = "forge-v1";

/// Its two subsystems, in the order of their registration.
pub const SUBSYSTEMS: [&str; 2] = ["forge-a", "forge-b"];

const PARAMETERS: &str = "/sys/module/luo_forge/parameters";

/// An error number that the orchestrator has no reason to make up.
pub const ODD: Errno = Errno::EFBIG;

/// Opens the device: a file that its handler preserves.
///
/// # Errors
/// A skip if the implementation is tested without the driver.
pub fn open() -> Result<File> {
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(skip(format!("there is no {DEVICE}")))
        }
        Err(error) => Err(error).context(DEVICE),
    }
}

/// The number by which the log of calls names a file of the driver. It is the
/// same for the file that the next kernel restores.
///
/// # Errors
/// If the driver does not say.
pub fn id(file: &File) -> Result<u32> {
    let text = if is_simulated()? {
        test_driver::get(file, "id")?
    } else {
        let mut text = [0; 32];
        let length = file.read_at(&mut text, 0).context("the file's number")?;
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    text.trim()
        .parse()
        .with_context(|| format!("the file's number is '{text}'"))
}

/// What the driver can be told to fail at.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Only the file of that number is struck by the others.
    File(u32),
    /// `preserve` of a file returns this.
    Preserve(Errno),
    /// `freeze` of a file returns this.
    Freeze(Errno),
    /// That many files freeze before `Freeze` strikes.
    FreezePasses(u32),
    /// `retrieve` of a file returns this.
    Retrieve(Errno),
    /// `can_finish` of a file says no that many times.
    FinishRefusals(u32),
    /// `prepare` of the second subsystem returns this.
    SubsystemPrepare(Errno),
    /// `freeze` of the second subsystem returns this.
    SubsystemFreeze(Errno),
}

impl Fault {
    fn parameter(self) -> (&'static str, i64) {
        match self {
            Self::File(id) => ("fault_file", id.into()),
            Self::Preserve(errno) => ("preserve_errno", errno.get().into()),
            Self::Freeze(errno) => ("freeze_errno", errno.get().into()),
            Self::FreezePasses(files) => ("freeze_passes", files.into()),
            Self::Retrieve(errno) => ("retrieve_errno", errno.get().into()),
            Self::FinishRefusals(times) => ("finish_refusals", times.into()),
            Self::SubsystemPrepare(errno) => ("subsystem_prepare_errno", errno.get().into()),
            Self::SubsystemFreeze(errno) => ("subsystem_freeze_errno", errno.get().into()),
        }
    }

    /// Injects the fault; it is taken back when the guard is dropped, so that
    /// a case that fails does not spoil the next one.
    ///
    /// # Errors
    /// If the driver has no such switch.
    pub fn inject(self) -> Result<Injected> {
        let (name, value) = self.parameter();
        set(name, value)?;
        Ok(Injected { name })
    }
}

/// The files of the driver that this process preserves need another, which it has open: what
/// their handler, in C, says to the orchestrator, and gets back when it restores them. That
/// it got a file is `with:ID` among the calls, `with:another` if it is none of the driver's.
///
/// # Errors
/// The simulator's driver is not in C.
pub fn need(file: impl AsFd) -> Result<Injected> {
    if is_simulated()? {
        return Err(Absent("a handler in C".to_owned()).into());
    }
    let name = "needs_fd";
    set(name, file.as_fd().as_raw_fd().into())?;
    Ok(Injected { name })
}

/// A fault that is in force.
#[must_use = "it is taken back when this is dropped"]
pub struct Injected {
    name: &'static str,
}

impl Drop for Injected {
    fn drop(&mut self) {
        // The parameter was just there; should it fail, the next case tells.
        let _ = set(self.name, 0);
    }
}

/// Callbacks of the driver that wait as soon as they are called, until this is dropped.
#[must_use = "they go on when this is dropped"]
pub struct Hold {
    device: File,
    callbacks: Vec<String>,
}

impl Hold {
    /// Has a callback wait, named as in [`calls`].
    ///
    /// # Errors
    /// A skip without the driver.
    pub fn on(callback: impl Into<String>) -> Result<Self> {
        Self::on_each([callback.into()])
    }

    /// Has several wait. Of those of another [`Hold`] none waits any more.
    ///
    /// # Errors
    /// As [`Self::on`].
    pub fn on_each(callbacks: impl IntoIterator<Item = String>) -> Result<Self> {
        let (device, callbacks) = (open()?, Vec::from_iter(callbacks));
        write("hold", &callbacks.join(" "))?;
        Ok(Self { device, callbacks })
    }

    /// Waits until all of them are called, and so wait.
    ///
    /// # Errors
    /// If nobody calls one.
    pub fn reached(&self) -> Result<()> {
        let callbacks = self.callbacks.join(" ");
        if !is_simulated()? {
            ensure!(
                is_reached(&self.device, PATIENCE)?,
                "nobody called {callbacks}"
            );
        }
        until(&callbacks, || {
            let held = self.held()?;
            Ok(self
                .callbacks
                .iter()
                .all(|callback| held.contains(callback)))
        })?;
        self.holds()
    }

    /// Asserts that they wait at this moment, and no other.
    ///
    /// # Errors
    /// If that is not so.
    pub fn holds(&self) -> Result<()> {
        let (mut held, mut callbacks) = (self.held()?, self.callbacks.clone());
        held.sort_unstable();
        callbacks.sort_unstable();
        same("who waits", held, callbacks)
    }

    /// Those that wait, in the order in which they were called.
    ///
    /// # Errors
    /// If the driver does not say.
    pub fn held(&self) -> Result<Vec<String>> {
        Ok(words(&get("held")?))
    }
}

/// Has the worker of a user's line run a callback, `line:USER`, on which a [`Hold`] can be.
///
/// # Errors
/// A skip without the driver.
pub fn hold_line(user: u32) -> Result<()> {
    write("line", &user.to_string())
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Refused by no driver that has the parameter.
        let _ = write("hold", "");
    }
}

/// Whether a callback waits, for who has a file of the driver's open in a kernel: looks for as
/// long as it has patience.
///
/// # Errors
/// If the driver cannot be polled.
pub fn is_reached(file: &File, patience: Duration) -> Result<bool> {
    let mut fds = [PollFd::new(file, PollFlags::PRI)];
    let timeout = Timespec::try_from(patience).context("the time")?;
    poll(&mut fds, Some(&timeout))?;
    Ok(fds[0].revents().contains(PollFlags::PRI))
}

/// Whether a call of a task that is seen in it waits for another. In the simulator
/// every call waits for its answer, and the driver knows which one waits for more.
///
/// # Errors
/// If the driver does not say.
pub fn waits(task: u32) -> Result<bool> {
    if !is_simulated().unwrap_or(false) {
        return Ok(true);
    }
    let waiting = get("waiting")?;
    let mut waiting = waiting.split_whitespace();
    Ok(waiting.any(|thread| thread.parse() == Ok(task)))
}

/// Each call is also a line of the kernel's log, as long as this is there:
/// `luo_forge: ` and what [`calls`] has.
#[must_use = "it ends when this is dropped"]
pub struct PrintedCalls(());

impl PrintedCalls {
    /// Begins it.
    ///
    /// # Errors
    /// If the driver has no such switch.
    pub fn begin() -> Result<Self> {
        set("print_calls", 1)?;
        Ok(Self(()))
    }
}

impl Drop for PrintedCalls {
    fn drop(&mut self) {
        let _ = set("print_calls", 0);
    }
}

/// The driver's subsystems, registered until this is dropped.
#[must_use = "they are unregistered when this is dropped"]
pub struct Subsystems(());

impl Subsystems {
    /// Registers them.
    ///
    /// # Errors
    /// A skip without the driver; else what the orchestrator answers.
    pub fn register() -> Result<Self> {
        open()?;
        // A case that went wrong may have left them behind.
        let _ = set("subsystem_register", 0);
        set("subsystem_register", 1).context("registering the subsystems")?;
        Ok(Self(()))
    }

    /// Unregisters them.
    ///
    /// # Errors
    /// What the orchestrator answers; then they stay registered.
    pub fn unregister(&self) -> io::Result<()> {
        set("subsystem_register", 0).map_err(|error| match error.downcast::<io::Error>() {
            Ok(error) => error,
            Err(error) => io::Error::other(error),
        })
    }

    /// Leaves them registered, up to the kexec.
    pub fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for Subsystems {
    fn drop(&mut self) {
        // Refused only if a case has left the machine prepared, which fails it.
        let _ = self.unregister();
    }
}

fn path(name: &str) -> String {
    format!("{PARAMETERS}/{name}")
}

/// Whether it is the simulator's driver; finds out once.
fn is_simulated() -> Result<bool> {
    static SIMULATED: OnceLock<bool> = OnceLock::new();
    if let Some(&known) = SIMULATED.get() {
        return Ok(known);
    }
    let found = match test_driver::get(open()?, "id") {
        Ok(_) => true,
        Err(error) if error.errno() == Errno::ENOTTY => false,
        Err(error) => return Err(error.into()),
    };
    Ok(*SIMULATED.get_or_init(|| found))
}

fn set(name: &str, value: i64) -> Result<()> {
    write(name, &value.to_string())
}

/// Sets a parameter. What the driver answers is an [`io::Error`].
fn write(name: &str, value: &str) -> Result<()> {
    let written = if is_simulated()? {
        test_driver::set(open()?, name, value).map_err(io::Error::from)
    } else {
        // Sysfs takes no notice of a write of nothing.
        fs::write(path(name), format!("{value}\n"))
    };
    written.with_context(|| name.to_owned())
}

fn get(name: &str) -> Result<String> {
    let text = if is_simulated()? {
        test_driver::get(open()?, name).with_context(|| name.to_owned())?
    } else {
        fs::read_to_string(path(name)).with_context(|| path(name))?
    };
    Ok(text.trim().to_owned())
}

/// Registers the handler of the driver's files, or unregisters it. A kernel that was told
/// `luo_forge.late=1` has it on request only.
///
/// # Errors
/// A skip without the driver; what the orchestrator answers.
pub fn register(on: bool) -> Result<()> {
    set("files_register", on.into())
}

/// Says whether there are FLBs, those of the kernel's own test.
///
/// # Errors
/// [`Absent`] if there are none.
pub fn has_flbs() -> Result<()> {
    if is_simulated()? {
        return Err(Absent("an FLB".to_owned()).into());
    }
    Ok(())
}

/// Forgets the calls so far.
///
/// # Errors
/// If the driver has no log of calls.
pub fn clear_calls() -> Result<()> {
    set("calls", 0)
}

/// What the driver was called for since [`clear_calls`], in order: callback and
/// the file's number or the subsystem's name, for example `preserve:1`.
///
/// # Errors
/// If the driver has no log of calls.
pub fn calls() -> Result<Vec<String>> {
    Ok(words(&get("calls")?))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// What the subsystems left in the previous kernel, for example
/// `forge-a=0xa1 forge-b=none`. It is 0xa0 and 0xb0 from prepare on, and one more
/// from freeze on.
///
/// # Errors
/// If the driver does not say.
pub fn subsystem_data() -> Result<String> {
    get("subsystem_data")
}

/// How many files the driver believes to be preserved, and frozen.
///
/// # Errors
/// If the driver does not count.
pub fn counts() -> Result<(i32, i32)> {
    Ok((get("preserved")?.parse()?, get("frozen")?.parse()?))
}
