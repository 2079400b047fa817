// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel refuses, what it undoes, and what it keeps.
//!
//! | file | what is tried |
//! |---|---|
//! | [`ioctls`] | numbers, sizes and addresses of the calls |
//! | [`names`] | session names, and who may open the device |
//! | [`files`] | what can be preserved, and what not |
//! | [`lifetime`] | who keeps a session alive, and what its end undoes |
//! | [`across`] | the other side of a kexec |
//! | [`faults`] | handlers that fail, with the help of the test driver |
//!
//! Each case opens the device anew and leaves nothing behind.

mod across;
mod faults;
mod files;
mod ioctls;
mod lifetime;
mod names;

use anyhow::Result;

use crate::check::Suite;
use crate::init::Guest;
use crate::kexec;

const SUITE: Suite = Suite::new("behaviour");

/// A case: its name, and what it asserts.
type Case = (&'static str, fn() -> Result<()>);

/// Runs the cases of this side, then those of the other.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    if guest.boot > 0 {
        run_all(across::CASES);
        run_all(faults::AFTER);
        return Ok(());
    }
    for cases in [
        ioctls::CASES,
        names::CASES,
        files::CASES,
        lifetime::CASES,
        faults::BEFORE,
    ] {
        run_all(cases);
    }
    let _sessions = across::leave()?;
    let _faulty = faults::leave()?;
    kexec::load(guest, |_, _| ())?;
    run_all(faults::VETO);
    Err(kexec::jump().into())
}

fn run_all(cases: &[Case]) {
    for (name, case) in cases {
        SUITE.case(name, case);
    }
}
