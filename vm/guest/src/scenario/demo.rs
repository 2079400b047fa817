// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demonstration in a real machine; what it does is in `luo_demo`.

use anyhow::Result;
use luo_demo::{Stage, service};

use crate::check::Suite;
use crate::init::Guest;
use crate::{kexec, kmsg, port};

const SUITE: Suite = Suite::new("demo");

/// Serves, jumps, and serves on.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let stage = Machine(guest);
    if guest.boot == 0 {
        service::before(&stage)
    } else {
        port::mark("init_started");
        service::after(&stage)
    }
}

struct Machine<'a>(&'a Guest);

impl Stage for Machine<'_> {
    fn mark(&self, name: &str) {
        port::mark(name);
    }

    fn progress(&self, text: String) {
        port::progress(text);
    }

    fn case(&self, name: &str, outcome: Result<()>) {
        SUITE.case(name, || outcome);
    }

    fn load_next(&self) -> Result<()> {
        kexec::load(self.0, |_, _| ())
    }

    fn settle(&self) -> Result<()> {
        kmsg::console_shows_all()
    }

    fn jump(&self) -> luo_sys::Error {
        kexec::jump()
    }
}
