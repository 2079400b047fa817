// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes of a test: the engine's own handler of them, over pipes that are made up.

use std::collections::BTreeMap;

use luo_abi::errno::Errno;
use luo_abi::note::{PACKETS, Pipe};
use luo_core::held::PAUSES;
use luo_core::pipe::{Each, End, Facts, Pipes, TwoEnds};

use super::{TestFile, TestHandler, TestHost};
use crate::ledger::assert_unlocked;
use crate::script::Call;

/// The handler of pipes among those of a test.
pub(super) static ENDS: TwoEnds<TestPipes> = TwoEnds(TestPipes);

/// Tries of a moment.
pub const MOMENT: u32 = 10;

/// Pipes that are made up.
pub struct TestPipes;

/// A pipe. Its ends are files of kind [`TestHandler::PIPES`], whose object is twice its number,
/// and one more for the end that is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestPipe {
    pub slots: u64,
    /// Of the end that is read from, and of the other.
    pub nonblock: [bool; 2],
    pub packets: bool,
    /// What it holds: parts of a stream, and packets.
    pub held: Vec<(Vec<u8>, bool)>,
    /// Somebody has it locked, for so many pauses.
    pub locked: u32,
    /// Somebody locks it again and again, and has it at so many tries in a row.
    pub busy: u32,
    /// What is added to it behind each look.
    pub grows: Vec<(Vec<u8>, bool)>,
}

impl Default for TestPipe {
    fn default() -> Self {
        Self {
            slots: 16,
            nonblock: [false; 2],
            packets: false,
            held: Vec::new(),
            locked: 0,
            busy: 0,
            grows: Vec::new(),
        }
    }
}

/// The pipes of a host.
#[derive(Default)]
pub struct PipesOfHost {
    pub all: BTreeMap<u64, TestPipe>,
    /// How often somebody has looked into one, and how many pauses that took.
    pub looks: u64,
    pub pauses: u64,
}

impl TestHandler {
    /// The one of pipes.
    pub const PIPES: u32 = 50;
}

impl TestHost {
    /// An end of a pipe, which comes about if there is none of that number.
    pub fn end_of(&self, pipe: u64, end: End) -> TestFile {
        self.pipes.lock().unwrap().all.entry(pipe).or_default();
        let bit = u64::from(end == End::Write);
        self.new_file(TestHandler::PIPES, 2 * pipe + bit)
    }

    /// Changes a pipe, or makes one.
    pub fn change_pipe(&self, pipe: u64, change: impl FnOnce(&mut TestPipe)) {
        change(self.pipes.lock().unwrap().all.entry(pipe).or_default());
    }

    /// The pipe that a file is an end of.
    pub fn pipe_of(&self, file: &TestFile) -> TestPipe {
        self.pipes.lock().unwrap().all[&(file.object / 2)].clone()
    }
}

impl Pipes<TestHost> for TestPipes {
    fn find(&self, _: &TestHost, file: &TestFile) -> Option<(u64, End)> {
        let end = match file.object % 2 {
            0 => End::Read,
            _ => End::Write,
        };
        (file.kind == TestHandler::PIPES).then_some((file.object / 2, end))
    }

    fn facts(&self, host: &TestHost, file: &TestFile) -> Result<Facts, Errno> {
        let pipe = host.pipe_of(file);
        Ok(Facts {
            slots: pipe.slots,
            nonblock: pipe.nonblock[(file.object % 2) as usize],
            packets: pipe.packets,
        })
    }

    fn look(
        &self,
        host: &TestHost,
        file: &TestFile,
        patience: &mut u32,
        each: &mut Each<'_>,
    ) -> Result<u64, Errno> {
        assert_eq!(file.object % 2, 0, "looked into through the other end");
        assert!(*patience <= PAUSES);
        host.called(Call::LookIntoPipe, file.object / 2, "")?;
        let mut pipes = host.pipes.lock().unwrap();
        let pipe = pipes.all.get_mut(&(file.object / 2)).ok_or(Errno::EIO)?;
        let waited = pipe.locked.min(*patience);
        // It is tried for a moment whatever is left of the patience.
        let is_locked = pipe.locked > *patience || pipe.busy > MOMENT;
        let looked = pipe.clone();
        if !is_locked {
            pipe.held.extend(looked.grows.iter().cloned());
        }
        pipes.looks += 1;
        pipes.pauses += u64::from(waited);
        drop(pipes);
        *patience -= waited;
        if is_locked {
            return Err(Errno::EBUSY);
        }
        looked.held.iter().for_each(|(bytes, is)| each(bytes, *is));
        Ok(looked.slots)
    }

    fn make(&self, host: &TestHost, note: &Pipe) -> Result<(TestFile, TestFile), Errno> {
        host.called(Call::MakePipe, 0, "make a pipe")?;
        host.memory()?;
        let mut pipes = host.pipes.lock().unwrap();
        let number = pipes.all.keys().last().map_or(1, |last| last + 1);
        let made = TestPipe {
            slots: note.slots,
            packets: note.flags & PACKETS != 0,
            ..TestPipe::default()
        };
        pipes.all.insert(number, made);
        drop(pipes);
        let [reads, writes] = [End::Read, End::Write].map(|end| host.end_of(number, end));
        Ok((reads, writes))
    }

    fn put(
        &self,
        host: &TestHost,
        write: &TestFile,
        bytes: &[u8],
        is_packet: bool,
    ) -> Result<(), Errno> {
        assert_unlocked("put");
        host.change_pipe(write.object / 2, |pipe| {
            pipe.held.push((bytes.to_vec(), is_packet));
        });
        Ok(())
    }

    fn set_nonblock(&self, host: &TestHost, file: &TestFile) {
        host.change_pipe(file.object / 2, |pipe| {
            pipe.nonblock[(file.object % 2) as usize] = true;
        });
    }
}
