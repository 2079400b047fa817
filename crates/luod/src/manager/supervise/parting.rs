// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last words of the small manager: it names the descriptors that are lost with it. An agent
//! that is told to end names them itself; where none runs, or it hung, nobody else would.

use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use luo_sys::Session;

/// How long the kernel may take to name all that is kept.
const NAMING: Duration = Duration::from_secs(3);

/// Names that are said.
const NAMES: usize = 100;

/// The remedy while luod does not run.
pub(super) const KEEP_RUNNING: &str = "do not end this process: what it keeps goes with it. When \
                                       what keeps luod from running is mended, HUP starts it at \
                                       once";

/// How many descriptors those are.
pub(super) fn count(many: usize) -> String {
    match many {
        1 => "1 descriptor".to_owned(),
        many => format!("{many} descriptors"),
    }
}

/// Says what goes with this process, which is told to end.
pub(super) fn tell(kept: Vec<(String, OwnedFd)>) {
    if kept.is_empty() {
        return;
    }
    let many = kept.len();
    tracing::error!("{}", words(many, &names(kept)));
}

fn words(many: usize, names: &[String]) -> String {
    let mut words = format!(
        "told to end while luod does not run: what luod has left here goes with this process ({})",
        count(many)
    );
    let said: Vec<_> = names.iter().take(NAMES).cloned().collect();
    let more = many.saturating_sub(said.len());
    match (said.is_empty(), more) {
        (true, _) => words += ", and the kernel does not name it",
        (false, 0) => words += &format!(": {}", said.join(", ")),
        (false, more) => words += &format!(": {}, and {more} more", said.join(", ")),
    }
    words
}

/// The names of sessions: as many as the kernel tells in time.
fn names(kept: Vec<(String, OwnedFd)>) -> Vec<String> {
    let (tell, told) = mpsc::channel();
    let naming = move || {
        // None is closed before the end: that may have to be waited for.
        let mut sessions = Vec::new();
        for (_, fd) in kept {
            let session = Session::from_fd(fd);
            if let Ok(name) = session.name() {
                // Perhaps nobody waits for it any more.
                let _ = tell.send(name.to_string());
            }
            sessions.push(session);
        }
        drop(tell);
    };
    if std::thread::Builder::new().spawn(naming).is_err() {
        return Vec::new();
    }
    let deadline = Instant::now() + NAMING;
    let left = || deadline.saturating_duration_since(Instant::now());
    std::iter::from_fn(|| told.recv_timeout(left()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_goes_is_counted_and_named_as_far_as_it_has_names() {
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let one = words(1, &strings(&["box"]));
        assert!(one.ends_with("(1 descriptor): box"), "{one}");
        let some = words(3, &strings(&["a", "b"]));
        assert!(some.ends_with(": a, b, and 1 more"), "{some}");
        let none = words(2, &[]);
        assert!(none.contains("(2 descriptors), and"), "{none}");
        let many: Vec<_> = (0..101).map(|number| number.to_string()).collect();
        let many = words(101, &many);
        assert!(many.ends_with(", 99, and 1 more"), "{many}");
        // A descriptor that is no session has no name, and keeps nobody waiting.
        let null = File::open("/dev/null").unwrap();
        assert_eq!(names(vec![("0".to_owned(), null.into())]), [] as [&str; 0]);
    }
}
