// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handler of pipes. They are made anew from what is handed over, as in the kernel.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use luo_abi::errno::Errno;
use luo_abi::note::{PACKETS, Pipe};
use luo_core::pipe::{Each, End, Facts, PAUSE_MILLIS, Pipes, TwoEnds};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, tee,
};

use crate::lock::lock;
use crate::machine::Machine;
use crate::memfd::{File, errno};

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

/// Threads that look at pipes, by those. Whoever writes to a pipe has it locked for as long as
/// its memory takes, and here even a look at the size waits for that, with no way to end it. So
/// each is done by a thread of its own, one for a pipe, which stays behind if it takes too long.
#[derive(Default)]
pub(crate) struct Lookers(Mutex<BTreeSet<u64>>);

const PAUSE: Duration = Duration::from_millis(PAUSE_MILLIS as u64);

/// Pauses that are waited for the size of a pipe.
const FEW: u32 = 10;

impl Lookers {
    /// Does something with a pipe for so many pauses at most, and takes those that it took.
    ///
    /// # Errors
    /// EBUSY at the end of them.
    fn within<T: Send + 'static>(
        self: &Arc<Self>,
        pipe: u64,
        patience: &mut u32,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Errno> {
        let begun = Instant::now();
        let end = begun + PAUSE * (*patience).max(1);
        let done = self.until(pipe, end, work);
        let took = begun.elapsed().as_millis() / PAUSE.as_millis();
        *patience = patience.saturating_sub(u32::try_from(took).unwrap_or(u32::MAX));
        done.ok_or(Errno::EBUSY)
    }

    fn until<T: Send + 'static>(
        self: &Arc<Self>,
        pipe: u64,
        end: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let left = || end.saturating_duration_since(Instant::now());
        while !lock(&self.0).insert(pipe) {
            if left().is_zero() {
                return None;
            }
            thread::sleep(left().min(PAUSE));
        }
        let (tell, told) = mpsc::channel();
        let own = Arc::clone(self);
        thread::spawn(move || {
            let done = work();
            lock(&own.0).remove(&pipe);
            // Nobody may wait for it any more.
            let _ = tell.send(done);
        });
        told.recv_timeout(left()).ok()
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that stays behind keeps others from its pipe alone.
    #[test]
    fn a_look_has_an_end() {
        let lookers = Arc::new(Lookers::default());
        let (go, wait) = mpsc::channel::<()>();
        let mut patience = 3;
        let stuck = lookers.within(1, &mut patience, move || wait.recv());
        assert_eq!((stuck.err(), patience), (Some(Errno::EBUSY), 0));
        assert_eq!(lookers.within(2, &mut 200, || 7), Ok(7));
        assert_eq!(lookers.within(1, &mut 1, || 7), Err(Errno::EBUSY));
        drop(go);
        let mut patience = 2000;
        assert_eq!(lookers.within(1, &mut patience, || 7), Ok(7));
        assert!(patience > 0);
    }
}
