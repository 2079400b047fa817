// SPDX-License-Identifier: MIT OR Apache-2.0
//! Services of the test of systemd's descriptor stores. Each has memory that says of which
//! boot it is, verifies what has come from an earlier one, and says what it has seen in its
//! journal: `verified memory of boot N` or `nothing has come`, and then `ready`.
//!
//! | service | how its memory is kept |
//! |---|---|
//! | `store` | it is in the descriptor store, and systemd preserves it |
//! | `keeper` | in a session that systemd makes and hands out (`LUOSession=`) |
//! | `tenant` | in a session that it makes itself; that is in the descriptor store |

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context, Result, bail, ensure};
use luo_lab_protocol::param;
use luo_scenes::stage::until;
use luo_sys::memfd::{self, Seals};
use luo_sys::{Device, Errno, Session, Token};
use sd_notify::NotifyState;

use crate::check::name;
use crate::command_line::CommandLine;
use crate::fill::{self, Prng};

/// The argument that makes this program such a service.
pub(crate) const ARGUMENT: &str = "service";

const LENGTH: u64 = (1 << 20) + 4097;
/// The token, and the end of the label, of a boot's memory.
const FIRST: u64 = 100;
/// What the descriptors of `keeper` and of `tenant` are called.
const WORK: &str = "work";
const TENANT: &str = "tenant";

/// Is the service. It does not come back but to be started again.
///
/// # Errors
/// It lost something, or could not keep it.
pub(crate) fn run(service: Option<&str>) -> Result<()> {
    let line = CommandLine::parse(&fs::read_to_string("/proc/cmdline")?);
    let boot: u64 = line.get(param::BOOT).unwrap_or("0").parse()?;
    let passed = luo_sys::descriptors::passed();
    match service {
        Some("store") => store(boot, passed)?,
        Some("keeper") => return keeper(boot, passed),
        Some("tenant") => return tenant(boot, passed),
        other => bail!("there is no service {other:?}"),
    }
    ready()
}

/// Says so, and waits for the machine's end.
fn ready() -> Result<()> {
    println!("ready");
    loop {
        std::thread::park();
    }
}

fn contents(boot: u64) -> Prng {
    Prng::of(&[FIRST, boot])
}

fn memory(boot: u64) -> Result<File> {
    fill::memfd("service", LENGTH, contents(boot))
}

/// Where memfds must not be executed, it has come back as one, and can be written all the same.
fn verify(file: &File, boot: u64) -> Result<()> {
    fill::verify(file, LENGTH, contents(boot))?;
    let none_is_executed = fs::read_to_string("/proc/sys/vm/memfd_noexec")?.trim() == "2";
    let is_not = memfd::seals(file)?.contains(Seals::EXEC);
    ensure!(
        is_not == none_is_executed,
        "its seals are {:?}",
        memfd::seals(file)?
    );
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0)?;
    file.write_all_at(&byte, 0).context("writing to it")?;
    println!("verified memory of boot {boot}");
    Ok(())
}

fn keep(label: &str, fd: impl AsFd) -> Result<()> {
    let state = [
        NotifyState::FdStore,
        NotifyState::FdName(label),
        NotifyState::Custom("FDPOLL=0"),
    ];
    Ok(sd_notify::notify_with_fds(&state, &[fd.as_fd()])?)
}

fn forget(label: &str) -> Result<()> {
    let state = [NotifyState::FdStoreRemove, NotifyState::FdName(label)];
    Ok(sd_notify::notify(&state)?)
}

fn store(boot: u64, passed: Vec<(String, OwnedFd)>) -> Result<()> {
    const LABEL: &str = "memory-";
    let mut seen = false;
    for (label, fd) in passed {
        let of = label.strip_prefix(LABEL).context(label.clone())?.parse()?;
        verify(&File::from(fd), of)?;
        forget(&label)?;
        seen = true;
    }
    if !seen {
        println!("nothing has come");
    }
    keep(&format!("{LABEL}{boot}"), memory(boot)?)
}

/// What a service says before its session's name.
pub(crate) const ITS_SESSION: &str = "its session is ";

