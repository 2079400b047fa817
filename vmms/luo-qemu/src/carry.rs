// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of a guest's devices: from QEMU into preserved memory, and back.
//!
//! It goes through a pipe. QEMU could write to a file by itself, but it truncates the file, and
//! preserved memory keeps its size.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use luo_client::memory::Region;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::{Value, json};

use crate::exit::Error;
use crate::guest::Guest;
use crate::qmp::{self, left};
use crate::state::{HEAD, Head, LENGTH, MARK, MARKED};

/// The name by which QEMU knows its end of the pipe.
const PIPE: &str = "luo-state";

/// Between two looks at a migration. QEMU tells of its end by an event, which an older one or
/// another client may have turned off.
const PAUSE: Duration = Duration::from_millis(2);

/// Writes the guest's state into a region; gives its bytes. The guest stands still.
///
/// # Errors
/// [`Error::Qmp`] with QEMU's words, [`Error::System`] if there is no room for it.
pub fn save(guest: &mut Guest, to: &Region, ran: bool, end: Instant) -> Result<u64, Error> {
    prepare(guest, end)?;
    let failed = || Error::system("the pipe for the guest's state");
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|why| failed()(why.into()))?;
    give(guest, write, end)?;
    let uri = json!({"uri": format!("fd:{PIPE}")});
    guest.qmp().call("migrate", uri, end)?;
    let room = to.size().saturating_sub(HEAD);
    let stream = read_all(read, room, end)?;
    settled(guest, end)?;
    put(to, &stream, HEAD)?;
    remember(to, &Head::of(&stream, ran))?;
    Ok(stream.len() as u64)
}

/// Says that there is no state: the guest goes on, and what was written is no longer its state.
///
/// # Errors
/// [`Error::System`].
pub fn forget(region: &Region) -> Result<(), Error> {
    put(region, &[0; LENGTH], 0)?;
    put(region, &[0; MARKED], MARK)
}

/// Takes [`forget`] and [`mark_used`] back: the guest has not gone on.
///
/// # Errors
/// [`Error::System`].
pub fn remember(region: &Region, head: &Head) -> Result<(), Error> {
    put(region, &[0; MARKED], MARK)?;
    put(region, &head.encode(), 0)
}

fn put(to: &Region, bytes: &[u8], at: u64) -> Result<(), Error> {
    let written = to.file().write_all_at(bytes, at);
    written.map_err(Error::system("the guest's state"))
}

/// The head of the state in a region; `None` if there is no state.
///
/// # Errors
/// [`Error::State`], [`Error::System`].
pub fn head(region: &Region) -> Result<Option<Head>, Error> {
    let (mut bytes, mut mark) = ([0; LENGTH], [0; MARKED]);
    let file = region.file();
    let read = file
        .read_exact_at(&mut bytes, 0)
        .and_then(|()| file.read_exact_at(&mut mark, MARK));
    read.map_err(Error::system("the guest's state"))?;
    let room = region.size().saturating_sub(HEAD);
    Ok(Head::parse(&bytes, &mark, room)?)
}

/// The state in a region, if it is the one that was written.
///
/// # Errors
/// [`Error::State`], [`Error::System`].
pub fn stream(region: &Region, head: &Head) -> Result<Vec<u8>, Error> {
    // The head was bounded by the region's size.
    let mut stream = vec![0; usize::try_from(head.length).unwrap_or_default()];
    let read = region.file().read_exact_at(&mut stream, HEAD);
    read.map_err(Error::system("the guest's state"))?;
    head.check(&stream)?;
    Ok(stream)
}

/// Says that the guest goes on from this state.
///
/// # Errors
/// [`Error::System`].
pub fn mark_used(region: &Region, head: &Head) -> Result<(), Error> {
    put(region, &head.mark(), MARK)
}

/// Has a QEMU that waits take the state. The guest stands still afterwards.
///
/// # Errors
/// [`Error::NotResumed`] with QEMU's words.
pub fn load(guest: &mut Guest, stream: &[u8], end: Instant) -> Result<(), Error> {
    let refused = |why: Error| Error::NotResumed(why.to_string());
    feed(guest, stream, end).map_err(refused)
}

fn feed(guest: &mut Guest, stream: &[u8], end: Instant) -> Result<(), Error> {
    prepare(guest, end)?;
    let failed = || Error::system("the pipe for the guest's state");
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|why| failed()(why.into()))?;
    give(guest, read, end)?;
    let uri = json!({"uri": format!("fd:{PIPE}")});
    guest.qmp().call("migrate-incoming", uri, end)?;
    let written = write_all(write, stream, end);
    // What QEMU says of the state tells more than that it has closed the pipe.
    settled(guest, end)?;
    written
}

