// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handovers that no kernel would write.
//!
//! ```text
//! boot 2k   (liveupdate=off)  composes kind k with the test driver's help
//! ====================================================================== kexec
//! boot 2k+1 (liveupdate=on)   must have survived it, and is checked
//! ====================================================================== kexec
//! ```
//!
//! What the second kernel must know of the first, the pages' addresses and
//! checksums, travels on the command line.
//!
//! - [`compose`]: pages, and the records in them.
//! - [`kinds`]: the table of what can be wrong.
//! - [`memfds`], [`notes`]: what can be wrong with what one file has left.
//! - [`supplement`]: the entry beside them.
//! - [`verdict`]: what the next kernel must make of it.

mod compose;
mod kinds;
mod memfds;
mod notes;
mod supplement;
mod verdict;

use std::fs;

use anyhow::{Context, Result, ensure};
use luo_sys::Errno;

use self::compose::Composer;
use self::kinds::{Expected, KINDS, Kind};
use crate::check::{Suite, refused};
use crate::command_line::{Args, CommandLine};
use crate::forge::Forge;
use crate::init::Guest;
use crate::kexec;

const SUITE: Suite = Suite::new("hostile");

/// Argument: the kind to forge, or `all`.
const KIND: &str = "kind";
/// Argument for the next kernel: it was booted only to switch the
/// orchestrator off.
const RESTARTED: &str = "restarted";
/// What is to become of a reboot when something cannot go.
const REBOOT: &str = "/sys/kernel/liveupdate/reboot";
/// Argument for the next kernel: the pages that were forged.
const PAGES: &str = "pages";

/// Forges, or checks what became of it.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let kinds = chosen(guest.args.text(KIND).unwrap_or("all"))?;
    let Some(kind) = kinds.get((guest.boot / 2) as usize) else {
        // The kernel behind the last check was booted for nothing; that it
        // boots at all has been the point.
        return Ok(());
    };
    let forge = match Forge::open() {
        Ok(forge) => forge,
        Err(error) => {
            SUITE.case("all", || Err(error));
            return Ok(());
        }
    };
    if guest.boot.is_multiple_of(2) {
        return send(guest, kind, &forge);
    }
    let pages = guest
        .args
        .text(PAGES)
        .context("no pages were handed over")?;
    SUITE.case(kind.name, || verdict::check(kind, pages, &forge));
    if guest.boot as usize + 1 == 2 * kinds.len() {
        return Ok(());
    }
    kexec::load(guest, |line, _| line.set("liveupdate", "off"))?;
    if matches!(kind.expected, Expected::Refused) {
        // What cannot be read cannot be carried on: where the administrator has it so,
        // nothing is lost unasked.
        fs::write(REBOOT, "veto").context(REBOOT)?;
        SUITE.case(format!("{}-vetoes-the-reboot", kind.name), || {
            refused::<()>(Err(kexec::jump()), Errno::EIO)
        });
        fs::write(REBOOT, "lose").context(REBOOT)?;
    }
    Err(kexec::jump().into())
}

fn chosen(name: &str) -> Result<Vec<&'static Kind>> {
    let kinds: Vec<&Kind> = KINDS
        .iter()
        .filter(|kind| name == "all" || kind.name == name)
        .collect();
    ensure!(!kinds.is_empty(), "no kind '{name}'");
    Ok(kinds)
}

fn send(guest: &Guest, kind: &Kind, forge: &Forge) -> Result<()> {
    if !is_off(guest) {
        // The entry is taken; boot once more, with the orchestrator off.
        return restart_off(guest);
    }
    let mut composer = Composer::new(forge);
    (kind.build)(&mut composer)?;
    let pages = composer.commit()?;
    kexec::go(guest, |line: &mut CommandLine, args: &mut Args| {
        line.set("liveupdate", "on");
        args.set(PAGES, &pages);
    })
}

fn is_off(guest: &Guest) -> bool {
    matches!(guest.line.get("liveupdate"), None | Some("off" | "0" | "n"))
}

/// The same boot number again, with `liveupdate=off`.
fn restart_off(guest: &Guest) -> Result<()> {
    ensure!(
        guest.args.text(RESTARTED).is_none(),
        "the kernel did not take liveupdate=off"
    );
    kexec::again(guest, |line, args| {
        line.set("liveupdate", "off");
        args.set(RESTARTED, 1);
    })
}
