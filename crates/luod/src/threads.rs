// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads of luod: all that there will ever be are made when it starts. A thread that finds no
//! memory for itself ends the whole process, and who starts late may find none: in the middle of an
//! update that would be the worst moment. Without room for them luod does not begin.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

use crate::agent::ALL_THREADS;

/// How long the threads may take until they are there.
const PATIENCE: Duration = Duration::from_secs(10);

/// A thread of the runtime that has nothing to do stays: for a hundred years.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Why luod does not begin, where there are not as many.
#[derive(Debug, thiserror::Error)]
#[error("there can be no further thread: {0}")]
struct Missing(io::Error);

/// That a thread could not be made.
pub(crate) fn missing(why: io::Error) -> io::Error {
    io::Error::new(why.kind(), Missing(why))
}

/// Whether an error says that.
pub(crate) fn is_missing(why: &io::Error) -> bool {
    why.get_ref().is_some_and(|why| why.is::<Missing>())
}

/// Whether there can be as many threads as the runtime is to have: it would not say so, and end.
///
/// # Errors
/// There cannot.
pub(crate) fn can_be_had() -> io::Result<()> {
    let (all_are_there, told) = mpsc::channel::<()>();
    let told = Arc::new(Mutex::new(told));
    let threads: io::Result<Vec<_>> = (0..ALL_THREADS)
        .map(|_| {
            let told = Arc::clone(&told);
            // Each of them waits for the end of this side, or for one that does.
            let waits = move || drop(told.lock().map(|told| told.recv()));
            thread::Builder::new().spawn(waits)
        })
        .collect();
    drop(all_are_there);
    for thread in threads.map_err(missing)? {
        // It has nothing to say.
        let _ = thread.join();
    }
    Ok(())
}

/// The runtime, with all its threads.
///
/// # Errors
/// It, or they, cannot be made.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(ALL_THREADS)
        .thread_keep_alive(FOR_EVER)
        .build()
        .context("the runtime")?;
    have_all(&runtime, PATIENCE)?;
    Ok(runtime)
}

/// Has all threads of a runtime made: each has to be there for all to go on.
fn have_all(runtime: &Runtime, patience: Duration) -> io::Result<()> {
    let (tell, told) = mpsc::channel();
    let mut gates = Vec::new();
    for _ in 0..ALL_THREADS {
        let (gate, opens) = mpsc::channel::<()>();
        gates.push(gate);
        let tell = tell.clone();
        // Nobody waits for it.
        drop(runtime.spawn_blocking(move || {
            let _ = tell.send(());
            let _ = opens.recv();
        }));
    }
    let end = Instant::now().checked_add(patience);
    for there in 0..ALL_THREADS {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        match told.recv_timeout(left.unwrap_or(patience)) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let why = format!("{there} of {ALL_THREADS} are there after {patience:?}");
                return Err(missing(io::Error::other(why)));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_are_too_few_it_is_said() {
        can_be_had().unwrap();
        drop(runtime().unwrap());
        let few = Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let why = have_all(&few, Duration::from_millis(1)).unwrap_err();
        assert!(is_missing(&why), "{why:?}");
        assert!(why.to_string().contains("no further thread"), "{why}");
        assert!(!is_missing(&io::ErrorKind::NotFound.into()));
    }
}
