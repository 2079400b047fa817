// SPDX-License-Identifier: MIT OR Apache-2.0
//! One boot's loop: takes calls and last closes as they come, and has them handled.
//!
//! One thread at a time *leads*: it waits for what comes. What is quickly done it
//! does itself, which saves waking another. With a call that may take its time, such
//! as a transition, or that may have to wait for one, it goes off, and another leads.
//! A last close is done by the leader: whatever call comes after it finds it done,
//! as it would in the kernel, where close(2) does it. With the test driver
//! ([`crate::driver`]) calls and closes may wait for as long as a test likes: then
//! nothing is quick, and closes have threads of their own.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{Builder, Scope};

use luo_core::{Engine, Lock as _};
use luo_sys::seccomp::{Answer, Listener, Notification};
use luo_sys::supervise::Tree;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};

use crate::call::Done;
use crate::caller::Thread;
use crate::error::Error;
use crate::lock::lock;
use crate::machine::Machine;
use crate::reboot::Loaded;
use crate::stop::End;
use crate::syscalls::{self, Ours, Service};
use crate::table::Table;

/// Threads that wait to lead, at most; more than that are let go.
const SPARE: usize = 3;

/// What a boot cannot go on without, as the subject of an error.
const THREAD: &str = "a further thread (`ulimit -u`, or TasksMax= of the unit, says how many there \
                      may be)";

/// Sources of events that are no sockets; those have numbers of 32 bits.
const LISTENER: u64 = u64::MAX;
const CONTROL: u64 = u64::MAX - 1;
const STOP: u64 = u64::MAX - 2;

/// What one boot is run with.
pub(crate) struct Supervisor<'a> {
    machine: &'a Machine,
    tree: &'a Tree,
    listener: Arc<Listener>,
    loaded: &'a Loaded,
    table: Table,
    epoll: Arc<OwnedFd>,
    /// The leader's: events that it has not looked at yet.
    lead: Mutex<VecDeque<(u64, EventFlags)>>,
    /// Threads that wait to lead.
    waiting: AtomicUsize,
    /// Calls that are handled by threads that do not lead.
    under_way: AtomicUsize,
}

/// A call that the leader hands on.
struct Job {
    call: Notification,
    ours: Ours,
}

