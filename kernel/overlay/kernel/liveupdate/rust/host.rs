// SPDX-License-Identifier: GPL-2.0-only
//! The engine under its lock, and what the kernel supplies to it.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::Poll;

use kernel::prelude::*;
use kernel::sync::{new_mutex, static_lock_class, Mutex, MutexGuard, SetOnce};
#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
use kernel::sync::{new_spinlock, SpinLock};
use kernel::time::{Instant, Monotonic};
use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};
use luo_calls::{CallHost, Level};
use luo_core::note::Unread;
use luo_core::ops::Report;
#[cfg(CONFIG_PCI_LIVEUPDATE)]
use luo_core::pci::Running;
use luo_core::{
    Access, Compat, Engine, Error, Failure, FileName, Host, Lock, PageError, Part, UserKinds, Wake,
    Whom, Woken, QUEUES,
};

use crate::errands::{self, Errand};
use crate::handler::{Handler, Private};
#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
use crate::handlers::memfd::{Half, Halves, Owners, PoolsPage};
use crate::say::Say;
use crate::sys::flb::{FlbObject, FlbTable};
use crate::sys::kho::{HandedPage, PreservedPage};
use crate::sys::lent::Lent;
use crate::sys::line::{self, Line};
use crate::sys::module::ModulePin;
use crate::sys::subsystem::SubsystemTable;
use crate::sys::wait::{Killed, Patience, Place, WaitQueue};
use crate::sys::{account, file, kho, log, random, task};
use crate::{errno, policy};

/// The kernel as a host of the engine. There is one, from early boot on, if
/// live update is enabled.
#[pin_data]
pub(crate) struct Linux {
    #[pin]
    engine: Mutex<Engine<Linux>>,
    /// Where administrators wait whose step has to wait for another.
    #[pin]
    administrators: Waiters,
    /// Where users do. There may be very many, whom no administrator's call wakes: a worker does.
    #[pin]
    users: Waiters,
    /// Users whom the worker has to wake.
    #[pin]
    users_woken: Mutex<Woken>,
    /// When the transition that is under way began.
    #[pin]
    begun: Mutex<Option<Instant<Monotonic>>>,
    /// Memfds that did not fit when they were retrieved: the next try goes on with them. Users'
    /// threads have this lock, which nothing can keep from giving it back.
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    #[pin]
    halves: SpinLock<Halves>,
    /// Who has paid for memfds that are carried on; likewise.
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    #[pin]
    owners: SpinLock<Owners>,
    /// How many huge pages the next kernel is told of; likewise.
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    #[pin]
    pools: SpinLock<PoolsPage>,
    /// PCI devices that go on running through a kexec.
    #[cfg(CONFIG_PCI_LIVEUPDATE)]
    #[pin]
    devices: Mutex<Running<PreservedPage>>,
}

/// Those whose step has to wait for another.
#[pin_data]
struct Waiters {
    /// By the engine's numbers.
    #[pin]
    queues: [WaitQueue; QUEUES],
    /// How many are in those queues, or are going there, or have just left one. A caller is counted
    /// under the engine's lock before it goes there, so a step which finds none need not look at a
    /// queue.
    sleepers: AtomicUsize,
    /// Whether one has ever been there that each step wakes, because it had not said what it
    /// waits for.
    unnamed: AtomicBool,
}

/// The caller: an administrator, who does each step alone, or a user, for whom a worker does it
/// when it is the turn of the user's line.
#[derive(Clone, Copy)]
enum Who {
    Administrator,
    InLine(Line),
}

/// The outcome of a step.
enum Turn<'a, R> {
    Done(R),
    /// It has to wait, here.
    Waits(Place<'a>),
    /// The caller was killed, or had no more patience, before it was its turn.
    Left,
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
    if !users_have_called() && !task::is_administrator() {
        users_call();
    }
}

/// Whether anybody has who may not administer the machine: if not, who calls now may.
#[inline(always)]
pub(crate) fn users_have_called() -> bool {
    USERS.load(Ordering::Relaxed)
}

