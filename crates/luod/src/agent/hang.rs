// SPDX-License-Identifier: MIT OR Apache-2.0
//! A job of the kernel's thread that is not waited for any longer. It is done as soon as the
//! kernel answers; until then others are told at once what the kernel hangs in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::kernel::Kernel;

/// The jump, as the subject of a sentence. While the kernel hangs in it all stand still.
pub(super) const JUMP: &str = "the jump";

/// A call of an update that is off, as the subject of a sentence: what it was asked for is undone
/// behind it.
pub(super) const UNDO: &str = "a call that was made for an update that is off";

/// The remedy for a kernel that hangs.
const REMEDY: &str = "`dmesg` may say what it waits for; nothing is lost meanwhile, and luod goes on \
                      when the kernel does";

/// The same where it hangs in the jump.
const STUCK: &str = "all workloads stand still, and it cannot be called off any more. `dmesg` may \
                     say what the kernel waits for, a driver mostly; if that does not end, only a \
                     reset helps, and what is preserved is lost";

/// The same where an update is not undone yet.
pub(super) const NOT_UNDONE: &str = "until it has, the kernel may be prepared and the next one \
                                     loaded, and any reboot jumps into that. `dmesg` may say what \
                                     it waits for, a disk mostly; luod undoes the rest when it \
                                     comes back";

/// The remedy for a call that the kernel hangs in.
pub(super) fn remedy(what: &str) -> &'static str {
    match what {
        JUMP => STUCK,
        UNDO => NOT_UNDONE,
        _ => REMEDY,
    }
}

/// A call that the kernel may hang in.
pub(super) struct Hang {
    /// The subject of a sentence.
    what: &'static str,
    since: Instant,
    is_done: Arc<AtomicBool>,
}

impl Hang {
    /// The job, whose end can be seen from here.
    pub(super) fn watch<T>(
        what: &'static str,
        job: impl FnOnce(&mut dyn Kernel) -> T + Send + 'static,
    ) -> (Self, impl FnOnce(&mut dyn Kernel) -> T + Send + 'static) {
        let is_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&is_done);
        let watched = move |kernel: &mut dyn Kernel| {
            let result = job(kernel);
            done.store(true, Ordering::Release);
            result
        };
        let since = Instant::now();
        (
            Self {
                what,
                since,
                is_done,
            },
            watched,
        )
    }

    /// The name of the call, and since when it hangs, while it is not done.
    pub(super) fn hangs(&self) -> Option<(&'static str, Instant)> {
        (!self.is_done.load(Ordering::Acquire)).then_some((self.what, self.since))
    }
}
