// SPDX-License-Identifier: MIT OR Apache-2.0
//! The peer's messages, byte by byte, written from the description of the protocol and not with
//! the code that it is to prove. What goes over the wire is recorded.

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

pub(super) const START: u8 = 1;
pub(super) const CONFIG: u8 = 2;
pub(super) const STATE: u8 = 3;
pub(super) const COMPLETE: u8 = 5;
pub(super) const MEMORY_FD: u8 = 7;
pub(super) const COMPLETE_PAUSED: u8 = 8;

/// A wire, and where what goes over it is written down.
pub(super) struct Wire {
    stream: UnixStream,
    record: Option<PathBuf>,
}

impl Wire {
    pub(super) fn new(stream: UnixStream, record: Option<PathBuf>) -> Self {
        Self { stream, record }
    }

    /// Sends a request and what follows it; gives whether the answer is yes.
    pub(super) fn ask(&mut self, command: u8, own: u8, bytes: &[u8]) -> Result<bool> {
        let mut header = [0; 16];
        header[0] = command;
        header[2] = own;
        header[8..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.stream.write_all(&header)?;
        self.note('>', &header)?;
        if !bytes.is_empty() {
            self.stream.write_all(bytes)?;
            self.note('>', bytes)?;
        }
        self.answered()
    }

    /// Sends a slot of memory; gives whether the answer is yes.
    pub(super) fn ask_slot(&mut self, slot: u32, memory: &File) -> Result<bool> {
        let header = [MEMORY_FD, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0];
        self.stream.write_all(&header)?;
        self.note('>', &header)?;
        let fds = [memory.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ensure!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        let bytes = slot.to_le_bytes();
        let parts = [IoSlice::new(&bytes)];
        sendmsg(&self.stream, &parts, &mut ancillary, SendFlags::empty())?;
        self.note('>', &bytes)?;
        self.answered()
    }

    fn answered(&mut self) -> Result<bool> {
        let mut header = [0; 16];
        self.stream.read_exact(&mut header)?;
        self.note('<', &header)?;
        Ok(header == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// Reads a request: its command, and what follows it.
    pub(super) fn read(&mut self) -> Result<(u8, Vec<u8>, Option<OwnedFd>)> {
        let mut header = [0; 16];
        self.stream.read_exact(&mut header)?;
        self.note('<', &header)?;
        let (command, length) = (header[0], u64::from_le_bytes(header[8..].try_into()?));
        let mut bytes = vec![0; usize::try_from(length)?];
        let mut fd = None;
        if command == MEMORY_FD {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut bytes)];
            recvmsg(&self.stream, &mut parts, &mut ancillary, RecvFlags::empty())?;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(mut fds) = message {
                    fd = fds.next();
                }
            }
        } else {
            self.stream.read_exact(&mut bytes)?;
        }
        if !bytes.is_empty() {
            self.note('<', &bytes)?;
        }
        Ok((command, bytes, fd))
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, good: bool) -> Result<()> {
        let status = if good { 1 } else { 2 };
        let header = [status, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.stream.write_all(&header)?;
        self.note('>', &header)
    }

    /// Reads a request that has to be this one.
    pub(super) fn expect(&mut self, wanted: u8) -> Result<(Vec<u8>, Option<OwnedFd>)> {
        let (command, bytes, fd) = self.read()?;
        if command != wanted {
            bail!("command {command} where {wanted} is to be");
        }
        Ok((bytes, fd))
    }

    /// Writes down what went over the wire. A count that differs from run to run is left out.
    fn note(&self, way: char, bytes: &[u8]) -> Result<()> {
        let Some(path) = &self.record else {
            return Ok(());
        };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let text = match bytes.first() {
            Some(b'{') => String::from_utf8(bytes.to_vec()).context("JSON is text")?,
            _ => {
                let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                hex.join(" ")
            }
        };
        Ok(writeln!(file, "{way} {}", without_counts(&text))?)
    }
}

/// A text with a star in place of what stands behind a count.
fn without_counts(text: &str) -> String {
    match text.split_once("\"count\":\"") {
        Some((before, behind)) => {
            let rest = behind.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}\"count\":\"*{rest}")
        }
        None => text.to_owned(),
    }
}