/// Does something for which others may have to wait, as long as whoever does it is not let run:
/// if a user calls, the worker of the user's line does it, which nobody keeps from running. It
/// must not ask who calls, nor for memory.
pub(crate) fn in_turn<R>(work: impl FnOnce() -> R) -> R {
    match Who::calls() {
        Who::Administrator => work(),
        // It is always done; whoever has the work back does it.
        Who::InLine(line) => line::run(line, None, work).unwrap_or_else(|work| work()),
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
            administrators <- Waiters::new(),
            users <- Waiters::new(),
            users_woken <- new_mutex!(Woken::NOBODY, "luo_woken"),
            begun <- new_mutex!(None, "luo_begun"),
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            halves <- new_spinlock!(Halves::new(), "luo_halves"),
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            owners <- new_spinlock!(Owners::new(), "luo_owners"),
            #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
            pools <- new_spinlock!(None, "luo_pools"),
            #[cfg(CONFIG_PCI_LIVEUPDATE)]
            devices <- new_mutex!(Running::NONE, "luo_devices"),
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

impl Waiters {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            queues <- pin_init::pin_init_array_from_fn(|_| {
                WaitQueue::new(c"luo_steps", static_lock_class!())
            }),
            sleepers: AtomicUsize::new(0),
            unnamed: AtomicBool::new(false),
        })
    }

    /// The place of a caller whose step has just said that it has to wait, by whoever has the
    /// engine's lock. The caller says when it has left it.
    fn place(&self, engine: &Engine<Linux>) -> Place<'_> {
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        let [first, ..] = &self.queues;
        let spot = engine.spot();
        if !spot.is_named() {
            self.unnamed.store(true, Ordering::Relaxed);
        }
        let queue = self.queues.get(spot.queue()).unwrap_or(first);
        queue.place(spot.topic())
    }

    /// A caller that has left looks again, or does not care any more.
    fn left(&self) {
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sleeps at a place for a caller who may be killed, for as long as a patience lasts.
    fn sleep_within(&self, place: Place<'_>, patience: Patience) -> Result<(), Errno> {
        let slept = match patience.is_over() {
            true => Err(Errno::EBUSY),
            false => place
                .wait_killable(patience)
                .map_err(|Killed| Errno::EAGAIN),
        };
        self.left();
        slept
    }

    fn are_some(&self) -> bool {
        self.sleepers.load(Ordering::Relaxed) > 0
    }

    /// Whether any of them can be among those whom a step has woken. Most steps wake nobody, and
    /// a transition makes very many beside users who wait for its end.
    fn concerns(&self, woken: Woken) -> bool {
        woken.names_some() || self.unnamed.load(Ordering::Relaxed)
    }

    fn wake(&self, woken: Woken) {
        for Wake { queue, topic } in woken {
            if let Some(queue) = self.queues.get(queue) {
                queue.notify(topic);
            }
        }
    }
}

impl Who {
    #[inline(always)]
    fn calls() -> Self {
        // Most machines have no users that call.
        match users_have_called() {
            true => Self::of_task(),
            false => Self::Administrator,
        }
    }

    #[cold]
    fn of_task() -> Self {
        match task::is_administrator() {
            true => Self::Administrator,
            false => Self::InLine(Line::of_task()),
        }
    }

    /// The caller that opens the device: others wait meanwhile who have nothing to do with live
    /// update, and so there is a line of their own.
    fn opens() -> Self {
        match Self::calls() {
            Self::Administrator => Self::Administrator,
            Self::InLine(_) => Self::InLine(Line::of_opener()),
        }
    }
}

impl Linux {
    /// Runs a step that does not wait: by the caller itself, who may administer the
    /// machine, and for all others by the worker that goes round their lines. So however many
    /// threads users have, one step of theirs stands with all others for the lock, and whoever
    /// has it runs when the kernel says so, and not when a user does.
    #[inline(always)]
    fn once<R>(&self, who: Who, step: impl FnOnce(&mut Engine<Self>) -> R) -> R {
        match who {
            Who::Administrator => self.now_of(who, step),
            Who::InLine(line) => self.once_in_line(line, step),
        }
    }

    #[inline(always)]
    fn now_of<R>(&self, who: Who, step: impl FnOnce(&mut Engine<Self>) -> R) -> R {
        let mut engine = self.engine.lock();
        let done = step(&mut engine);
        self.wake(who, engine);
        done
    }

    #[cold]
    #[inline(never)]
    fn once_in_line<R>(&self, line: Line, step: impl FnOnce(&mut Engine<Self>) -> R) -> R {
        let done = line::run(line, None, || self.now_of(Who::InLine(line), step));
        // It is always done; whoever has the work back does it.
        done.unwrap_or_else(|work| work())
    }

    /// [`Self::once`] for a caller who may be killed before it is its turn.
    #[inline(always)]
    fn once_killable<R>(
        &self,
        who: Who,
        step: impl FnOnce(&mut Engine<Self>) -> R,
    ) -> Result<R, Errno> {
        match who {
            Who::Administrator => Ok(self.now_of(who, step)),
            Who::InLine(line) => self.once_in_line_killable(line, step),
        }
    }

