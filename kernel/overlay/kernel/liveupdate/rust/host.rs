// SPDX-License-Identifier: GPL-2.0-only
//! The engine under its lock, and what the kernel supplies to it.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::Poll;

use kernel::prelude::*;
use kernel::sync::{new_mutex, static_lock_class, Mutex, MutexGuard, SetOnce};
use kernel::time::{Instant, Monotonic};
use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};
use luo_calls::{CallHost, Level};
use luo_core::note::Unread;
use luo_core::ops::Report;
use luo_core::{
    Access, Engine, Error, Failure, Host, Lock, PageError, Part, Refusal, UserKinds, Whom, QUEUES,
};

use crate::handler::{Handler, Private};
#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
use crate::handlers::memfd::{Half, Halves, PoolsPage};
use crate::say::Say;
use crate::sys::flb::{FlbObject, FlbTable};
use crate::sys::kho::{HandedPage, PreservedPage};
use crate::sys::lent::Lent;
use crate::sys::module::ModulePin;
use crate::sys::subsystem::SubsystemTable;
use crate::sys::wait::{Killed, Patience, WaitQueue};
use crate::sys::{file, kho, log, random, task};
use crate::{errno, policy, state, takeover};

/// Lines in which those stand who may not administer the machine, by their users' numbers.
const LINES: usize = 16;

/// The kernel as a host of the engine. There is one, from early boot on, if
/// live update is enabled.
#[pin_data]
pub(crate) struct Linux {
    #[pin]
    engine: Mutex<Engine<Linux>>,
    /// Where users' calls stand one behind the other before they stand with all others for the
    /// engine's lock: however many threads users have, there is one call of each line there.
    #[pin]
    lines: [Mutex<()>; LINES],
    /// Where those wait whose step has to wait for another, by the engine's numbers.
    #[pin]
    queues: [WaitQueue; QUEUES],
    /// How many are in those queues, or have just left one. Changed only under the lock,
    /// so that a step which finds none need not look at a queue.
    sleepers: AtomicUsize,
    /// When the transition that is under way began.
    #[pin]
    begun: Mutex<Option<Instant<Monotonic>>>,
    /// Memfds that did not fit when they were retrieved: the next try goes on with them.
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    #[pin]
    halves: Mutex<Halves>,
    /// How many huge pages the next kernel is told of.
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    #[pin]
    pools: Mutex<PoolsPage>,
}

/// Whether anybody has ever called who may not administer the machine.
static USERS: AtomicBool = AtomicBool::new(false);

/// Somebody calls who may not administer the machine.
pub(crate) fn users_call() {
    if !USERS.load(Ordering::Relaxed) {
        USERS.store(true, Ordering::Relaxed);
    }
}

/// Somebody asks for the engine's lock who may never have opened the device: who reads a file of
/// sysfs or procfs, or has a descriptor that was passed on.
pub(crate) fn somebody_comes() {
    if !USERS.load(Ordering::Relaxed) && !task::is_administrator() {
        users_call();
    }
}

static LINUX: SetOnce<Pin<KBox<Linux>>> = SetOnce::new();

/// The host, if live update is enabled and early boot is over. If something at
/// boot switched it off, there is none: the same answers as without it.
pub(crate) fn linux() -> Option<&'static Linux> {
    LINUX
        .as_ref()
        .map(|linux| &**linux)
        .filter(|_| policy::enabled())
}

/// Makes the host. Called once, at early boot.
pub(crate) fn set_up() -> Result<&'static Linux> {
    let seed = (random::u64(), random::u64());
    let made = KBox::pin_init(
        pin_init!(Linux {
            engine <- new_mutex!(Engine::new(seed), "luo_engine"),
            lines <- pin_init::pin_init_array_from_fn(|_| new_mutex!((), "luo_lines")),
            queues <- pin_init::pin_init_array_from_fn(|_| {
                WaitQueue::new(c"luo_steps", static_lock_class!())
            }),
            sleepers: AtomicUsize::new(0),
            begun <- new_mutex!(None, "luo_begun"),
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            halves <- new_mutex!(Halves::new(), "luo_halves"),
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            pools <- new_mutex!(None, "luo_pools"),
        }),
        GFP_KERNEL,
    )?;
    LINUX.populate(made);
    if let Some(linux) = linux() {
        linux.now(|engine| engine.set_unowned(policy::unowned()));
        for whom in Whom::ALL {
            linux.now(|engine| engine.set_quotas(whom, policy::quotas(whom)));
        }
    }
    linux().ok_or(EINVAL)
}

