// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where calls are refused: what is there, and how the machine stands.

use std::fs::File;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use luo_sys::{Device, Errno, Session, SessionName, State, Token};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::super::tools::{
    FIRST, NO_CONTRACT, NO_EVENTS, NO_RFC, enter, memory, session, state_is,
};
use crate::case::Context as Case;
use crate::check::{device, name, refused};
use crate::difference::{Differs, missing};
use crate::forge::{self, Fault};
use crate::look;

/// Where a call is tried.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    at: At,
    of: Of,
    with: With,
}

/// How the machine stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Normal,
    Prepared,
    Frozen,
    /// Updated, with the stage's session one of the previous kernel.
    Claimed,
    /// Updated, with that one still to be retrieved.
    Unclaimed,
}

/// Whose calls it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Mainline,
    Rfc,
    Contract,
}

/// What goes wrong beside it.
#[derive(Clone, Copy)]
enum With {
    Nothing,
    /// No descriptor is free.
    Exhausted,
    /// The test driver fails; one of its files is registered or left over.
    Failing(Fault),
}

const fn at(at: At, of: Of) -> Setting {
    let with = With::Nothing;
    Setting { at, of, with }
}

const fn exhausted(setting: Setting) -> Setting {
    let with = With::Exhausted;
    Setting { with, ..setting }
}

pub(super) const fn failing(setting: Setting, fault: Fault) -> Setting {
    let with = With::Failing(fault);
    Setting { with, ..setting }
}

pub(super) const NORMAL: Setting = at(At::Normal, Of::Mainline);
pub(super) const EXHAUSTED: Setting = exhausted(NORMAL);
pub(super) const CLAIMED: Setting = at(At::Claimed, Of::Mainline);
pub(super) const CLAIMED_EXHAUSTED: Setting = exhausted(CLAIMED);
pub(super) const UNCLAIMED: Setting = at(At::Unclaimed, Of::Mainline);
pub(super) const UNCLAIMED_EXHAUSTED: Setting = exhausted(UNCLAIMED);
pub(super) const RFC: Setting = at(At::Normal, Of::Rfc);
pub(super) const PREPARED: Setting = at(At::Prepared, Of::Rfc);
pub(super) const FROZEN: Setting = at(At::Frozen, Of::Rfc);
pub(super) const UPDATED: Setting = at(At::Claimed, Of::Rfc);
pub(super) const UPDATED_EXHAUSTED: Setting = exhausted(UPDATED);
pub(super) const CONTRACT: Setting = at(At::Normal, Of::Contract);
pub(super) const CONTRACT_CLAIMED: Setting = at(At::Claimed, Of::Contract);

const LACKS_RFC: &[Differs] = &[missing(NO_RFC)];
const LACKS_EVENTS: &[Differs] = &[missing(NO_EVENTS)];
const LACKS_CONTRACT: &[Differs] = &[missing(NO_CONTRACT)];

impl Setting {
    pub(super) const fn over_a_kexec(self) -> bool {
        matches!(self.at, At::Claimed | At::Unclaimed)
    }

    /// What mainline lacks for it.
    pub(super) const fn lacking(self) -> &'static [Differs] {
        match (self.of, self.at) {
            (Of::Mainline, _) => &[],
            (Of::Rfc, At::Prepared | At::Frozen) => LACKS_EVENTS,
            (Of::Rfc, _) => LACKS_RFC,
            (Of::Contract, _) => LACKS_CONTRACT,
        }
    }

    /// Asserts that such calls are there at all.
    fn is_known(self, device: &Device) -> Result<()> {
        match self.of {
            Of::Mainline => {}
            Of::Rfc => drop(device.state()?),
            Of::Contract => drop(device.info()?),
        }
        Ok(())
    }

    /// What is registered on the device, or handed over in a session.
    fn file(self) -> Result<File> {
        match self.with {
            With::Failing(_) => forge::open(),
            _ => memory("registered", 1),
        }
    }

    fn state(self) -> State {
        match self.at {
            At::Normal => State::Normal,
            At::Prepared => State::Prepared,
            At::Frozen => State::Frozen,
            At::Claimed | At::Unclaimed => State::Updated,
        }
    }
}

/// What is there when a call is tried.
pub(super) struct Stage {
    pub(super) device: Device,
    /// An outgoing session "outgoing" with memfds under the tokens 1 and 2; where a
    /// session is claimed, that of the previous kernel, with the same and the
    /// setting's file under 7.
    pub(super) session: Session,
    /// The session of the previous kernel.
    pub(super) incoming: SessionName,
    /// A memfd that the session has not, and one that it has.
    pub(super) free: File,
    pub(super) preserved: File,
    /// A file that is registered on the device, or was in the previous kernel.
    pub(super) registered: File,
    pub(super) token: Token,
    /// Files that nobody can preserve.
    pub(super) path: OwnedFd,
    pub(super) null: File,
}

