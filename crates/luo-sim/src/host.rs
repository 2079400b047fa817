// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the simulator supplies to the engine.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Instant;

use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};
use luo_core::ops::Report;
use luo_core::{
    Access, Engine, Failure, Frozen, Host, Incoming, Lock, PageError, Preserved, Retrieval,
};

use crate::caller;
use crate::driver::{self, Driver};
use crate::fault::Step;
use crate::machine::{LOOK, Machine, lock};
use crate::memfd::{self, File};
use crate::memory::{Block, Kept};

/// A file handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handler {
    /// Memfds.
    Memfd,
    /// The test driver's files.
    Forge,
}

/// What a handler remembers of a preserved file.
pub(crate) enum Private {
    Memfd(Kept),
    /// The file knows all.
    Forge,
}

/// A subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subsystem {
    /// One that was asked for by name: its place in the machine's list.
    Named(usize),
    /// One of the test driver's.
    Driver(driver::Subsystem),
}

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

    fn subsystem_name(&self, which: Subsystem) -> String {
        match which {
            Subsystem::Named(at) => {
                let name = self.subsystems.get(at);
                name.map_or_else(String::new, ToString::to_string)
            }
            Subsystem::Driver(which) => which.name().to_owned(),
        }
    }

    /// The test driver, for what is registered only if it is there.
    fn driver(&self) -> Result<&Driver, Errno> {
        self.driver.as_ref().ok_or(Errno::ENODEV)
    }
}

impl Lock for Machine {
    fn now<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> R {
        let mut engine = lock(&self.engine);
        let done = step(&mut engine);
        self.notify();
        done
    }

    fn wait<R>(&self, mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> R {
        let mut engine = lock(&self.engine);
        loop {
            if let Poll::Ready(done) = step(&mut engine) {
                self.notify();
                return done;
            }
            let _waits = self.driver.as_ref().and_then(Driver::waits);
            self.sleepers.fetch_add(1, Ordering::Relaxed);
            let woken = self.stepped.wait(engine);
            engine = woken.unwrap_or_else(PoisonError::into_inner);
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn wait_killable<R>(
        &self,
        mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, Errno> {
        let mut engine = lock(&self.engine);
        loop {
            if let Poll::Ready(done) = step(&mut engine) {
                self.waits_for_turn(false);
                self.notify();
                return Ok(done);
            }
            self.waits_for_turn(true);
            let _waits = self.driver.as_ref().and_then(Driver::waits);
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
}

impl Host for Machine {
    type File = File;
    type Handler = Handler;
    type Pin = Pin;
    type Private = Private;
    type Flb = Never;
    type Object = Never;
    type Subsystem = Subsystem;
    type Block = Block;
    type Page = Arc<[u8]>;

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

    fn can_preserve(&self, handler: &Handler, file: &File) -> bool {
        match handler {
            Handler::Memfd => memfd::is_memfd(file),
            Handler::Forge => self
                .driver()
                .is_ok_and(|driver| driver.find(file).is_some()),
        }
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

    fn preserve(&self, handler: &Handler, file: &File) -> Result<Preserved<Self>, Errno> {
        self.callback(Step::Preserve, Bytes(file))?;
        match handler {
            Handler::Memfd => {
                let (data, kept) = self.memfds.preserve(&self.memory, file)?;
                let private = Private::Memfd(kept);
                Ok(Preserved { data, private })
            }
            Handler::Forge => {
                let data = self.driver()?.preserve(self, file)?;
                let private = Private::Forge;
                Ok(Preserved { data, private })
            }
        }
    }

    fn unpreserve(&self, file: Frozen<'_, Self>) {
        let _ = self.callback(Step::Unpreserve, Bytes(file.file));
        match (file.private, self.driver()) {
            (Private::Forge, Ok(driver)) => driver.unpreserve(self, file.file),
            _ => self.memfds.unpreserve(file.file),
        }
    }

    fn freeze(&self, file: Frozen<'_, Self>) -> Result<u64, Errno> {
        self.callback(Step::Freeze, Bytes(file.file))?;
        match file.private {
            Private::Memfd(kept) => self.memfds.freeze(file.file, kept).inspect_err(|_| {
                self.warn(format_args!(
                    "a preserved memfd was resized by writing to it, \
                     which the kernel would have refused: the freeze is vetoed"
                ));
            })?,
            Private::Forge => self.driver()?.freeze(self, file.file)?,
        }
        Ok(file.data)
    }

    fn unfreeze(&self, file: Frozen<'_, Self>) {
        let _ = self.callback(Step::Unfreeze, Bytes(file.file));
        if let (Private::Forge, Ok(driver)) = (file.private, self.driver()) {
            driver.unfreeze(self, file.file);
        }
    }

    fn retrieve(&self, handler: &Handler, data: u64) -> Result<File, Errno> {
        let told = self.callback(Step::Retrieve, format_args!("{data:#x}"));
        match handler {
            Handler::Memfd => {
                told.inspect_err(|_| self.memfds.discard(&self.memory, data))?;
                self.memfds.retrieve(&self.memory, data)
            }
            Handler::Forge => {
                told?;
                self.driver()?.retrieve(self, data)
            }
        }
    }

    fn can_finish(&self, file: &Incoming<'_, Self>) -> bool {
        let data = file.data;
        let told = self.callback(Step::CanFinish, format_args!("{data:#x}"));
        let can = || match file.handler {
            Handler::Memfd => true,
            Handler::Forge => self.driver().is_ok_and(Driver::can_finish),
        };
        told.is_ok() && can()
    }

    fn finish(&self, file: &Incoming<'_, Self>) {
        let data = file.data;
        let _ = self.callback(Step::Finish, format_args!("{data:#x}"));
        match (file.handler, self.driver()) {
            (Handler::Forge, Ok(driver)) => driver.finish(self, data),
            // A file that was retrieved is its owner's; a failure has released it.
            _ if file.retrieval == Retrieval::None => self.memfds.discard(&self.memory, data),
            _ => {}
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

    fn pin_subsystem(&self, _: &Subsystem) -> Option<Pin> {
        Some(Pin)
    }

    fn subsystem_prepare(&self, &which: &Subsystem) -> Result<u64, Errno> {
        self.callback(Step::SubsystemPrepare, self.subsystem_name(which))?;
        match which {
            Subsystem::Named(_) => Ok(self.next_subsystem_data()),
            Subsystem::Driver(which) => self.driver()?.prepare_subsystem(self, which),
        }
    }

    fn subsystem_freeze(&self, &which: &Subsystem, data: u64) -> Result<u64, Errno> {
        self.callback(Step::SubsystemFreeze, self.subsystem_name(which))?;
        match which {
            Subsystem::Named(_) => Ok(data),
            Subsystem::Driver(which) => self.driver()?.freeze_subsystem(self, which, data),
        }
    }

    fn subsystem_cancel(&self, &which: &Subsystem, data: u64) {
        let _ = self.callback(Step::SubsystemCancel, self.subsystem_name(which));
        if let (Subsystem::Driver(which), Ok(driver)) = (which, self.driver()) {
            driver.cancel_subsystem(self, which, data);
        }
    }

    fn subsystem_finish(&self, &which: &Subsystem, data: u64) {
        let _ = self.callback(Step::SubsystemFinish, self.subsystem_name(which));
        if let (Subsystem::Driver(which), Ok(driver)) = (which, self.driver()) {
            driver.finish_subsystem(self, which, data);
        }
    }
}

/// A file in a trace: how large it is.
struct Bytes<'a>(&'a File);

impl core::fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} bytes", memfd::bytes(self.0))
    }
}
