// SPDX-License-Identifier: MIT OR Apache-2.0
//! Times, as timelines have them, and waiting. What the clock says is in `journal::clock`.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Ends after a time, as the machine counts it. The runtime's own clock is not asked: while
/// the kernel's thread is at work and nothing else happens, that of the tests would run ahead.
pub(super) async fn after(time: Duration) {
    let (tell, told) = oneshot::channel();
    // A task that does not wait any more drops this, and the thread ends.
    let (_waits, gone) = mpsc::channel::<()>();
    let thread = std::thread::Builder::new().name("deadline".into());
    let begun = thread.spawn(move || {
        if gone.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
            let _ = tell.send(());
        }
    });
    match begun {
        Ok(_) => drop(told.await),
        // There can be no more threads.
        Err(_) => tokio::time::sleep(time).await,
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
