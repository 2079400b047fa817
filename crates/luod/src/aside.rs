// SPDX-License-Identifier: MIT OR Apache-2.0
//! Closing a descriptor may wait for whoever is behind it: to let go of a session, the kernel
//! may want the lock of a file's inode, which a program has for as long as it writes. So what
//! the agent holds for others is closed by threads, and what a peer says is a session is asked
//! for its name by one. So many of them may wait at the same time; what comes then waits behind
//! them. luod has them all made when it starts, and none later: where a thread finds no memory for
//! itself, all of luod would end.

use std::collections::VecDeque;
use std::io;
use std::ops::Deref;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Threads that may wait at the same time.
const MOST: usize = 64;

/// Bytes of the stack of each: they close, and ask for a name.
const STACK: usize = 256 << 10;

type Job = Box<dyn FnOnce() + Send>;

/// The queue of jobs, and the threads that work on it.
struct Queue {
    jobs: VecDeque<Job>,
    /// When each thread has begun with what it does now, if it does something.
    threads: Vec<Option<Instant>>,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue::new());

/// A job has come.
static COMES: Condvar = Condvar::new();

impl Queue {
    const fn new() -> Self {
        Self {
            jobs: VecDeque::new(),
            threads: Vec::new(),
        }
    }

    /// Whether one more thread is wanted, and may be.
    fn wants_more(&self) -> bool {
        let idle = self.threads.len() - self.busy();
        self.jobs.len() > idle && self.threads.len() < MOST
    }

    /// One more thread. It has its place before it looks for a job.
    fn start(&mut self) -> io::Result<()> {
        let place = self.threads.len();
        let thread = std::thread::Builder::new().name("aside".into());
        thread.stack_size(STACK).spawn(move || work(place))?;
        self.threads.push(None);
        Ok(())
    }

    /// The next job of a thread; without one it waits.
    fn next(&mut self, place: usize) -> Option<Job> {
        let job = self.jobs.pop_front();
        if let Some(begun) = self.threads.get_mut(place) {
            *begun = job.is_some().then(Instant::now);
        }
        job
    }

    fn busy(&self) -> usize {
        self.threads.iter().flatten().count()
    }
}

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The work of a thread.
fn work(place: usize) {
    let mut held = queue();
    loop {
        held = match held.next(place) {
            Some(job) => {
                // The lock is given back before the job is done.
                drop(held);
                job();
                queue()
            }
            None => COMES.wait(held).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Has all threads made that there may ever be: later there may be no memory for one.
///
/// # Errors
/// There cannot be so many.
pub(crate) fn begin() -> io::Result<()> {
    let mut queue = queue();
    while queue.threads.len() < MOST {
        queue.start()?;
    }
    Ok(())
}

/// Has a thread do something, and gives what waits for its end.
pub(crate) fn run<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (tell, told) = oneshot::channel();
    let job = move || {
        // If nobody waits for it any more, it goes here.
        drop(tell.send(job()));
    };
    let started = {
        let mut queue = queue();
        queue.jobs.push_back(Box::new(job));
        match queue.wants_more() {
            true => queue.start(),
            false => Ok(()),
        }
    };
    COMES.notify_one();
    if let Err(why) = started {
        tracing::error!("descriptors are closed later: no thread can be started: {why}");
    }
    told
}

/// Has a thread close something.
pub(crate) fn close(what: impl Send + 'static) -> oneshot::Receiver<()> {
    run(move || drop(what))
}

/// Whether a thread is free for one more.
pub(crate) fn has_room() -> bool {
    let queue = queue();
    queue.busy() < MOST && queue.jobs.len() < MOST
}

/// How many jobs are not done yet, and how long the one that hangs longest has been waited
/// for, if that is longer than `patience`.
pub(crate) fn hanging(patience: Duration) -> Option<(usize, Duration)> {
    let queue = queue();
    let since = queue.threads.iter().flatten().min()?;
    let waited = Some(since.elapsed()).filter(|waited| *waited >= patience)?;
    Some((queue.busy() + queue.jobs.len(), waited))
}

/// Something that threads close when it is dropped.
#[derive(Debug)]
pub struct Aside<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Aside<T> {
    /// Has it closed, and gives what waits for that.
    pub(crate) fn close(mut self) -> Option<oneshot::Receiver<()>> {
        self.0.take().map(close)
    }

    /// The thing itself, which whoever has it closes.
    pub(crate) fn into_inner(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T: Send + 'static> From<T> for Aside<T> {
    fn from(what: T) -> Self {
        Self(Some(what))
    }
}

impl<T: Send + 'static> Deref for Aside<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(what) => what,
            None => unreachable!("only what has it as a value takes it out"),
        }
    }
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        if let Some(what) = self.0.take() {
            // Nobody waits for it.
            drop(close(what));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Its close waits until the other end is dropped.
    struct Hangs(mpsc::Receiver<()>);

    impl Drop for Hangs {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn who_drops_it_does_not_wait() {
        let (release, hangs) = mpsc::channel();
        let kept = Aside::from(Hangs(hangs));
        let mut closed = kept.close().unwrap();
        assert!(closed.try_recv().is_err());
        drop(release);
        closed.blocking_recv().unwrap();
    }

    #[test]
    fn what_is_taken_out_is_not_closed() {
        let (release, hangs) = mpsc::channel::<()>();
        let taken = Aside::from(hangs).into_inner().unwrap();
        drop(release);
        assert!(taken.recv().is_err());
    }

    #[test]
    fn so_many_threads_wait_and_no_more() {
        let mut queue = Queue::new();
        let comes = |queue: &mut Queue| queue.jobs.push_back(Box::new(|| ()));
        comes(&mut queue);
        assert!(queue.wants_more(), "there is none");
        queue.threads.push(None);
        assert!(!queue.wants_more(), "there is one that waits");
        assert!(queue.next(0).is_some());
        comes(&mut queue);
        assert!(queue.wants_more(), "it is at another");
        queue.threads.resize(MOST, Some(Instant::now()));
        assert!(!queue.wants_more(), "there are as many as may be");
        assert_eq!(queue.busy(), MOST);
        assert!(queue.next(0).is_some());
        assert!(queue.next(0).is_none());
        assert_eq!(queue.busy(), MOST - 1);
    }
}