/// The token of the setting's file in a session that is handed over.
pub(super) const HANDED_OVER: Token = Token(7);

/// Leaves for the next kernel what the setting needs.
pub(super) fn leave(context: &mut Case<'_>, setting: Setting) -> Result<()> {
    let device = context.device()?;
    setting.is_known(&device)?;
    let session = session(&device, context.own_name(), 2)?;
    session.preserve_fd(setting.file()?, HANDED_OVER)?;
    if setting.of == Of::Rfc {
        let token = device.fd_preserve(setting.file()?)?;
        context.note("token", token.0);
    }
    context.hold(session);
    Ok(())
}

/// Tries a call twice.
pub(super) fn refuse(
    context: &mut Case<'_>,
    setting: Setting,
    errno: Errno,
    how: fn(&Stage) -> luo_sys::Result<()>,
) -> Result<()> {
    let stage = Stage::set(context, setting)?;
    for _ in 0..2 {
        let result = match setting.with {
            With::Nothing => how(&stage),
            With::Exhausted => {
                let _exhausted = Exhausted::begin()?;
                how(&stage)
            }
            With::Failing(fault) => {
                let _fault = fault.inject()?;
                how(&stage)
            }
        };
        refused(result, errno)?;
    }
    stage.strike(setting)
}

impl Stage {
    fn set(context: &Case<'_>, setting: Setting) -> Result<Self> {
        let device = device()?;
        setting.is_known(&device)?;
        let incoming = name(context.own_name());
        let preserved = memory("outgoing", 9)?;
        let session = match setting.at {
            At::Claimed => device.retrieve_session(&incoming)?,
            _ => {
                let session = session(&device, "outgoing", 2)?;
                session.preserve_fd(&preserved, Token(9))?;
                session
            }
        };
        let registered = setting.file()?;
        let token = match (setting.of, setting.over_a_kexec()) {
            (Of::Rfc, true) => Token(context.noted("token")?),
            (Of::Rfc, false) => device.fd_preserve(&registered)?,
            _ => FIRST,
        };
        if !setting.over_a_kexec() {
            enter_if_needed(&device, setting)?;
        }
        let path = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self {
            device,
            session,
            incoming,
            free: memory("free", 1)?,
            preserved,
            registered,
            token,
            path,
            null: File::open("/dev/null")?,
        })
    }

    /// Leaves nothing behind, and asserts that all is where it was.
    fn strike(self, setting: Setting) -> Result<()> {
        if setting.of != Of::Mainline {
            state_is(&self.device, setting.state())?;
        }
        match setting.at {
            At::Normal => {}
            At::Prepared | At::Frozen => self.device.cancel()?,
            At::Claimed => self.session.finish().context("at the end")?,
            At::Unclaimed => {
                let incoming = self.device.retrieve_session(&self.incoming);
                incoming.context("at the end")?.finish()?;
            }
        }
        Ok(())
    }
}

fn enter_if_needed(device: &Device, setting: Setting) -> Result<()> {
    match setting.at {
        At::Prepared | At::Frozen => enter(device, setting.state()),
        At::Normal | At::Claimed | At::Unclaimed => Ok(()),
    }
}

/// As long as it is there this process gets no descriptor.
struct Exhausted {
    limit: Rlimit,
    all: Vec<OwnedFd>,
}

impl Exhausted {
    fn begin() -> Result<Self> {
        let limit = getrlimit(Resource::Nofile);
        let any = File::open("/dev/null")?;
        let mut exhausted = Self {
            limit,
            all: vec![any.into()],
        };
        // There may be gaps below the highest one.
        let current = look::highest_descriptor()?.map(|highest| highest + 1);
        setrlimit(Resource::Nofile, Rlimit { current, ..limit })?;
        loop {
            match rustix::io::fcntl_dupfd_cloexec(&exhausted.all[0], 0) {
                Ok(fd) => exhausted.all.push(fd),
                Err(rustix::io::Errno::MFILE) => return Ok(exhausted),
                Err(error) => return Err(error).context("dup"),
            }
        }
    }
}

impl Drop for Exhausted {
    fn drop(&mut self) {
        // It was in force before.
        let _ = setrlimit(Resource::Nofile, self.limit);
    }
}
