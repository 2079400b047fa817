// SPDX-License-Identifier: MIT OR Apache-2.0
//! Standard output: a line `mark NAME SECONDS` a mark, `ok` or `FAILED` and its name a
//! case, and sentences.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::stage::Stage;

/// Standard output.
#[derive(Default)]
pub struct Terminal {
    failed: AtomicBool,
}

impl Terminal {
    /// Whether a case has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Stage for Terminal {
    fn mark(&self, name: &str) {
        // A clock that the simulated kexec does not stop.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        println!("mark {name} {}.{:09}", now.tv_sec, now.tv_nsec);
    }

    fn progress(&self, text: String) {
        println!("{text}");
    }

    fn case(&self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => println!("ok      demo::{name}"),
            Err(why) => {
                println!("FAILED  demo::{name}\n    {why:#}");
                self.failed.store(true, Ordering::Relaxed);
            }
        }
    }

    fn load_next(&self) -> Result<()> {
        // The simulator takes any file for a kernel.
        let kernel = File::open("/proc/self/exe")?;
        luo_sys::kexec::load(&kernel, None::<&File>, c"").context("loading the next kernel")
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn jump(&self) -> luo_sys::Error {
        luo_sys::kexec::execute()
    }
}
