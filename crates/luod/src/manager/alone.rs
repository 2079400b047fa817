// SPDX-License-Identifier: MIT OR Apache-2.0
//! There is one agent for a kernel, and one for a folder of sockets.
//!
//! A second agent in the folder would take an update of the first for an interrupted one, and
//! cancel it. A second one in another folder would jump without asking the workloads of the
//! first. So each locks two files: one in its folder, and one beside the device, which is the
//! kernel's own ([`LOCK_PATH`]). Where there is no device there is nothing to jump with, and no
//! such file. Each file says who has locked it.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use luo_sys::LOCK_PATH;
use rustix::fs::{FlockOperation, OFlags, flock};

/// The device that the agent of a kernel works with.
const DEVICE: &str = "/dev/liveupdate";

/// How long an earlier process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long if it has another folder: that is no restart, but a mistake. A moment it gets, for
/// what stands in a file is of an earlier agent until a new one has written there.
const MOMENT: Duration = Duration::from_secs(1);

/// How often it is tried in that time.
const AGAIN: Duration = Duration::from_millis(20);

/// Bytes of what a file says of who has locked it.
const MAX_TEXT: u64 = 8192;

/// Keeps other agents out until it is dropped.
pub struct Alone {
    _locked: Vec<File>,
}

/// Who has locked a file.
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

/// How a message calls it.
fn name(owner: Option<&Owner>) -> String {
    match owner {
        Some(Owner { process, folder }) => {
            format!("another luod, process {process} in {},", folder.display())
        }
        None => "another luod".to_owned(),
    }
}

/// Waits until no other agent is there, for some seconds at most, and keeps others out then.
///
/// # Errors
/// Another agent does not end; a file cannot be locked.
pub async fn alone(runtime: &Path) -> Result<Alone> {
    std::fs::create_dir_all(runtime).with_context(|| runtime.display().to_string())?;
    let own = Owner {
        process: std::process::id(),
        // However it is written.
        folder: runtime.canonicalize()?,
    };
    let mut paths = vec![own.folder.join(".lock")];
    if Path::new(DEVICE).exists() {
        paths.push(LOCK_PATH.into());
    }
    let begun = Instant::now();
    let mut locked = Vec::new();
    for path in paths {
        let file = lock(&path, &own.folder, begun).await?;
        write(&file, &own.text()).with_context(|| path.display().to_string())?;
        locked.push(file);
    }
    Ok(Alone { _locked: locked })
}

/// Locks a file, which is made if it is not there, for an agent of this folder.
async fn lock(path: &Path, folder: &Path, begun: Instant) -> Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32);
    let file = options.open(path).with_context(|| {
        let path = path.display();
        format!("{path}, which luod locks so that there is one for a kernel, has to be writable")
    })?;
    let mut is_told = false;
    while let Err(why) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if why != rustix::io::Errno::WOULDBLOCK {
            return Err(why).with_context(|| path.display().to_string());
        }
        let owner = read(&file).ok().and_then(|text| Owner::parse(&text));
        let other = name(owner.as_ref());
        let is_elsewhere = owner.as_ref().is_some_and(|owner| owner.folder != folder);
        let patience = if is_elsewhere { MOMENT } else { PATIENCE };
        if begun.elapsed() > patience {
            let kill = owner.map(|owner| format!(", or `kill {}`", owner.process));
            let kill = kill.unwrap_or_default();
            bail!(
                "{other} runs, and has not ended: end it first (`systemctl stop luod`{kill}). \
                 There is one for a kernel, whatever its folder: another would jump without \
                 asking the workloads of this one"
            );
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

/// What stood there was of an earlier agent.
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
            name(Some(&owner)),
            "another luod, process 7 in /run/a folder,"
        );
        for text in ["", "7", "7\n", "x\n/run\n", "7\n/ru"] {
            assert_eq!(Owner::parse(text), None, "{text:?}");
        }
        assert_eq!(name(None), "another luod");
    }
}
