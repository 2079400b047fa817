// SPDX-License-Identifier: MIT OR Apache-2.0
//! There is one agent for a kernel, and one for a folder of sockets.
//!
//! A second agent in the folder would take an update of the first for an interrupted one, and
//! cancel it. A second one in another folder would jump without asking the workloads of the
//! first. So each locks two files: one in its folder, and one beside the device, which is the
//! kernel's own ([`LOCK_PATH`]). Where there is no device there is nothing to jump with, and no
//! such file. Each file says who has locked it.
//!
//! A call of the kernel that fails for want of something says nothing of others: it is made again for
//! ten seconds. A second agent waits for some seconds, for the first may be about to end. A second supervisor
//! does not begin: whoever restarts one waits for its end. An agent whose supervisor has died runs
//! on, and alone has what was left with it: the next supervisor of the folder takes it over.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use luo_sys::LOCK_PATH;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::protocol::{SOCKET, STORE_FILE};
use crate::decide::unwritable::unwritable;

/// The device that the agent of a kernel works with.
const DEVICE: &str = "/dev/liveupdate";

/// How long an earlier process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long if it has another folder: that is no restart, but a mistake. A moment it gets, for
/// what stands in a file is of an earlier agent until a new one has written there.
const MOMENT: Duration = Duration::from_secs(1);

/// How often it is tried in that time.
const AGAIN: Duration = Duration::from_millis(20);

/// How often a call is made again that has failed for want of something.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether a call may succeed in a moment: something is short, or was in the way.
fn may_pass(why: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(why),
        Some(
            Errno::NOMEM
                | Errno::NFILE
                | Errno::MFILE
                | Errno::NOBUFS
                | Errno::AGAIN
                | Errno::INTR
                | Errno::BUSY
                | Errno::IO
        )
    )
}

/// Makes calls again, for as long as [`PATIENCE`], that fail for want of something.
fn again<T>(calls: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        match calls() {
            Err(why) if may_pass(&why) && begun.elapsed() < PATIENCE => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!("{}", tries_again(&why));
                }
                std::thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

fn tries_again(why: &io::Error) -> String {
    format!(
        "whether another luod runs cannot be found out: {why}. It is tried again for {} s",
        PATIENCE.as_secs()
    )
}

/// Bytes of what a file says of who has locked it.
const MAX_TEXT: u64 = 8192;

/// Keeps other agents out until it is dropped.
pub struct Alone {
    _locked: Vec<File>,
}

/// The process that has locked a file.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    process: u32,
    folder: PathBuf,
}

impl Owner {
    fn text(&self) -> String {
        format!("{}\n{}\n", self.process, self.folder.display())
    }

    /// `None` while it has not been written: it is right after the lock.
    fn parse(text: &str) -> Option<Self> {
        let (process, folder) = text.strip_suffix('\n')?.split_once('\n')?;
        Some(Self {
            process: process.parse().ok()?,
            folder: folder.into(),
        })
    }
}

/// The words for an agent and for a supervisor in a message.
const AGENT: &str = "luod";
const SUPERVISOR: &str = "luod supervise";

/// How a message calls it.
fn name(what: &str, owner: Option<&Owner>) -> String {
    match owner {
        Some(Owner { process, folder }) => {
            format!("another {what}, process {process} in {},", folder.display())
        }
        None => format!("another {what}"),
    }
}

/// Why no other can begin.
fn in_the_way(what: &str, owner: Option<&Owner>) -> String {
    let other = name(what, owner);
    let kill = owner.map(|owner| format!(", or `kill {}`", owner.process));
    let kill = kill.unwrap_or_default();
    format!(
        "{other} runs, and there is one for a kernel, whatever its folder: end it first \
         (`systemctl stop luod`{kill}), for a second one would jump without asking its workloads. \
         Look at `luoctl sessions` before: what luod alone has goes with it, where no service \
         manager keeps it"
    )
}

/// An agent whose supervisor has died.
pub(super) struct Orphan {
    /// Its process.
    pub(super) process: Pid,
    /// The same, which is nobody else's when it has ended: then it can be read.
    pub(super) handle: OwnedFd,
}

/// Keeps other supervisors out of a folder until it is dropped. There may be an agent there whose
/// supervisor has died.
///
/// # Errors
/// One is there, or an agent that has another one or none; or it cannot be found out in time.
pub(super) fn supervises(runtime: &Path) -> io::Result<(Alone, Option<Orphan>)> {
    again(|| try_to_supervise(runtime))
}