/// Does what an administrator does for a session that waits in a kernel: takes it back by its
/// name, and looks at the memory of the boot that left it, byte by byte.
///
/// # Errors
/// It is not there, or other bytes are.
pub(crate) fn claim(called: &str, of: u32) -> Result<()> {
    let session = open()?.retrieve_session(&name(called))?;
    let of = of.into();
    let fd = session.retrieve_fd(Token(FIRST + of)).context("retrieve")?;
    fill::verify(&File::from(fd), LENGTH, contents(of))?;
    session.finish().context("finish")
}

/// Takes an earlier boot's memory out of a session, if it is one of an earlier boot.
fn take(session: &Session, boot: u64) -> Result<bool> {
    for of in (0..boot).rev() {
        match session.retrieve_fd(Token(FIRST + of)) {
            Ok(fd) => {
                verify(&File::from(fd), of)?;
                session.finish().context("finish")?;
                return Ok(true);
            }
            // The latter is said of a session that is on its way out.
            Err(error) if matches!(error.errno(), Errno::ENOENT | Errno::EINVAL) => {}
            Err(error) => return Err(error).context("retrieve"),
        }
    }
    Ok(false)
}

/// Preserves this boot's memory. After a restart of the service it is there already.
fn preserve(session: &Session, boot: u64) -> Result<()> {
    match session.preserve_fd(memory(boot)?, Token(FIRST + boot)) {
        Err(error) if error.errno() == Errno::EEXIST => Ok(()),
        other => other.context("preserve"),
    }
}

fn keeper(boot: u64, passed: Vec<(String, OwnedFd)>) -> Result<()> {
    let mut passed = passed.into_iter();
    let (_, fd) = passed
        .find(|(label, _)| label == WORK)
        .context("systemd has handed out no session")?;
    let session = Session::from_fd(fd);
    println!("{ITS_SESSION}{}", session.name()?);
    if take(&session, boot)? {
        // systemd makes another session for the next start if this one is not there.
        return forget(WORK);
    }
    preserve(&session, boot)?;
    ready()
}

/// Opens the device, which others have open now and then.
fn open() -> Result<Device> {
    let mut opened = None;
    until("the device", || match Device::open() {
        Ok(device) => {
            opened = Some(device);
            Ok(true)
        }
        Err(error) if error.errno() == Errno::EBUSY => Ok(false),
        Err(error) => Err(error.into()),
    })?;
    opened.context("no device")
}

/// What others call its session, and everybody does where owners are not known.
fn in_full() -> String {
    format!("uid:{}:{TENANT}", rustix::process::getuid().as_raw())
}

/// Its session of an earlier boot, if systemd has not kept that.
fn retrieve(device: &Device) -> Result<Option<Session>> {
    for called in [TENANT, &in_full()] {
        match device.retrieve_session(&name(called)) {
            Ok(session) => return Ok(Some(session)),
            Err(error) if error.errno() == Errno::ENOENT => {}
            Err(error) => return Err(error).context("retrieve its session"),
        }
    }
    Ok(None)
}

/// Makes its session. Where the descriptor of one of that name has just been forgotten,
/// systemd may have it open a while longer.
fn create(device: &Device) -> Result<Session> {
    let mut made = None;
    until("the name", || match device.create_session(&name(TENANT)) {
        Ok(session) => {
            made = Some(session);
            Ok(true)
        }
        Err(error) if error.errno() == Errno::EEXIST => Ok(false),
        Err(error) => Err(error).context("create"),
    })?;
    made.context("no session")
}

fn tenant(boot: u64, passed: Vec<(String, OwnedFd)>) -> Result<()> {
    let mut passed = passed.into_iter();
    let stored = passed.find(|(label, _)| label == TENANT);
    let device = open().context("open")?;
    let session = match stored {
        Some((_, fd)) => Some(Session::from_fd(fd)),
        None => retrieve(&device)?,
    };
    match session {
        Some(session) => {
            println!("{ITS_SESSION}{}", session.name()?);
            if !take(&session, boot)? {
                bail!("its session has come, and nothing in it");
            }
            forget(TENANT)?;
        }
        None => println!("nothing has come"),
    }
    match device.prepare() {
        Ok(()) => bail!("it has prepared the machine"),
        Err(error) => println!("it may not prepare the machine: {error}"),
    }
    let session = create(&device)?;
    preserve(&session, boot)?;
    drop(device);
    keep(TENANT, session.try_clone()?.into_fd())?;
    ready()
}