/// The mode and the capabilities, which QEMU does not keep over its own end.
fn prepare(guest: &mut Guest, end: Instant) -> Result<(), qmp::Error> {
    let mode = json!({"mode": "cpr-reboot"});
    guest.qmp().call("migrate-set-parameters", mode, end)?;
    let capabilities = json!({"capabilities": [{"capability": "x-ignore-shared", "state": true}]});
    let set = "migrate-set-capabilities";
    guest.qmp().call(set, capabilities, end).map(drop)
}

/// Gives QEMU its end of the pipe.
fn give(guest: &mut Guest, its: OwnedFd, end: Instant) -> Result<(), qmp::Error> {
    let name = json!({"fdname": PIPE});
    let fd = Some(its.as_fd());
    guest.qmp().call_with("getfd", name, fd, end).map(drop)
}

/// Waits until QEMU has done with the migration.
fn settled(guest: &mut Guest, end: Instant) -> Result<(), qmp::Error> {
    loop {
        let migration = guest.qmp().call("query-migrate", json!({}), end)?;
        let text = |key| migration.get(key).and_then(Value::as_str);
        match text("status") {
            Some("completed") => return Ok(()),
            Some(status @ ("failed" | "cancelled")) => {
                return Err(qmp::Error::Refused {
                    command: "migrate".into(),
                    why: text("error-desc").unwrap_or(status).to_owned(),
                });
            }
            _ if Instant::now() >= end => return Err(qmp::Error::Late("migrate".into())),
            _ => std::thread::sleep(PAUSE),
        }
    }
}

/// Reads to the end of the pipe.
fn read_all(pipe: OwnedFd, room: u64, end: Instant) -> Result<Vec<u8>, Error> {
    let failed = || Error::system("the guest's state");
    let mut stream = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        wait(&pipe, PollFlags::IN, end)?;
        match rustix::io::read(&pipe, &mut buffer) {
            Ok(0) => return Ok(stream),
            Ok(count) => stream.extend(buffer.iter().take(count)),
            Err(Errno::INTR) => {}
            Err(why) => return Err(failed()(why.into())),
        }
        if stream.len() as u64 > room {
            let what = format!(
                "the guest's state has more than {room} bytes: start it with a larger --state-size"
            );
            return Err(Error::system(what)(io::ErrorKind::FileTooLarge.into()));
        }
    }
}

fn write_all(pipe: OwnedFd, mut stream: &[u8], end: Instant) -> Result<(), Error> {
    let failed = || Error::system("the guest's state");
    ioctl_fionbio(&pipe, true).map_err(|why| failed()(why.into()))?;
    let pipe = File::from(pipe);
    while !stream.is_empty() {
        wait(&pipe, PollFlags::OUT, end)?;
        match rustix::io::write(&pipe, stream) {
            Ok(count) => stream = stream.get(count..).unwrap_or_default(),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(why) => return Err(failed()(why.into())),
        }
    }
    Ok(())
}

fn wait(pipe: impl AsFd, flags: PollFlags, end: Instant) -> Result<(), Error> {
    let mut fds = [PollFd::new(&pipe, flags)];
    match poll(&mut fds, Some(&left(end))) {
        Ok(0) => Err(qmp::Error::Late("migrate".into()).into()),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(why) => Err(Error::system("the guest's state")(why.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn what_is_longer_than_a_pipe_goes_through_it() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let stream: Vec<u8> = (0..400_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let copy = stream.clone();
        let writer = std::thread::spawn(move || write_all(write, &copy, soon()));
        assert_eq!(read_all(read, 400_000, soon()).unwrap(), stream);
        writer.join().unwrap().unwrap();
    }

    #[test]
    fn a_state_without_room_and_a_qemu_that_hangs_are_told() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::io::write(&write, &[1; 100]).unwrap();
        let why = read_all(read, 99, soon()).unwrap_err().to_string();
        assert!(why.contains("--state-size"), "{why}");

        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let late = read_all(read, 99, Instant::now()).unwrap_err();
        assert!(matches!(late, Error::Qmp(qmp::Error::Late(_))), "{late}");
        drop(write);

        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        drop(read);
        assert!(write_all(write, b"stream", soon()).is_err());
    }
}
