// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the simulator supplies to the engine.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Instant;

use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};
use luo_core::ops::Report;
use luo_core::{Access, Engine, Failure, Frozen, Host, Incoming, PageError, Preserved, Retrieval};

use crate::caller;
use crate::fault::Step;
use crate::machine::{LOOK, Machine, lock};
use crate::memfd::{self, File};
use crate::memory::{Block, Kept};

/// The one handler there is: memfds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handler;

/// Nobody can go away: handlers and subsystems stay as long as the machine.
pub(crate) struct Pin;

/// There are no FLBs: no driver of the simulator has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Never {}

impl Machine {
    /// A callback: what goes wrong in it, and a note of it.
    fn callback(&self, step: Step, detail: impl core::fmt::Display) -> Result<(), Errno> {
        let told = self.reach(step);
        match &told {
            Ok(()) => self.note(0, step.word(), detail, 0),
            Err(errno) => self.note(0, step.word(), detail, errno),
        }
        told
    }

    /// Wakes who waits for a step; with the engine's lock held, under which alone
    /// their number changes.
    fn notify(&self) {
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            self.stepped.notify_all();
        }
    }

    fn subsystem_name(&self, at: usize) -> String {
        let name = self.subsystems.get(at);
        name.map_or_else(String::new, ToString::to_string)
    }
}

impl Host for Machine {
    type File = File;
    type Handler = Handler;
    type Pin = Pin;
    type Private = Kept;
    type Flb = Never;
    type Object = Never;
    /// Its place in the machine's list.
    type Subsystem = usize;
    type Block = Block;
    type Page = Arc<[u8]>;