fn try_to_supervise(runtime: &Path) -> io::Result<(Alone, Option<Orphan>)> {
    fs::create_dir_all(runtime)?;
    let own = Owner {
        process: std::process::id(),
        folder: runtime.canonicalize()?,
    };
    let path = own.folder.join(".supervise.lock");
    let file = open(&path)?;
    if let Some(owner) = has_locked(&file, FlockOperation::NonBlockingLockExclusive)? {
        return Err(io::Error::other(in_the_way(SUPERVISOR, owner.as_ref())));
    }
    if let Err(why) = write(&file, &own.text()) {
        tracing::warn!("{}: {}", path.display(), untold(&why));
    }
    let alone = Alone {
        _locked: vec![file],
    };
    let Some(agent) = agent_of(&own.folder)? else {
        return Ok((alone, None));
    };
    match orphan(&own.folder, agent.as_ref()) {
        Some(orphan) => Ok((alone, Some(orphan))),
        None => Err(io::Error::other(in_the_way(AGENT, agent.as_ref()))),
    }
}

/// An agent of a folder, if a supervisor of that folder had started it. None may be there now.
fn orphan(folder: &Path, agent: Option<&Owner>) -> Option<Orphan> {
    let agent = agent.filter(|agent| agent.folder == folder)?;
    let process = Pid::from_raw(i32::try_from(agent.process).ok()?)?;
    let handle = pidfd_open(process, PidfdFlags::empty()).ok()?;
    // It is there still, so the handle is not of another process that has got its number.
    let is_there = agent_of(folder).is_ok_and(|now| now.flatten().as_ref() == Some(agent));
    let is_ours = fetches_from(process).is_some_and(|path| path == folder.join(STORE_FILE));
    (is_there && is_ours).then_some(Orphan { process, handle })
}

/// From where an agent would have fetched what its supervisor kept; nothing if it has none.
fn fetches_from(process: Pid) -> Option<PathBuf> {
    let process = PathBuf::from(format!("/proc/{}", process.as_raw_nonzero()));
    let variables = fs::read(process.join("environ")).ok()?;
    let mut variables = variables.split(|byte| *byte == 0);
    let path = variables.find_map(|line| {
        let value = line.strip_prefix(SOCKET.as_bytes())?;
        value.strip_prefix(b"=")
    })?;
    // It may stand there as it was written, from where the process is.
    let path = process.join("cwd").join(OsStr::from_bytes(path));
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

/// That no agent is there, in this folder or in another one with the same kernel.
///
/// # Errors
/// One is; or it cannot be found out in time.
pub fn has_no_agent(runtime: &Path) -> io::Result<()> {
    match again(|| agent_of(&runtime.canonicalize()?))? {
        None => Ok(()),
        Some(owner) => Err(io::Error::other(in_the_way(AGENT, owner.as_ref()))),
    }
}

/// The agent that is there, in this folder or in another one with the same kernel.
fn agent_of(folder: &Path) -> io::Result<Option<Option<Owner>>> {
    // That of the kernel first: it may be another one's.
    for path in paths(folder)?.into_iter().rev() {
        let file = match File::open(&path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
            file => file.map_err(|why| named(&path, why))?,
        };
        // It is let go of at once, and others may look at the same time.
        if let Some(owner) = has_locked(&file, FlockOperation::NonBlockingLockShared)? {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}

/// An error with the file that it is of; but for one that may pass, which is known by its number.
fn named(path: &Path, why: io::Error) -> io::Error {
    match may_pass(&why) {
        true => why,
        false => io::Error::new(why.kind(), format!("{}: {why}", path.display())),
    }
}

/// Locks a file, or says who has: that may not stand there yet.
fn has_locked(file: &File, how: FlockOperation) -> io::Result<Option<Option<Owner>>> {
    match flock(file, how) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => {
            let text = read(file).ok();
            Ok(Some(text.and_then(|text| Owner::parse(&text))))
        }
        Err(why) => Err(why.into()),
    }
}

/// The files that an agent of a folder locks.
fn paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = vec![folder.join(".lock")];
    // One that cannot be looked at may be there.
    if Path::new(DEVICE).try_exists()? {
        paths.push(LOCK_PATH.into());
    }
    Ok(paths)
}

/// Opens a file to be locked, and makes it if it is not there.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32);
    options.open(path)
}

