// SPDX-License-Identifier: MIT OR Apache-2.0
//! Another process: this program, started again with a [`Role`] to play.
//!
//! What it works on is its standard input, as far as it needs something of its
//! parent. It says on its standard output that it has done its part, waits if the
//! role demands that, and exits with the number of the error if it could not.

use core::any::Any;
use core::fmt;
use core::str::FromStr;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{self, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use luo_sys::{Device, Errno, Event, MappedFile, Session, Token};
use rustix::process::{Pid, Signal};

use crate::case::Luggage;
use crate::check::name;
use crate::patience::until;
use crate::waiting::{Call, sleeps_in};

/// The first argument that makes a program such a process.
pub const ARGUMENT: &str = "--conformance-child";

/// Bytes of a page.
const PAGE: usize = 4096;

/// What a child says once it has done its part.
const READY: u8 = b'!';

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

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Asks for an event on the device that it inherits, and exits.
    Event(Event),
    /// Holds what it inherits until it is killed.
    Hold,
    /// Creates a session on the device that it inherits, and exits.
    Create,
    /// Preserves a memfd of its own in the session that it inherits, and exits.
    Preserve,
    /// Takes a file of the session that it inherits back, and exits.
    Retrieve,
    /// Lists the files of the session that it inherits, and exits.
    List,
    /// Maps the memory that it inherits, writes to it when it is told to, and exits; see
    /// `neighbour`.
    Map,
    /// Has the kernel take the second page of the memory that it inherits for one that has failed,
    /// and reads it, which ends it.
    Poison,
    /// Calls KVM with the virtual machine that it inherits, and exits.
    Machine,
    /// Is a client of cpr-luo's shape, and then waits to be killed; see [`crate::vmm`].
    Vmm,
    /// Is the owner of a session as far as a step, and then waits to be killed.
    Own(Step),
}

/// How far an owner goes. It opens the device; what it preserves it inherits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It has the device open, and nothing else.
    Open,
    /// It has created a session.
    Create,
    /// It has preserved a file in it, under [`TOKEN`].
    Preserve,
    /// It has frozen that session before all others are.
    FreezeSession,
    /// It has registered a file on the device.
    Register,
    /// It has a session with a file, and the machine is prepared.
    Prepare,
    /// The machine is frozen.
    Freeze,
    /// It has taken a session of the previous kernel back.
    RetrieveSession,
    /// It has taken its file back as well.
    RetrieveFd,
    /// It has finished it.
    Finish,
}

/// The token under which an owner preserves, and retrieves.
pub const TOKEN: Token = Token(1);

impl Role {
    /// All there are.
    fn all() -> impl Iterator<Item = Self> {
        let events = Event::ALL.into_iter().map(Self::Event);
        let steps = Step::ALL.into_iter().map(Self::Own);
        let others = [
            Self::Hold,
            Self::Create,
            Self::Preserve,
            Self::Retrieve,
            Self::List,
            Self::Map,
            Self::Poison,
            Self::Machine,
            Self::Vmm,
        ];
        events.chain(others).chain(steps)
    }

    /// The ioctl of one who makes one call and exits.
    fn command(self) -> Option<u32> {
        use luo_abi::{contract, uapi};
        match self {
            Self::Event(event) => Some(command(event)),
            Self::Create => Some(uapi::CREATE_SESSION),
            Self::Preserve => Some(uapi::SESSION_PRESERVE_FD),
            Self::Retrieve => Some(uapi::SESSION_RETRIEVE_FD),
            Self::List => Some(contract::LIST_FILES),
            Self::Hold | Self::Map | Self::Poison | Self::Machine | Self::Vmm | Self::Own(_) => {
                None
            }
        }
    }
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Open,
        Self::Create,
        Self::Preserve,
        Self::FreezeSession,
        Self::Register,
        Self::Prepare,
        Self::Freeze,
        Self::RetrieveSession,
        Self::RetrieveFd,
        Self::Finish,
    ];
}

/// The word in the arguments.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Role {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        let found = Self::all().find(|role| role.to_string() == word);
        found.with_context(|| format!("there is no role '{word}'"))
    }
}

/// The whole program: plays the role that the arguments name, in the session that
/// they name behind it.
pub fn run(mut arguments: impl Iterator<Item = String>) -> ! {
    let role = arguments.next().unwrap_or_default();
    let session = arguments.next().unwrap_or_default();
    let played = role.parse().and_then(|role| play(role, &session));
    let code = match played {
        Ok(()) => 0,
        Err(error) => match error.downcast_ref::<luo_sys::Error>() {
            Some(error) => error.errno().get(),
            None => i32::from(u8::MAX),
        },
    };
    process::exit(code)
}

