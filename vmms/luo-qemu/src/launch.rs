// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line that QEMU is started with, and its start.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::about::About;
use crate::exit::Error;
use crate::room::{NOWHERE, Record, Room, Way};

/// The name of the RAM among QEMU's objects; of nodes each has a number behind it.
pub const RAM: &str = "luo-ram";

/// A part of the RAM, as QEMU has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name among QEMU's objects.
    pub id: String,
    /// Where it begins in the memfd.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
}

/// The RAM in parts: one, or one for each node.
#[must_use]
pub fn parts(about: &About) -> Vec<Part> {
    if about.nodes.is_empty() {
        let (id, size) = (RAM.to_owned(), about.memory);
        let offset = 0;
        return vec![Part { id, offset, size }];
    }
    let mut end: u64 = 0;
    let parts = about.nodes.iter().enumerate().map(|(node, &size)| {
        let offset = end;
        end = end.saturating_add(size);
        let id = format!("{RAM}-{node}");
        Part { id, offset, size }
    });
    parts.collect()
}

/// The name of our control socket among QEMU's character devices.
const CONTROL: &str = "luo-qmp";

/// The RAM of a QEMU that is started.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// It is here.
    Here(&'a File),
    /// It will be at this path when somebody connects to QEMU's control socket.
    Coming(&'a str),
}

/// What follows the administrator's arguments. QEMU merges all its `-machine` options, and the
/// later word counts.
#[must_use]
pub fn arguments(about: &About, way: &Way, socket: &Path, resumes: bool) -> Vec<OsString> {
    let About {
        machine, memory, ..
    } = about;
    let (file, wait) = match way {
        Way::Inherits(ram) => (format!("/proc/self/fd/{ram}"), "off"),
        // QEMU opens its control socket before it opens its RAM.
        Way::Opens(path) => (path.clone(), "on"),
    };
    // In QEMU's options a comma is written as two.
    let socket = socket.display().to_string().replace(',', ",,");
    let backend = match about.nodes.is_empty() {
        true => format!(",memory-backend={RAM}"),
        // Each node has one.
        false => String::new(),
    };
    let mut arguments = vec![
        "-machine".to_owned(),
        format!("type={machine}{backend}"),
        "-m".to_owned(),
        format!("size={memory}B"),
    ];
    for (node, Part { id, offset, size }) in parts(about).into_iter().enumerate() {
        let at = match offset {
            0 => String::new(),
            offset => format!(",offset={offset}"),
        };
        arguments.extend([
            "-object".to_owned(),
            format!("memory-backend-file,id={id},size={size},mem-path={file}{at},share=on"),
        ]);
        if !about.nodes.is_empty() {
            arguments.extend([
                "-numa".to_owned(),
                format!("node,nodeid={node},memdev={id}"),
            ]);
        }
    }
    arguments.extend([
        "-chardev".to_owned(),
        format!("socket,id={CONTROL},path={socket},server=on,wait={wait}"),
        "-mon".to_owned(),
        format!("chardev={CONTROL},mode=control"),
    ]);
    if resumes {
        arguments.extend(["-incoming".to_owned(), "defer".to_owned()]);
    }
    arguments.into_iter().map(OsString::from).collect()
}

/// All arguments of QEMU.
#[must_use]
pub fn line(about: &About, way: &Way, socket: &Path, resumes: bool) -> Vec<OsString> {
    let own = about.arguments.iter().map(OsString::from);
    own.chain(arguments(about, way, socket, resumes)).collect()
}

/// Starts QEMU by these words, which its arguments follow. It inherits the lock that says that it
/// lives, and RAM that is here; how it was started is noted before, so that whoever finds the lock
/// taken finds that too.
///
/// # Errors
/// [`Error::System`].
pub fn start(
    about: &About,
    words: &[PathBuf],
    room: &Room,
    ram: Source<'_>,
    lock: File,
    resumes: bool,
) -> Result<Child, Error> {
    let copy = |file: &File| rustix::io::dup(file).map_err(Into::into);
    let Some((program, before)) = words.split_first() else {
        return Err(Error::Unfit("there is no QEMU to start".into()));
    };
    let failed = || Error::system(program.display().to_string());
    // A copy by dup(2) is inherited; it is closed here right after the start.
    let (ram, way) = match ram {
        Source::Here(ram) => {
            let ram = copy(ram).map_err(failed())?;
            let way = Way::Inherits(ram.as_raw_fd());
            (Some(ram), way)
        }
        Source::Coming(path) => (None, Way::Opens(path.to_owned())),
    };
    let lock_for_qemu = copy(&lock).map_err(failed())?;
    drop(lock);
    room.clear()?;
    room.note(&Record {
        about: about.clone(),
        // Where it is in a QEMU that opens it is seen later.
        ram: ram.as_ref().map_or(NOWHERE, AsRawFd::as_raw_fd),
        way: Some(way.clone()),
        devices: Vec::new(),
        words: None,
    })?;
    let mut command = Command::new(program);
    if let Some(kept) = about
        .kept
        .as_ref()
        .filter(|kept| program.starts_with(&kept.folder))
    {
        // Modules of another QEMU are refused by this one.
        command.env("QEMU_MODULE_DIR", &kept.folder);
    }
    let child = command
        .args(before)
        .args(line(about, &way, &room.socket(), resumes))
        .current_dir(&about.folder)
        .spawn();
    drop((ram, lock_for_qemu));
    child.map_err(failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_to_the_command_line_is_this() {
        let mut about = About {
            version: crate::about::VERSION,
            program: "qemu-system-x86_64".into(),
            qemu: String::new(),
            machine: "pc-q35-10.0".into(),
            memory: 1 << 28,
            nodes: Vec::new(),
            folder: "/".into(),
            arguments: Vec::new(),
            disks_in_memory: false,
            kept: None,
            tsc_khz: None,
        };
        let here = Way::Inherits(7);
        let words = arguments(&about, &here, Path::new("/run/luo-qemu/a,b/qmp"), true);
        let line = words.join(" ".as_ref()).into_string().unwrap();
        assert_eq!(
            line,
            "-machine type=pc-q35-10.0,memory-backend=luo-ram -m size=268435456B \
             -object memory-backend-file,id=luo-ram,size=268435456,mem-path=/proc/self/fd/7,share=on \
             -chardev socket,id=luo-qmp,path=/run/luo-qemu/a,,b/qmp,server=on,wait=off \
             -mon chardev=luo-qmp,mode=control -incoming defer"
        );
        let first = arguments(&about, &here, Path::new("/qmp"), false);
        assert_eq!(first.len() + 2, words.len());

        let coming = Way::Opens("/proc/4711/fd/9".into());
        let words = arguments(&about, &coming, Path::new("/qmp"), true);
        let line = words.join(" ".as_ref()).into_string().unwrap();
        assert!(line.contains("mem-path=/proc/4711/fd/9,"), "{line}");
        assert!(line.contains("path=/qmp,server=on,wait=on "), "{line}");

        about.nodes = vec![100 << 20, 156 << 20];
        let words = arguments(&about, &here, Path::new("/qmp"), false);
        let line = words.join(" ".as_ref()).into_string().unwrap();
        assert_eq!(
            line,
            "-machine type=pc-q35-10.0 -m size=268435456B \
             -object memory-backend-file,id=luo-ram-0,size=104857600,mem-path=/proc/self/fd/7,share=on \
             -numa node,nodeid=0,memdev=luo-ram-0 \
             -object memory-backend-file,id=luo-ram-1,size=163577856,mem-path=/proc/self/fd/7,\
             offset=104857600,share=on -numa node,nodeid=1,memdev=luo-ram-1 \
             -chardev socket,id=luo-qmp,path=/qmp,server=on,wait=off -mon chardev=luo-qmp,mode=control"
        );
    }
}