/// Waits until no other agent is there, for some seconds at most, and keeps others out then.
///
/// # Errors
/// Another agent does not end; a file cannot be locked.
pub async fn alone(runtime: &Path) -> Result<Alone> {
    fs::create_dir_all(runtime).with_context(|| runtime.display().to_string())?;
    let own = Owner {
        process: std::process::id(),
        // However it is written.
        folder: runtime.canonicalize()?,
    };
    let begun = Instant::now();
    let mut locked = Vec::new();
    for path in in_time(begun, || paths(&own.folder)).await? {
        let file = lock(&path, &own.folder, begun).await?;
        if let Err(why) = write(&file, &own.text()) {
            tracing::warn!("{}: {}", path.display(), untold(&why));
        }
        locked.push(file);
    }
    Ok(Alone { _locked: locked })
}

/// As [`again`], for an agent that may be told to end meanwhile.
async fn in_time<T>(begun: Instant, calls: impl Fn() -> io::Result<T>) -> io::Result<T> {
    loop {
        match calls() {
            Err(why) if may_pass(&why) && begun.elapsed() < PATIENCE => {
                tracing::debug!("{}", tries_again(&why));
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Locks a file, which is made if it is not there, for an agent of this folder.
async fn lock(path: &Path, folder: &Path, begun: Instant) -> Result<File> {
    let file = in_time(begun, || open(path)).await.with_context(|| {
        let path = path.display();
        format!("{path}, which luod locks so that there is one for a kernel, has to be writable")
    })?;
    let mut is_told = false;
    while let Err(why) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if why != Errno::WOULDBLOCK {
            return Err(why).with_context(|| path.display().to_string());
        }
        let owner = read(&file).ok().and_then(|text| Owner::parse(&text));
        let other = name(AGENT, owner.as_ref());
        let is_elsewhere = owner.as_ref().is_some_and(|owner| owner.folder != folder);
        let patience = if is_elsewhere { MOMENT } else { PATIENCE };
        if begun.elapsed() > patience {
            bail!(in_the_way(AGENT, owner.as_ref()));
        }
        if !std::mem::replace(&mut is_told, true) {
            tracing::warn!(
                "{other} runs: its end is waited for, {} s at most",
                patience.as_secs()
            );
        }
        tokio::time::sleep(AGAIN).await;
    }
    Ok(file)
}

fn read(mut file: &File) -> io::Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.take(MAX_TEXT).read_to_string(&mut text)?;
    Ok(text)
}

/// The words where it cannot be told which process has locked a file. It is locked all the same.
fn untold(why: &io::Error) -> String {
    let why = why.to_string();
    let remedy = unwritable(&why, "make room there");
    format!("another luod could not be told which process this is: {why}: {remedy}")
}

/// Any text that stood there was of an earlier agent.
fn write(mut file: &File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_locked_a_file_is_told() {
        let owner = Owner {
            process: 7,
            folder: "/run/a folder".into(),
        };
        assert_eq!(Owner::parse(&owner.text()).as_ref(), Some(&owner));
        assert_eq!(
            name(AGENT, Some(&owner)),
            "another luod, process 7 in /run/a folder,"
        );
        for text in ["", "7", "7\n", "x\n/run\n", "7\n/ru"] {
            assert_eq!(Owner::parse(text), None, "{text:?}");
        }
        assert_eq!(name(AGENT, None), "another luod");
    }

    #[test]
    fn what_fails_for_want_of_memory_is_tried_again() {
        let failures = [Errno::NOMEM, Errno::NFILE, Errno::INTR];
        let mut failures = failures.into_iter();
        let left = std::cell::RefCell::new(&mut failures);
        let tried = again(|| match left.borrow_mut().next() {
            Some(why) => Err(why.into()),
            None => Ok(7),
        });
        assert_eq!(tried.unwrap(), 7);
        // The file's name changes nothing about that, and stands with what does not pass.
        assert!(may_pass(&named(Path::new("/x"), Errno::NOMEM.into())));
        let why = named(Path::new("/dev/it.lock"), Errno::ACCESS.into());
        assert_eq!(why.kind(), io::ErrorKind::PermissionDenied);
        assert!(why.to_string().starts_with("/dev/it.lock: "), "{why}");
        // Not what stays as it is, nor that another one runs.
        for why in [Errno::ACCESS.into(), io::Error::other("another luod runs")] {
            let is_told = std::cell::Cell::new(0);
            let why = std::cell::Cell::new(Some(why));
            let tried = again(|| {
                is_told.set(is_told.get() + 1);
                why.take().map_or(Ok(()), Err)
            });
            assert!(tried.is_err() && is_told.get() == 1);
        }
    }
}