fn play(role: Role, session: &str) -> Result<()> {
    let input = std::io::stdin().as_fd().try_clone_to_owned()?;
    match role {
        Role::Event(event) => Ok(send(&Device::from_fd(input), event)?),
        Role::Create => {
            let device = Device::from_fd(input);
            Ok(device.create_session(&name(session)).map(drop)?)
        }
        Role::Preserve => {
            let memory = luo_sys::memfd::create("of a child", 4096)?;
            Ok(Session::from_fd(input).preserve_fd(memory, TOKEN)?)
        }
        Role::Retrieve => Ok(Session::from_fd(input).retrieve_fd(TOKEN).map(drop)?),
        Role::List => Ok(Session::from_fd(input).list_files().map(drop)?),
        Role::Map => crate::neighbour::run(&input, say_ready),
        Role::Poison => {
            let map = MappedFile::new(&input, 2 * PAGE)?;
            let poisoned = map.poison(PAGE);
            let is_known = !matches!(&poisoned, Err(why) if why.errno() == Errno::EINVAL);
            if is_known {
                // EBUSY: somebody else refers to the page as well. It has failed all the same.
                map.load(PAGE)?;
            }
            Ok(poisoned?)
        }
        Role::Machine => {
            let machine = luo_sys::kvm::machine(&kvm_ioctls::Kvm::new()?, input)?;
            let made = machine.create_vcpu(0);
            made.map(drop).map_err(|why| process::exit(why.errno()))
        }
        Role::Vmm => crate::vmm::run(session, input, say_ready),
        Role::Hold => wait_to_be_killed(input),
        Role::Own(step) => own(step, session, &input).and_then(wait_to_be_killed),
    }
}

/// Goes as far as a step; gives what an owner has in its hands then.
fn own(step: Step, session: &str, input: &OwnedFd) -> Result<Luggage> {
    let device = Device::open()?;
    let mut owned = Luggage::new();
    match step {
        Step::Open => {}
        Step::Register => drop(device.fd_preserve(input)?),
        Step::Create | Step::Preserve | Step::FreezeSession | Step::Prepare | Step::Freeze => {
            let session = device.create_session(&name(session))?;
            if step != Step::Create {
                session.preserve_fd(input, TOKEN)?;
            }
            if step == Step::FreezeSession {
                session.freeze()?;
            }
            if matches!(step, Step::Prepare | Step::Freeze) {
                device.prepare()?;
            }
            if step == Step::Freeze {
                device.freeze()?;
            }
            owned.push(Box::new(session));
        }
        Step::RetrieveSession | Step::RetrieveFd | Step::Finish => {
            let session = device.retrieve_session(&name(session))?;
            if step != Step::RetrieveSession {
                owned.push(Box::new(session.retrieve_fd(TOKEN)?));
            }
            if step == Step::Finish {
                session.finish()?;
            }
            owned.push(Box::new(session));
        }
    }
    owned.push(Box::new(device));
    Ok(owned)
}

/// Holds something, and never comes back.
fn wait_to_be_killed(_held: impl Any) -> Result<()> {
    say_ready()?;
    loop {
        std::thread::park();
    }
}

/// Tells the parent that the part is done.
fn say_ready() -> Result<()> {
    std::io::stdout().write_all(&[READY])?;
    Ok(std::io::stdout().flush()?)
}

/// Such a process. One that is dropped is killed.
pub struct Child {
    process: process::Child,
    role: Role,
}

impl Child {
    /// Starts this program again in a role, with something for its input.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(role: Role, session: &str, input: impl Into<Stdio>) -> Result<Self> {
        let process = Command::new("/proc/self/exe")
            .args([ARGUMENT, &role.to_string(), session])
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()
            .context("/proc/self/exe")?;
        Ok(Self { process, role })
    }

    /// Starts one that asks for an event.
    ///
    /// # Errors
    /// As [`Child::start`].
    pub fn ask(device: &Device, event: Event) -> Result<Self> {
        let device = device.as_fd().try_clone_to_owned()?;
        Self::start(Role::Event(event), "", device)
    }

    /// Waits until it waits in its call.
    ///
    /// # Errors
    /// If it has ended, or never waits.
    pub fn waits(&self) -> Result<()> {
        let Some(command) = self.role.command() else {
            bail!("{} makes no call to wait in", self.role);
        };
        let call = Call::Ioctl(command);
        until("waiting", || sleeps_in(self.process.id(), call))
    }

    /// Waits until it has done its part.
    ///
    /// # Errors
    /// If it could not, with the number of its error.
    pub fn ready(&mut self) -> Result<()> {
        let mut said = [0];
        let output = self.process.stdout.as_mut().context("no output")?;
        if output.read(&mut said)? == 1 && said == [READY] {
            return Ok(());
        }
        let status = self.process.wait()?;
        let errno = status.code().map(|code| Errno::check(-code));
        bail!("{} has ended: {status}, {errno:?}", self.role)
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    /// If it has ended before.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill().context("the signal")?;
        let status = self.process.wait()?;
        ensure!(status.code().is_none(), "it has ended before: {status}");
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_survive_the_command_line() {
        for role in Role::all() {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
        }
        assert!("Own(Nothing)".parse::<Role>().is_err());
    }
}