    #[cold]
    #[inline(never)]
    fn once_in_line_killable<R>(
        &self,
        line: Line,
        step: impl FnOnce(&mut Engine<Self>) -> R,
    ) -> Result<R, Errno> {
        let work = || self.now_of(Who::InLine(line), step);
        line::run(line, Some(Patience::WITHOUT_END), work).map_err(|_| Errno::EAGAIN)
    }

    /// Runs a step by the worker of a line. If it has to wait, gives the caller's place. With a
    /// patience the caller may be killed before it is its turn, and waits for that as long.
    fn turn_in_line<R>(
        &self,
        line: Line,
        patience: Option<Patience>,
        step: &mut impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Turn<'_, R> {
        let turn = line::run(line, patience, || {
            let mut engine = self.engine.lock();
            match step(&mut engine) {
                Poll::Ready(done) => {
                    self.wake(Who::InLine(line), engine);
                    Turn::Done(done)
                }
                Poll::Pending => Turn::Waits(self.users.place(&engine)),
            }
        });
        turn.unwrap_or(Turn::Left)
    }

    /// A step has run to its end: lets the lock go, and then wakes those whose condition it can
    /// have changed.
    #[inline(always)]
    fn wake(&self, who: Who, mut engine: MutexGuard<'_, Engine<Self>>) {
        let administrators = self.administrators.are_some();
        let users = self.users.are_some();
        match administrators || users {
            true => self.wake_some(who, engine, administrators, users),
            false => engine.forget_woken(),
        }
    }

    #[cold]
    fn wake_some(
        &self,
        who: Who,
        mut engine: MutexGuard<'_, Engine<Self>>,
        administrators: bool,
        users: bool,
    ) {
        let woken = engine.take_woken();
        drop(engine);
        if administrators {
            self.administrators.wake(woken);
        }
        match who {
            Who::InLine(_) if users => self.users.wake(woken),
            Who::Administrator if users && self.users.concerns(woken) => {
                self.users_woken.lock().merge(woken);
                errands::begin(Errand::WakeUsers);
            }
            _ => {}
        }
    }

    /// Wakes the users that administrators' steps would have.
    pub(crate) fn wake_users(&self) {
        let woken = core::mem::replace(&mut *self.users_woken.lock(), Woken::NOBODY);
        self.users.wake(woken);
    }

    /// An administrator's step has to wait. No signal ends it: an operation that has begun must
    /// be ended, and what it waits for is in the hands of another that will end.
    #[cold]
    #[inline(never)]
    fn sleep(&self, engine: MutexGuard<'_, Engine<Self>>) {
        let place = self.administrators.place(&engine);
        drop(engine);
        place.wait();
        self.administrators.left();
    }

    /// [`Self::sleep`] for a caller who may be killed, and who waits for as long as a patience
    /// lasts.
    #[cold]
    #[inline(never)]
    fn sleep_within(
        &self,
        engine: MutexGuard<'_, Engine<Self>>,
        patience: Patience,
    ) -> Result<(), Errno> {
        let place = self.administrators.place(&engine);
        drop(engine);
        self.administrators.sleep_within(place, patience)
    }