impl Linux {
    /// Has the caller wait until it is the first in its line; who may administer the machine is
    /// in none, whatever the user. Held for as long as the engine's lock is wanted and had.
    #[inline(always)]
    fn stand_in_line(&self) -> Option<MutexGuard<'_, ()>> {
        // Most machines have no users that call.
        match USERS.load(Ordering::Relaxed) {
            true => self.stand_with_users(),
            false => None,
        }
    }

    #[cold]
    fn stand_with_users(&self) -> Option<MutexGuard<'_, ()>> {
        if task::is_administrator() {
            return None;
        }
        let user = task::effective_user() as usize;
        Some(self.lines.get(user % LINES)?.lock())
    }

    /// Runs a step for a caller who has slept in the queue before, or has not. If it has
    /// to wait, gives the lock, which must be let go only when we are in the queue.
    fn step<R>(
        &self,
        slept: bool,
        step: &mut impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, MutexGuard<'_, Engine<Self>>> {
        let _line = self.stand_in_line();
        let mut engine = self.engine.lock();
        if slept {
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
        }
        match step(&mut engine) {
            Poll::Ready(done) => {
                self.wake(&mut engine);
                Ok(done)
            }
            Poll::Pending => {
                self.sleepers.fetch_add(1, Ordering::Relaxed);
                Err(engine)
            }
        }
    }

    /// A step has run to its end: wakes those whose condition it can have changed.
    fn wake(&self, engine: &mut Engine<Self>) {
        let woken = engine.take_woken();
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            for queue in woken.filter_map(|queue| self.queues.get(queue)) {
                queue.notify_all();
            }
        }
    }

    /// The queue for a step that has just said that it has to wait.
    fn queue(&self, engine: &Engine<Self>) -> &WaitQueue {
        let [first, ..] = &self.queues;
        self.queues.get(engine.queue()).unwrap_or(first)
    }

    /// Runs a step for a caller who may be killed, and who waits for as long as a patience
    /// lasts.
    fn wait_within<R>(
        &self,
        patience: Patience,
        mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, Errno> {
        let mut slept = false;
        loop {
            match self.step(slept, &mut step) {
                Ok(done) => return Ok(done),
                Err(engine) if patience.is_over() => {
                    self.sleepers.fetch_sub(1, Ordering::Relaxed);
                    drop(engine);
                    return Err(Errno::EBUSY);
                }
                Err(engine) => {
                    let queue = self.queue(&engine);
                    if let Err(Killed) = queue.wait_killable(engine, patience) {
                        let _line = self.stand_in_line();
                        let _engine = self.engine.lock();
                        self.sleepers.fetch_sub(1, Ordering::Relaxed);
                        return Err(Errno::EAGAIN);
                    }
                }
            }
            slept = true;
        }
    }
}

#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
impl Linux {
    /// A memfd that was half restored.
    pub(crate) fn take_half(&self, data: u64) -> Option<KBox<Half>> {
        self.halves.lock().take(data)
    }

    /// Does something with what the next kernel is told of huge pages, alone.
    pub(crate) fn with_pools<R>(&self, work: impl FnOnce(&mut PoolsPage) -> R) -> R {
        work(&mut self.pools.lock())
    }

    /// Keeps a memfd that is half restored.
    pub(crate) fn keep_half(&self, data: u64, half: KBox<Half>) {
        self.halves.lock().keep(data, half);
    }
}

impl Lock for Linux {
    fn now<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> R {
        let _line = self.stand_in_line();
        self.at_once(step)
    }

    fn at_once<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> R {
        let mut engine = self.engine.lock();
        let done = step(&mut engine);
        self.wake(&mut engine);
        done
    }