impl<'a> Supervisor<'a> {
    /// Gets ready to supervise a tree.
    ///
    /// # Errors
    /// Too many open files.
    pub(crate) fn new(
        machine: &'a Machine,
        tree: &'a Tree,
        loaded: &'a Loaded,
    ) -> Result<Self, Error> {
        let listener = Arc::clone(&tree.listener);
        let failed = || Error::system("epoll");
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed())?;
        let sources = [
            (LISTENER, listener.as_fd()),
            (STOP, machine.stop.event.as_fd()),
        ];
        for (number, fd) in sources {
            let data = EventData::new_u64(number);
            epoll::add(&epoll, fd, data, EventFlags::IN).map_err(failed())?;
        }
        let data = EventData::new_u64(CONTROL);
        epoll::add(&epoll, tree.control(), data, EventFlags::IN).map_err(failed())?;
        let epoll = Arc::new(epoll);
        Ok(Self {
            machine,
            tree,
            listener,
            loaded,
            table: Table::new(Arc::clone(&epoll)),
            epoll,
            lead: Mutex::default(),
            waiting: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
        })
    }

    /// Supervises until the boot ends.
    pub(crate) fn run(&self) {
        self.listener.wake_synchronously();
        std::thread::scope(|scope| {
            self.waiting.fetch_add(1, Ordering::AcqRel);
            self.work(scope);
        });
    }

    /// A thread's life: to lead, to handle what it was given, to wait for the lead.
    /// It is counted as waiting when it comes here.
    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        loop {
            let mut lead = lock(&self.lead);
            let mut job = self.next(scope, &mut lead);
            while let Some(quick) = job.take_if(|job| self.is_quick(job)) {
                self.handle(quick.call, &quick.ours);
                job = self.next(scope, &mut lead);
            }
            self.under_way.fetch_add(1, Ordering::AcqRel);
            // Somebody has to lead while this one handles the call.
            let left = self.waiting.fetch_sub(1, Ordering::AcqRel) - 1;
            if job.is_some() && left == 0 {
                self.waiting.fetch_add(1, Ordering::AcqRel);
                let leads = Builder::new().spawn_scoped(scope, || self.work(scope));
                self.needs(leads);
            }
            drop(lead);
            if let Some(Job { call, ours }) = &job {
                self.handle(*call, ours);
            }
            self.under_way.fetch_sub(1, Ordering::AcqRel);
            if job.is_none() {
                // A call that came out of a handler after the jump stands still in its kernel
                // for ever; here its thread has to end.
                self.machine.now(Engine::let_calls_end);
                return;
            }
            if self.waiting.fetch_add(1, Ordering::AcqRel) >= SPARE {
                self.waiting.fetch_sub(1, Ordering::AcqRel);
                return;
            }
        }
    }

    /// Whether a call can neither take long nor wait: all that it could wait for is
    /// under way in another thread.
    fn is_quick(&self, job: &Job) -> bool {
        let caller = Thread::new(&self.listener, job.call);
        self.machine.driver.is_none()
            && self.under_way.load(Ordering::Acquire) == 0
            && !job.ours.is_transition(&caller)
            && !self.machine.faults.can_delay()
    }

    /// Waits for a call that is ours; `None` if the boot ends.
    fn next<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        pending: &mut MutexGuard<'_, VecDeque<(u64, EventFlags)>>,
    ) -> Option<Job> {
        loop {
            if self.machine.stop.is_asked() {
                return None;
            }
            let Some((source, flags)) = pending.pop_front() else {
                if let Err(why) = self.gather(pending, None) {
                    self.machine.stop.ask(End::Broken(why));
                }
                continue;
            };
            match source {
                STOP => return None,
                CONTROL => self.command_ended(),
                LISTENER if flags.contains(EventFlags::IN) => {
                    if let Some(job) = self.receive(scope, pending) {
                        return Some(job);
                    }
                }
                // Nobody is left who could call.
                LISTENER => drop(epoll::delete(&self.epoll, &*self.listener)),
                number => self.happened(scope, number, flags),
            }
        }
    }

    /// Collects what has happened; waits for something unless a time is given.
    fn gather(
        &self,
        pending: &mut VecDeque<(u64, EventFlags)>,
        time: Option<Timespec>,
    ) -> Result<(), Error> {
        let mut events: Vec<Event> = Vec::with_capacity(256);
        let room = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, room, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(Error::system("epoll_wait")(why)),
        }
        pending.extend(events.iter().map(|event| (event.data.u64(), event.flags)));
        Ok(())
    }

    /// The boot breaks off where there can be no thread: nobody would lead.
    fn needs<T>(&self, thread: std::io::Result<T>) {
        if let Err(why) = thread {
            self.machine.stop.ask(End::Broken(Error::io(THREAD)(why)));
        }
    }

    fn command_ended(&self) {
        let end = match self.tree.ended() {
            Ok(status) => End::Exited(status),
            Err(why) => End::Broken(Error::io("the init of the simulated machine")(why)),
        };
        self.machine.stop.ask(end);
    }

    /// Takes a call. One that is not ours is let through at once.
    fn receive<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        pending: &mut VecDeque<(u64, EventFlags)>,
    ) -> Option<Job> {
        let call = match self.listener.receive() {
            Ok(call) => call?,
            Err(why) => {
                self.machine.stop.ask(End::Broken(Error::forbidden(why)));
                return None;
            }
        };
        let caller = Thread::new(&self.listener, call);
        let Some(ours) = syscalls::triage(self.machine, &caller) else {
            self.answer(call.id, Answer::Continue);
            return None;
        };
        self.let_the_killed_go();
        // What was closed before the call was made is seen by now, and done first.
        // A source may come twice; it is gone then.
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        loop {
            let mut closes = VecDeque::new();
            if self.gather(&mut closes, Some(now)).is_err() || closes.is_empty() {
                break;
            }
            let is_source = |&(source, _): &(u64, EventFlags)| source < STOP;
            let mut any = false;
            for (source, flags) in closes.into_iter().filter(is_source) {
                any = true;
                self.happened(scope, source, flags);
            }
            if !any {
                break;
            }
        }
        // All that is left is to be gathered anew.
        pending.clear();
        Some(Job { call, ours })
    }

    /// A program that was killed while it waited for its turn is gone, with all its
    /// descriptors, for every call after that. Its own call still has copies of them here
    /// until it sees that the program is gone.
    fn let_the_killed_go(&self) {
        let killed = || {
            let calls = lock(&self.machine.calls);
            let mut waiting = calls.iter().filter(|&(_, &waits)| waits);
            waiting.any(|(&id, _)| !self.listener.is_waiting(id))
        };
        while killed() && !self.machine.stop.is_asked() {
            self.machine.queues.wake_all();
            std::thread::yield_now();
        }
    }

    /// Something has happened to a descriptor that programs hold.
    fn happened<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        number: u64,
        flags: EventFlags,
    ) {
        let closed = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        let Some(object) = self.table.happened(self.machine, number, closed) else {
            return;
        };
        let machine = self.machine;
        let Some(driver) = &machine.driver else {
            return object.release(machine);
        };
        driver.close_begins();
        let closes = Builder::new().spawn_scoped(scope, move || {
            object.release(machine);
            driver.close_ends();
        });
        self.needs(closes);
        driver.let_closes_end(&machine.stop);
    }

    fn handle(&self, call: Notification, ours: &Ours) {
        if let Some(driver) = &self.machine.driver {
            driver.let_closes_end(&self.machine.stop);
        }
        let service = Service {
            machine: self.machine,
            table: &self.table,
            loaded: self.loaded,
        };
        lock(&self.machine.calls).insert(call.id, false);
        let caller = Thread::new(&self.listener, call);
        let done = service.serve(&caller, ours);
        lock(&self.machine.calls).remove(&call.id);
        // A machine that goes answers nobody.
        if self.machine.stop.is_asked() {
            return;
        }
        let answer = match done {
            Ok(Done::Value(value)) => Answer::Value(value),
            Ok(Done::Foreign) => Answer::Continue,
            Ok(Done::Gone) => return,
            Err(errno) => Answer::Error(errno),
        };
        self.answer(call.id, answer);
    }

    fn answer(&self, id: u64, answer: Answer) {
        // A caller that does not wait any more was killed, so an error here says nothing.
        let _ = self.listener.answer(id, answer);
    }
}