    /// Runs a step, which may have to wait, for a user.
    #[cold]
    #[inline(never)]
    fn wait_in_line<R>(&self, line: Line, mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> R {
        loop {
            match self.turn_in_line(line, None, &mut step) {
                Turn::Done(done) => return done,
                Turn::Waits(place) => {
                    place.wait();
                    self.users.left();
                }
                // Nobody leaves here.
                Turn::Left => {}
            }
        }
    }

    /// [`Self::wait_in_line`] for a user who may be killed, and who waits for as long as a
    /// patience lasts.
    #[cold]
    #[inline(never)]
    fn wait_in_line_within<R>(
        &self,
        line: Line,
        patience: Patience,
        mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, Errno> {
        loop {
            match self.turn_in_line(line, Some(patience), &mut step) {
                Turn::Done(done) => return Ok(done),
                Turn::Waits(place) => self.users.sleep_within(place, patience)?,
                Turn::Left if patience.is_over() => return Err(Errno::EBUSY),
                Turn::Left => return Err(Errno::EAGAIN),
            }
        }
    }

    /// Runs a step for a caller who may be killed, and who waits for as long as a patience
    /// lasts.
    #[inline(always)]
    fn wait_within<R>(
        &self,
        patience: Patience,
        mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, Errno> {
        let who = Who::calls();
        if let Who::InLine(line) = who {
            return self.wait_in_line_within(line, patience, step);
        }
        loop {
            let mut engine = self.engine.lock();
            if let Poll::Ready(done) = step(&mut engine) {
                self.wake(who, engine);
                return Ok(done);
            }
            self.sleep_within(engine, patience)?;
        }
    }
}

#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
impl Linux {
    /// A memfd that was half restored.
    pub(crate) fn take_half(&self, data: u64) -> Option<Half> {
        self.halves.lock().take(data)
    }

    /// Does something with what the next kernel is told of huge pages, alone. It must not sleep.
    pub(crate) fn with_pools<R>(&self, work: impl FnOnce(&mut PoolsPage) -> R) -> R {
        work(&mut self.pools.lock())
    }

    /// Does something with who has paid for memfds that are carried on, alone. It must not sleep.
    pub(crate) fn with_owners<R>(&self, work: impl FnOnce(&mut Owners) -> R) -> R {
        work(&mut self.owners.lock())
    }

    /// Keeps a memfd that is half restored.
    pub(crate) fn keep_half(&self, data: u64, half: Half) {
        self.halves.lock().keep(data, half);
    }
}

#[cfg(CONFIG_PCI_LIVEUPDATE)]
impl Linux {
    /// Does something with the table of PCI devices, alone.
    pub(crate) fn with_devices<R>(&self, work: impl FnOnce(&mut Running<PreservedPage>) -> R) -> R {
        work(&mut self.devices.lock())
    }
}

impl Lock for Linux {
    fn now<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> R {
        self.once(Who::calls(), step)
    }

    fn now_killable<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> Result<R, Errno> {
        self.once_killable(Who::calls(), step)
    }

    fn at_once<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> Result<R, Errno> {
        self.once_killable(Who::opens(), step)
    }

    // An administrator's step gives its result to the caller alone: in the hands of anything
    // between the two it would be copied once more, and it may be large.
    fn wait<R>(&self, mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> R {
        let who = Who::calls();
        if let Who::InLine(line) = who {
            return self.wait_in_line(line, step);
        }
        loop {
            let mut engine = self.engine.lock();
            if let Poll::Ready(done) = step(&mut engine) {
                self.wake(who, engine);
                return done;
            }
            self.sleep(engine);
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

    fn leaves_rest_to_worker(&self) -> bool {
        matches!(Who::calls(), Who::InLine(_))
    }

    fn rest_is_wanted(&self) {
        errands::begin(Errand::Rest);
    }

    fn bring_over(&self) -> Option<Result<(), Error>> {
        errands::begin(Errand::TakeOver);
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
        errands::begin(Errand::TakeOver);
    }

    fn for_all<R>(&self, work: impl FnOnce() -> R) -> R {
        account::of_machine(work)
    }

    fn say(&self, level: Level, text: core::fmt::Arguments<'_>) {
        match level {
            Level::Error => pr_err!("{}\n", Say(text)),
            Level::Warning => pr_warn!("{}\n", Say(text)),
            Level::Info => pr_info!("{}\n", Say(text)),
        }
    }

    fn say_now_and_then(&self, of: Part, level: Level, text: core::fmt::Arguments<'_>) {
        if log::may_say_more_of(of == Part::Users) {
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
        errands::begin(Errand::Announce);
    }

    fn transition_failed(&self, event: Option<Event>, state: State, why: &Failure) {
        self.begun.lock().take();
        luo_calls::log::failed(self, event, state, why);
        errands::begin(Errand::Announce);
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

    fn handler_is_missing(&self, handler: &Compat, first: &FileName, more: usize) {
        luo_calls::log::handler_is_missing(self, handler, first, more);
    }

    fn more_are_missing(&self, handlers: usize) {
        luo_calls::log::more_are_missing(self, handlers);
    }

    fn handler_has_come(&self, handler: &Compat, files: usize) {
        luo_calls::log::handler_has_come(self, handler, files);
    }

    fn user_kinds(&self) -> UserKinds {
        policy::user_kinds()
    }

    fn unread(&self, compatible: &str, data: u64, why: Unread) {
        let of = match task::is_administrator() {
            true => Part::Administrators,
            false => Part::Users,
        };
        self.say_now_and_then(
            of,
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
        in_turn(|| kho::give_to_allocator(address));
    }

    fn access(&self, file: &Lent) -> Access {
        file::access(file)
    }

    fn narrow(&self, file: Lent, access: Access) -> Result<Lent, Errno> {
        let narrowed = file::narrow(file.into_file(), access);
        narrowed.map(Lent::from).map_err(errno::of_kernel)
    }
}
