// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handovers that no kernel would write.
//!
//! ```text
//! boot 0    composes kind 0 with the test driver's help
//! ====================================================================== kexec
//! boot k    must have survived kind k-1, and is checked; then composes kind k
//! ====================================================================== kexec
//! last boot with liveupdate=off, says what it leaves alone
//! ```
//!
//! All others run with liveupdate=on: the test driver takes the orchestrator's own entries out
//! of what is handed over before it puts in what was composed.
//!
//! What the next kernel must know of this one, the pages' addresses and
//! checksums, travels on the command line.
//!
//! - [`compose`]: pages, and the records in them.
//! - [`kinds`]: the table of what can be wrong.
//! - [`memfds`], [`notes`], [`machines`]: what can be wrong with what one file has left.
//! - [`supplement`]: the entry beside them.
//! - [`verdict`]: what the next kernel must make of it.

mod compose;
mod kinds;
mod machines;
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
/// What is to become of a reboot when something cannot go.
const REBOOT: &str = "/sys/kernel/liveupdate/reboot";
/// Argument for the next kernel: the pages that were forged.
const PAGES: &str = "pages";

/// Checks what became of what the previous kernel forged, and forges the next.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    let kinds = chosen(guest.args.text(KIND).unwrap_or("all"))?;
    let forge = match Forge::open() {
        Ok(forge) => forge,
        Err(error) => {
            SUITE.case("all", || Err(error));
            return Ok(());
        }
    };
    let boot = guest.boot as usize;
    if let Some(kind) = boot.checked_sub(1).and_then(|kind| kinds.get(kind)) {
        let pages = guest.args.text(PAGES);
        let pages = pages.context("no pages were handed over")?;
        SUITE.case(kind.name, || verdict::check(kind, pages, &forge));
        if matches!(kind.expected, Expected::Refused) {
            vetoes(guest, kind)?;
        }
    }
    match kinds.get(boot) {
        Some(kind) => send(guest, kind, &forge),
        // Behind the last check a kernel boots that takes nothing over.
        None if boot == kinds.len() => kexec::go(guest, |line, _| line.set("liveupdate", "off")),
        None => {
            SUITE.case("left-to-a-kernel-that-takes-nothing", verdict::left_alone);
            Ok(())
        }
    }
}

/// What cannot be read cannot be carried on: where the administrator has it so, nothing is
/// lost unasked.
fn vetoes(guest: &Guest, kind: &Kind) -> Result<()> {
    kexec::load(guest, |_, _| {})?;
    fs::write(REBOOT, "veto").context(REBOOT)?;
    SUITE.case(format!("{}-vetoes-the-reboot", kind.name), || {
        refused::<()>(Err(kexec::jump()), Errno::EIO)
    });
    fs::write(REBOOT, "lose").context(REBOOT)
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
    let mut composer = Composer::new(forge);
    (kind.build)(&mut composer)?;
    forge.take_out_the_kernels()?;
    let pages = composer.commit()?;
    kexec::go(guest, |_: &mut CommandLine, args: &mut Args| {
        args.set(PAGES, &pages)
    })
}
