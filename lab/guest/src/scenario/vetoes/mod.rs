// SPDX-License-Identifier: MIT OR Apache-2.0
//! Vetoes on a real machine: who is called when, what a veto undoes, and
//! the same things over a kexec.
//!
//! | file | what is there |
//! |---|---|
//! | [`set_up`] | three files, two subsystems, a chain of dependencies |
//! | [`refusals`] | vetoes and a missing dependency, by event and by reboot |
//! | [`arrival`] | the next kernel: retrieve, finish, and their order |

mod arrival;
mod refusals;
mod set_up;

use anyhow::Result;

use crate::init::Guest;
use crate::{kexec, kmsg};

use set_up::{SUITE, TOKEN};

/// Tries everything that is refused, then goes over.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    kmsg::console_shows_all()?;
    if guest.boot > 0 {
        return arrival::run(guest);
    }
    let mut set_up = set_up::SetUp::new()?;
    // Reboots that are refused need an image too. The token is not known yet.
    kexec::load(guest, |_, _| ())?;
    refusals::run(&mut set_up);
    let token = set_up.token;
    kexec::load(guest, |_, args| args.set(TOKEN, token.0))?;
    SUITE.case("prepare-and-freeze", || refusals::accepted(&set_up));
    let error = kexec::jump();
    // Sessions, device and subsystems were needed up to here.
    drop(set_up);
    Err(error.into())
}
