// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host that programs call.

use core::fmt;
use core::sync::atomic::Ordering;

use luo_calls::{CallHost, Level};
use luo_core::Part;

use crate::host::TestHost;

impl CallHost for TestHost {
    const IMPLEMENTATION: &'static str = "test host";

    fn many_openers(&self) -> bool {
        !self.one_opener.load(Ordering::SeqCst)
    }

    fn opens_strictly(&self) -> bool {
        false
    }

    fn for_all<R>(&self, work: impl FnOnce() -> R) -> R {
        self.for_all.fetch_add(1, Ordering::SeqCst);
        work()
    }

    fn say(&self, level: Level, text: fmt::Arguments<'_>) {
        self.said.lock().unwrap().push((level, text.to_string()));
    }

    /// Each line, so that a test can count them.
    fn say_now_and_then(&self, _of: Part, level: Level, text: fmt::Arguments<'_>) {
        self.say(level, text);
    }
}
