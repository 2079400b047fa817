// SPDX-License-Identifier: MIT OR Apache-2.0
//! Times, as timelines have them, and waiting. The reading of the clock is in `journal::clock`.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Somebody who waits for a moment.
struct Wait {
    until: Instant,
    tell: oneshot::Sender<()>,
}

/// The thread that counts for all, once it is there.
static COUNTER: Mutex<Option<mpsc::Sender<Wait>>> = Mutex::new(None);

/// So many may have gone before it is looked for them.
const GONE: usize = 1024;

/// Has the thread made that counts deadlines. Later there may be no memory for one.
///
/// # Errors
/// There can be no further thread.
pub fn begin_to_count() -> io::Result<()> {
    counter().map(drop)
}

fn counter() -> io::Result<mpsc::Sender<Wait>> {
    let mut counter = COUNTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(counter) = &*counter {
        return Ok(counter.clone());
    }
    let (tell, told) = mpsc::channel();
    let thread = std::thread::Builder::new().name("deadline".into());
    thread.spawn(move || count(&told))?;
    Ok(counter.insert(tell).clone())
}

fn count(told: &mpsc::Receiver<Wait>) {
    let mut waits: BTreeMap<(Instant, u64), oneshot::Sender<()>> = BTreeMap::new();
    let mut number: u64 = 0;
    let mut most = GONE;
    loop {
        while let Some(first) = waits.first_entry() {
            let (until, _) = *first.key();
            if until > Instant::now() {
                break;
            }
            let tell = first.remove();
            // Perhaps nobody waits for it any more.
            let _ = tell.send(());
        }
        let next = waits.first_key_value().map(|((until, _), _)| *until);
        let heard = match next {
            Some(until) => told.recv_timeout(until.saturating_duration_since(Instant::now())),
            None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match heard {
            Ok(Wait { until, tell }) => {
                number = number.wrapping_add(1);
                waits.insert((until, number), tell);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if waits.len() > most {
            waits.retain(|_, tell| !tell.is_closed());
            most = GONE.max(2 * waits.len());
        }
    }
}

/// Ends after a time, as the machine counts it. The runtime's own clock is not asked: while
/// the kernel's thread is at work and nothing else happens, that of the tests would run ahead.
pub(super) async fn after(time: Duration) {
    let Some(until) = Instant::now().checked_add(time) else {
        return std::future::pending().await;
    };
    let (tell, told) = oneshot::channel();
    let waits = counter().map(|counter| counter.send(Wait { until, tell }));
    match waits {
        Ok(Ok(())) => drop(told.await),
        // There can be no more threads.
        _ => tokio::time::sleep(time).await,
    }
}

/// How long a call of the kernel may take at the start before that is told.
const LONG: Duration = Duration::from_secs(10);

/// Waits for a call of the kernel before which nobody is served. That it takes long is told, and
/// nothing else comes of it: whoever has started luod has a deadline.
pub async fn at_last<T>(call: &str, told: impl Future<Output = T>) -> T {
    at_last_telling(LONG, |words| tracing::warn!("{words}"), call, told).await
}

/// The same, which tells so after such a time.
async fn at_last_telling<T>(
    patience: Duration,
    tell: impl FnOnce(&str),
    call: &str,
    told: impl Future<Output = T>,
) -> T {
    let mut told = pin!(told);
    tokio::select! {
        biased;
        told = told.as_mut() => return told,
        () = after(patience) => tell(&format!(
            "the kernel has not answered for {} s, and nobody is served before: {call}. `dmesg` may \
             say what it waits for",
            patience.as_secs_f64()
        )),
    }
    told.await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One thread counts for all, in the order of the moments and not of the questions.
    #[test]
    fn who_waits_for_less_is_told_first() {
        let (ask, asked) = mpsc::channel();
        let counting = std::thread::spawn(move || count(&asked));
        let now = Instant::now();
        let wait = |until| {
            let (tell, told) = oneshot::channel();
            ask.send(Wait { until, tell }).unwrap();
            told
        };
        let mut late = wait(now + Duration::from_secs(3600));
        // A task that does not wait any more is forgotten.
        for _ in 0..3 * GONE {
            drop(wait(now + Duration::from_secs(3600)));
        }
        let early = wait(now + Duration::from_millis(1));
        early.blocking_recv().unwrap();
        assert!(late.try_recv().is_err());
        drop(ask);
        counting.join().unwrap();
        assert!(late.blocking_recv().is_err(), "it ends with whoever asks");
    }

    #[tokio::test]
    async fn a_kernel_that_does_not_answer_at_the_start_is_told_of_and_waited_for() {
        let patience = Duration::from_millis(1);
        let (answer, answers) = oneshot::channel();
        let mut words = String::new();
        // It answers when that is told, and not before.
        let tell = |told: &str| {
            words = told.to_owned();
            answer.send(7).unwrap();
        };
        let answered = at_last_telling(patience, tell, "GET_INFO", answers).await;
        assert_eq!(answered.unwrap(), 7);
        assert!(words.contains("not answered for 0.001 s"), "{words}");
        assert!(words.contains("GET_INFO"), "{words}");
        // Of one that answers nothing is told.
        let quick = at_last_telling(LONG, |_| panic!("told"), "GET_INFO", async { 8 });
        assert_eq!(quick.await, 8);
    }
}
