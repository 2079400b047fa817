// SPDX-License-Identifier: MIT OR Apache-2.0
//! A workload that takes files over a jump, where the folder of a scene is in memory and does not
//! come along. The guest needs it, so it stands still after the guest, when all that the guest
//! has said is in its file, and is back before the guest is.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use luo_client::SessionName;
use luo_client::agent::{self, Agent, EventKind, Workload};
use luo_client::memory::{Region, Regions};
use luo_scenes::stage::Stage;
use luo_varlink::paths;

use crate::ticks;

/// The argument that makes a process the keeper, and the name of its workload.
pub const ARGUMENT: &str = "keeper";

/// The files of each guest: what it has said, what `luo-qemu` or `luo-vmm` has, and when it stopped.
pub const FILES: [&str; 4] = ["serial", "luo-qemu.log", "luo-vmm.log", ticks::FILE];

/// Bytes that one of them may have.
pub const ROOM: u64 = 1 << 20;

/// A file that is kept beside them, and the bytes that it may have.
pub(crate) type More = (String, u64);

/// Where a file begins, behind its length.
const HEAD: u64 = 8;

/// How long it waits for an agent that was lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// A keeper that runs.
pub(crate) struct Keeper(Child);

impl Keeper {
    /// Starts one for a stage, and waits until the files of the boot before are there.
    pub(crate) fn start(stage: &Stage, more: &[More]) -> Result<Self> {
        let more = more.iter().map(|(file, room)| format!("{room} {file}"));
        let mut keeper = Command::new("/proc/self/exe")
            .arg(ARGUMENT)
            .arg(stage.folder())
            .args(more)
            .env(paths::RUNTIME_VARIABLE, stage.runtime())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the keeper")?;
        let mut line = String::new();
        let out = keeper.stdout.take().context("its output")?;
        BufReader::new(out).read_line(&mut line)?;
        ensure!(line == "ready\n", "the keeper said: {line}");
        Ok(Self(keeper))
    }

    /// Ends it.
    pub(crate) fn end(mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

/// Keeps the files of a folder, until it is killed. It says a line once they are there.
///
/// # Errors
/// The agent, or a file; an argument that names no file.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let folder = PathBuf::from(arguments.next().context("no folder is named")?);
    let folder = folder.as_path();
    let name = SessionName::new(ARGUMENT)?;
    let mut workload = Agent::connect()?.register(ARGUMENT, &[])?;
    if workload
        .registered()
        .claimable
        .contains(&ARGUMENT.to_owned())
    {
        put_back(&mut workload, &name, folder)?;
    }
    let mut regions = Regions::new();
    for file in FILES {
        regions.create(file, ROOM)?;
    }
    for argument in arguments {
        let (room, file) = argument
            .to_str()
            .and_then(|text| text.split_once(' '))
            .context("a file")?;
        regions.create(file, room.parse()?)?;
    }
    let session = workload.create_session(&name)?;
    regions.preserve_into(&session)?;
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    out.flush()?;
    loop {
        let event = match workload.next_event() {
            Ok(event) => event,
            Err(why) if why.is_lost_agent() => {
                workload.reconnect(PATIENCE)?;
                continue;
            }
            Err(why) => return Err(why.into()),
        };
        if event.kind == EventKind::Freeze {
            for (file, region) in regions.iter() {
                let path = folder.join(file);
                if path.exists() {
                    keep(region, &path)?;
                }
            }
        }
        if event.kind != EventKind::Cancel {
            match workload.ready(&event) {
                // The update is off: the next event says so.
                Ok(()) | Err(agent::Error::Refused(_)) => {}
                Err(why) => return Err(why.into()),
            }
        }
    }
}

fn put_back(workload: &mut Workload, name: &SessionName, folder: &Path) -> Result<()> {
    let claim = workload.claim(name)?;
    let regions = Regions::restore_from(&claim.session)?;
    for (file, region) in regions.iter() {
        let mut length = [0; 8];
        region.file().read_exact_at(&mut length, 0)?;
        if length == [0; 8] {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(u64::from_le_bytes(length))?];
        region.file().read_exact_at(&mut bytes, HEAD)?;
        let path = folder.join(file);
        fs::create_dir_all(path.parent().context("its folder")?)?;
        fs::write(path, bytes)?;
    }
    workload.restored()?;
    workload.finish_session(name)?;
    Ok(())
}

fn keep(region: &Region, path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    if bytes.len() as u64 > region.size() - HEAD {
        bail!("{} has {} bytes", path.display(), bytes.len());
    }
    region.file().write_all_at(&bytes, HEAD)?;
    let length = (bytes.len() as u64).to_le_bytes();
    Ok(region.file().write_all_at(&length, 0)?)
}
