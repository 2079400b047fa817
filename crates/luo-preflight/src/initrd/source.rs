// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading an initrd from its beginning to its end, once, with the place that was reached.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Tells a reader in another thread that nobody waits for it any more.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends the reading; what has ended already does not mind.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn heed(&self) -> io::Result<()> {
        match self.is_stopped() {
            // Not `Interrupted`: decompressors would try again.
            true => Err(io::Error::other("it was not read to its end")),
            false => Ok(()),
        }
    }
}

/// The bytes of a file up to a place, wherever others read in it.
#[derive(Debug)]
pub(super) struct Part<'f> {
    pub(super) file: &'f File,
    pub(super) at: u64,
    pub(super) end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        let count = match buffer.get_mut(..room) {
            Some(buffer) => self.file.read_at(buffer, self.at)?,
            None => 0,
        };
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

/// A source that knows how far it was read, and can look ahead. Nothing is read twice.
#[derive(Debug)]
pub(super) struct Source<R> {
    inner: R,
    stop: Stop,
    ahead: Vec<u8>,
    /// Bytes of `ahead` that were taken.
    taken: usize,
    position: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(inner: R, stop: Stop) -> Self {
        Self {
            inner,
            stop,
            ahead: Vec::new(),
            taken: 0,
            position: 0,
        }
    }

    /// Bytes that were taken.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    fn rest(&self) -> &[u8] {
        self.ahead.get(self.taken..).unwrap_or_default()
    }

    /// The next bytes, so many or more; fewer only at the end.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.rest().len() < count {
            self.stop.heed()?;
            self.ahead.drain(..self.taken);
            self.taken = 0;
            let more = self.ahead.len();
            self.ahead.resize(more.saturating_add(CHUNK), 0);
            let room = self.ahead.get_mut(more..).unwrap_or_default();
            let read = self.inner.read(room);
            let filled = *read.as_ref().unwrap_or(&0);
            self.ahead.truncate(more.saturating_add(filled));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        Ok(self.rest())
    }

    /// Gives back what was taken and not needed.
    pub(super) fn give_back(&mut self, bytes: &[u8]) {
        let rest = self.ahead.split_off(self.taken);
        self.ahead.clear();
        self.ahead.extend(bytes);
        self.ahead.extend(rest);
        self.taken = 0;
        self.position = self.position.saturating_sub(bytes.len() as u64);
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.rest().len());
        self.taken = self.taken.saturating_add(count);
        self.position = self.position.saturating_add(count as u64);
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_comes_again() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * CHUNK).collect();
        let mut source = Source::new(&*bytes, Stop::default());
        let mut some = vec![0; CHUNK + 7];
        source.read_exact(&mut some).unwrap();
        assert_eq!(source.peek(2 * CHUNK).unwrap().len(), 2 * CHUNK - 7);
        source.give_back(&some[CHUNK..]);
        assert_eq!(source.position(), CHUNK as u64);
        let mut rest = Vec::new();
        source.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, bytes[CHUNK..]);
        assert_eq!(source.position(), bytes.len() as u64);
    }

    #[test]
    fn who_is_told_to_stop_reads_no_more() {
        let stop = Stop::default();
        let mut source = Source::new(io::repeat(0), stop.clone());
        source.read_exact(&mut [0; 10]).unwrap();
        stop.stop();
        assert!(source.read_to_end(&mut Vec::new()).is_err());
    }
}