    fn with<R>(&self, mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> R {
        let mut engine = lock(&self.engine);
        loop {
            if let Poll::Ready(done) = step(&mut engine) {
                self.notify();
                return done;
            }
            self.sleepers.fetch_add(1, Ordering::Relaxed);
            let woken = self.stepped.wait(engine);
            engine = woken.unwrap_or_else(PoisonError::into_inner);
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn with_killable<R>(
        &self,
        mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, Errno> {
        let mut engine = lock(&self.engine);
        loop {
            if let Poll::Ready(done) = step(&mut engine) {
                self.notify();
                return Ok(done);
            }
            // Nobody wakes us when the caller dies: look now and then.
            self.sleepers.fetch_add(1, Ordering::Relaxed);
            let woken = self.stepped.wait_timeout(engine, LOOK);
            engine = woken.unwrap_or_else(PoisonError::into_inner).0;
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
            if !caller::is_waiting() {
                return Err(Errno::EAGAIN);
            }
        }
    }

    fn transition_begun(&self, _event: Option<Event>) {
        *lock(&self.begun) = Some(Instant::now());
    }

    fn transition_ended(&self, report: &Report) {
        let begun = lock(&self.begun).take();
        let took = begun.map_or(0, |begun| begun.elapsed().as_micros());
        self.info(format_args!("{report} in {took} us"));
        if report.stuck > 0 {
            self.warn(format_args!(
                "{} files are not let go of by their handlers, or needed by such; \
                 each open of /dev/liveupdate tries again",
                report.stuck
            ));
        }
        if report.carried > 0 {
            self.info(format_args!(
                "{} sessions that nobody has claimed are carried on",
                report.carried
            ));
        }
        if report.lost > 0 {
            self.warn(format_args!(
                "{} sessions of the previous kernel are not finished; \
                 they do not reach the next kernel",
                report.lost
            ));
        }
        if report.unread {
            self.warn(format_args!(
                "sessions of the previous kernel cannot be read; \
                 they do not reach the next kernel"
            ));
        }
        self.announce();
    }

    fn transition_failed(&self, event: Option<Event>, state: State, why: &Failure) {
        lock(&self.begun).take();
        let word = event.map_or("reboot", Event::word);
        self.warn(format_args!("{word} fails, {state} again: {why}"));
        let is_refusal = matches!(
            why,
            Failure::Carry { .. } | Failure::Engine(luo_core::Error::Refused(_))
        );
        if event.is_none() && is_refusal {
            self.warn(format_args!(
                "to reboot all the same and lose it: \
                 echo discard > /sys/kernel/liveupdate/unclaimed"
            ));
        }
        self.announce();
    }

    fn alloc_block(&self) -> Result<Block, Errno> {
        self.reach(Step::Page)?;
        Ok(self.memory.block())
    }

    fn read_page(&self, address: u64) -> Result<Arc<[u8]>, PageError> {
        self.memory.read(address)
    }

    fn free_page(&self, address: u64) {
        self.memory.free(address);
    }

    fn pin_handler(&self, _: &Handler) -> Option<Pin> {
        Some(Pin)
    }

    fn object_id(&self, _: &Handler, file: &File) -> u64 {
        memfd::object_id(file)
    }

    fn can_preserve(&self, _: &Handler, file: &File) -> bool {
        memfd::is_memfd(file)
    }

    fn bytes(&self, _: &Handler, file: &File) -> u64 {
        memfd::bytes(file)
    }

    fn access(&self, file: &File) -> Access {
        memfd::access(file)
    }

    fn narrow(&self, file: File, access: Access) -> Result<File, Errno> {
        memfd::reopen(&file, access)
    }

    fn preserve(&self, _: &Handler, file: &File) -> Result<Preserved<Self>, Errno> {
        self.callback(Step::Preserve, Bytes(file))?;
        let (data, private) = self.memfds.preserve(&self.memory, file)?;
        Ok(Preserved { data, private })
    }

    fn unpreserve(&self, file: Frozen<'_, Self>) {
        let _ = self.callback(Step::Unpreserve, Bytes(file.file));
        self.memfds.unpreserve(file.file);
    }

    fn freeze(&self, file: Frozen<'_, Self>) -> Result<u64, Errno> {
        self.callback(Step::Freeze, Bytes(file.file))?;
        self.memfds
            .freeze(file.file, file.private)
            .inspect_err(|_| {
                self.warn(format_args!(
                    "a preserved memfd was resized by writing to it, \
                     which the kernel would have refused: the freeze is vetoed"
                ));
            })?;
        Ok(file.data)
    }

    fn unfreeze(&self, file: Frozen<'_, Self>) {
        let _ = self.callback(Step::Unfreeze, Bytes(file.file));
    }

    fn retrieve(&self, _: &Handler, data: u64) -> Result<File, Errno> {
        if let Err(errno) = self.callback(Step::Retrieve, format_args!("{data:#x}")) {
            self.memfds.discard(&self.memory, data);
            return Err(errno);
        }
        self.memfds.retrieve(&self.memory, data)
    }

    fn can_finish(&self, file: &Incoming<'_, Self>) -> bool {
        let data = file.data;
        self.callback(Step::CanFinish, format_args!("{data:#x}"))
            .is_ok()
    }

    fn finish(&self, file: &Incoming<'_, Self>) {
        let data = file.data;
        let _ = self.callback(Step::Finish, format_args!("{data:#x}"));
        // A file that was retrieved is its owner's; a failure has released it.
        if file.retrieval == Retrieval::None {
            self.memfds.discard(&self.memory, data);
        }
    }

    fn pin_flb(&self, flb: &Never) -> Option<Pin> {
        match *flb {}
    }

    fn flb_preserve(&self, flb: &Never) -> Result<(u64, Option<Never>), Errno> {
        match *flb {}
    }

    fn flb_unpreserve(&self, flb: &Never, _: u64, _: Option<Never>) {
        match *flb {}
    }

    fn flb_retrieve(&self, flb: &Never, _: u64) -> Result<Option<Never>, Errno> {
        match *flb {}
    }

    fn flb_finish(&self, flb: &Never, _: Option<Never>) {
        match *flb {}
    }

    fn pin_subsystem(&self, _: &usize) -> Option<Pin> {
        Some(Pin)
    }

    fn subsystem_prepare(&self, &at: &usize) -> Result<u64, Errno> {
        self.callback(Step::SubsystemPrepare, self.subsystem_name(at))?;
        Ok(self.next_subsystem_data())
    }

    fn subsystem_freeze(&self, &at: &usize, data: u64) -> Result<u64, Errno> {
        self.callback(Step::SubsystemFreeze, self.subsystem_name(at))?;
        Ok(data)
    }

    fn subsystem_cancel(&self, &at: &usize, _: u64) {
        let _ = self.callback(Step::SubsystemCancel, self.subsystem_name(at));
    }

    fn subsystem_finish(&self, &at: &usize, _: u64) {
        let _ = self.callback(Step::SubsystemFinish, self.subsystem_name(at));
    }
}

/// A file in a trace: how large it is.
struct Bytes<'a>(&'a File);

impl core::fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} bytes", memfd::bytes(self.0))
    }
}