    fn wait<R>(&self, mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> R {
        let mut slept = false;
        loop {
            match self.step(slept, &mut step) {
                Ok(done) => return done,
                // No signal ends it: an operation that has begun must be ended,
                // and what it waits for is in the hands of another that will end.
                Err(engine) => self.queue(&engine).wait(engine),
            }
            slept = true;
        }
    }

    fn wait_killable<R>(&self, step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> Result<R, Errno> {
        self.wait_within(Patience::WITHOUT_END, step)
    }

    fn wait_patiently<R>(
        &self,
        step: impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, Errno> {
        self.wait_within(Patience::of_seconds(policy::patience()), step)
    }

    fn bring_over(&self) -> Option<Result<(), Error>> {
        takeover::begin();
        None
    }
}

impl CallHost for Linux {
    const IMPLEMENTATION: &'static str = "LUO in Rust, in the kernel";

    fn many_openers(&self) -> bool {
        policy::many_openers()
    }

    fn opens_strictly(&self) -> bool {
        policy::opens_strictly()
    }

    fn takeover_is_near(&self) {
        takeover::begin();
    }

    fn say(&self, level: Level, text: core::fmt::Arguments<'_>) {
        match level {
            Level::Error => pr_err!("{}\n", Say(text)),
            Level::Warning => pr_warn!("{}\n", Say(text)),
            Level::Info => pr_info!("{}\n", Say(text)),
        }
    }

    fn say_now_and_then(&self, level: Level, text: core::fmt::Arguments<'_>) {
        if log::may_say_more() {
            self.say(level, text);
        }
    }
}

impl Host for Linux {
    type File = Lent;
    type Handler = Handler;
    type Pin = ModulePin;
    type Private = Private;
    type Flb = FlbTable;
    type Object = FlbObject;
    type Subsystem = SubsystemTable;
    type Block = PreservedPage;
    type Page = HandedPage;

    fn transition_begun(&self, _event: Option<Event>) {
        *self.begun.lock() = Some(Instant::now());
    }

    fn transition_ended(&self, report: &Report) {
        let begun = self.begun.lock().take();
        let micros = begun.map_or(0, |begun| begun.elapsed().as_micros_ceil());
        luo_calls::log::ended(self, report, u64::try_from(micros).unwrap_or(0));
        state::announce();
    }

    fn transition_failed(&self, event: Option<Event>, state: State, why: &Failure) {
        self.begun.lock().take();
        luo_calls::log::failed(self, event, state, why);
        state::announce();
    }

    fn lost(&self, why: &Failure) {
        luo_calls::log::lost(self, why);
    }

    fn lost_unnamed(&self, part: Part, more: u64) {
        luo_calls::log::lost_unnamed(self, part, more);
    }

    fn taken_over(&self, sessions: usize, files: usize) {
        luo_calls::log::took_over(self, sessions, files);
    }

    fn handover_refused(&self, why: &Error) {
        luo_calls::log::refused(self, why);
    }

    fn lost_unhandled(&self, first: &Refusal, more: u64) {
        luo_calls::log::lost_unhandled(self, first, more);
    }

    fn user_kinds(&self) -> UserKinds {
        policy::user_kinds()
    }

    fn unread(&self, compatible: &str, data: u64, why: Unread) {
        self.say_now_and_then(
            Level::Error,
            format_args!(
                "{compatible} at {data:#x} is not restored: {why}; its memory stays reserved"
            ),
        );
    }

    fn alloc_block(&self) -> Result<PreservedPage, Errno> {
        PreservedPage::new().map_err(errno::of_kernel)
    }

    fn read_page(&self, address: u64) -> Result<HandedPage, PageError> {
        HandedPage::at(address)
    }

    fn free_page(&self, address: u64) {
        kho::give_to_allocator(address);
    }

    fn access(&self, file: &Lent) -> Access {
        file::access(file)
    }

    fn narrow(&self, file: Lent, access: Access) -> Result<Lent, Errno> {
        let narrowed = file::narrow(file.into_file(), access);
        narrowed.map(Lent::from).map_err(errno::of_kernel)
    }
}
