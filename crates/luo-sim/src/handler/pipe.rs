// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handler of pipes. They are made anew from what is handed over, as in the kernel.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use luo_abi::errno::Errno;
use luo_abi::note::{PACKETS, Pipe};
use luo_core::pipe::{Each, End, Facts, Pipes, TwoEnds};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, tee,
};

use crate::descriptor::File;
use crate::machine::Machine;
use crate::memfd::errno;

/// The handler.
pub(crate) static PIPES: TwoEnds<Nameless> = TwoEnds(Nameless);

/// Pipes without a name.
pub(crate) struct Nameless;

/// From `linux/magic.h`.
const PIPEFS_MAGIC: u64 = 0x5049_5045;

/// Bytes of a page.
const PAGE: usize = 4096;

/// Bytes that a new pipe may hold.
const USUAL: usize = 16 * PAGE;

fn find(file: &OwnedFd) -> Option<(u64, End)> {
    let magic = rustix::fs::fstatfs(file).ok()?.f_type as u64;
    let stat = rustix::fs::fstat(file).ok()?;
    let is_pipe = FileType::from_raw_mode(stat.st_mode) == FileType::Fifo && magic == PIPEFS_MAGIC;
    let access = rustix::fs::fcntl_getfl(file).ok()? & OFlags::ACCMODE;
    match access {
        OFlags::RDONLY if is_pipe => Some((stat.st_ino, End::Read)),
        OFlags::WRONLY if is_pipe => Some((stat.st_ino, End::Write)),
        _ => None,
    }
}

/// Parts of a stream, and packets.
type Parts = Vec<(Vec<u8>, bool)>;

/// The size of a pipe in bytes, and what it holds, which stays there.
fn look(file: &OwnedFd) -> Result<(usize, Parts), Errno> {
    let size = fcntl_getpipe_size(file).map_err(errno)?;
    // Of this thread: the process has other descriptors.
    let path = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let reads = rustix::fs::open(path, flags, Mode::empty()).map_err(errno)?;
    // Pieces from elsewhere may be larger than a page; all of it would not fit.
    if rustix::io::ioctl_fionread(&reads).map_err(errno)? > size as u64 {
        return Err(Errno::EFBIG);
    }
    let flags = PipeFlags::NONBLOCK | PipeFlags::CLOEXEC;
    let (copy, into) = pipe_with(flags).map_err(errno)?;
    fcntl_setpipe_size(&into, size).map_err(errno)?;
    match tee(&reads, &into, size, SpliceFlags::NONBLOCK) {
        Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
        Err(why) => return Err(errno(why)),
    }
    let mut parts = Parts::new();
    // A read ends where a packet does.
    let mut bytes = vec![0; size];
    loop {
        let read = match rustix::io::read(&copy, &mut bytes) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok((size, parts)),
            Ok(read) => read,
            Err(why) => return Err(errno(why)),
        };
        let more = rustix::io::ioctl_fionread(&copy).map_err(errno)?;
        let is_packet = (more > 0 || is_packets(file)) && read <= PAGE;
        let pages = bytes[..read].chunks(PAGE);
        parts.extend(pages.map(|part| (part.to_vec(), is_packet)));
    }
}

/// Pauses that are waited for the size of a pipe.
const FEW: u32 = 10;

/// Whether writes to a file are packets.
fn is_packets(file: &OwnedFd) -> bool {
    rustix::fs::fcntl_getfl(file).is_ok_and(|flags| flags.contains(OFlags::DIRECT))
}

fn set(file: &OwnedFd, flag: OFlags, is_set: bool) -> Result<(), Errno> {
    let mut flags = rustix::fs::fcntl_getfl(file).map_err(errno)?;
    flags.set(flag, is_set);
    rustix::fs::fcntl_setfl(file, flags).map_err(errno)
}

impl Pipes<Machine> for Nameless {
    fn find(&self, _: &Machine, file: &File) -> Option<(u64, End)> {
        find(file)
    }

    fn facts(&self, machine: &Machine, file: &File) -> Result<Facts, Errno> {
        let (pipe, _) = find(file).ok_or(Errno::EINVAL)?;
        let flags = rustix::fs::fcntl_getfl(file).map_err(errno)?;
        let own = Arc::clone(file);
        let size = move || {
            let size = fcntl_getpipe_size(&*own).map_err(errno)?;
            // One of notifications has the size that it has.
            match fcntl_setpipe_size(&*own, size) {
                Err(rustix::io::Errno::BUSY) => Err(Errno::EOPNOTSUPP),
                _ => Ok(size),
            }
        };
        let size = machine.lookers.within(pipe, &mut { FEW }, size);
        Ok(Facts {
            // Of one that somebody has locked the size that it was made with.
            slots: size.unwrap_or(Ok(USUAL))? as u64 / PAGE as u64,
            nonblock: flags.contains(OFlags::NONBLOCK),
            packets: flags.contains(OFlags::DIRECT),
        })
    }

    fn look(
        &self,
        machine: &Machine,
        file: &File,
        patience: &mut u32,
        each: &mut Each<'_>,
    ) -> Result<u64, Errno> {
        let (pipe, _) = find(file).ok_or(Errno::EINVAL)?;
        let own = Arc::clone(file);
        let looked = machine.lookers.within(pipe, patience, move || look(&own));
        let (size, parts) = looked??;
        for (part, is_packet) in &parts {
            each(part, *is_packet);
        }
        Ok((size / PAGE) as u64)
    }

    fn make(&self, _: &Machine, note: &Pipe) -> Result<(File, File), Errno> {
        let (reads, writes) = pipe_with(PipeFlags::CLOEXEC).map_err(errno)?;
        let size = usize::try_from(note.slots).map_err(|_| Errno::EINVAL)? * PAGE;
        fcntl_setpipe_size(&writes, size).map_err(errno)?;
        set(&writes, OFlags::DIRECT, note.flags & PACKETS != 0)?;
        Ok((Arc::new(reads.into()), Arc::new(writes.into())))
    }

    fn put(&self, _: &Machine, write: &File, bytes: &[u8], is_packet: bool) -> Result<(), Errno> {
        let before = is_packets(write);
        set(write, OFlags::DIRECT, is_packet)?;
        // There is room, so it waits for nobody; where there is none it does not either.
        set(write, OFlags::NONBLOCK, true)?;
        let written = rustix::io::write(write, bytes).map_err(errno);
        set(write, OFlags::NONBLOCK, false)?;
        set(write, OFlags::DIRECT, before)?;
        match written? {
            all if all == bytes.len() => Ok(()),
            _ => Err(Errno::ENOMEM),
        }
    }

    fn set_nonblock(&self, _: &Machine, file: &File) {
        let _ = set(file, OFlags::NONBLOCK, true);
    }
}
