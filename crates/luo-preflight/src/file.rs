// SPDX-License-Identifier: MIT OR Apache-2.0
//! A descriptor that is to be preserved: whether the kernel can preserve it, and how much
//! memory that takes.
//!
//! Which types of files it preserves is the kernel's to say. Linux 7.3 alone preserves
//! memfds: files of shared memory without a name. What was swapped out of them is read in
//! then, and mainline's handler fills their holes. Huge pages are in their pool already: to
//! preserve a memfd of such takes records only.

mod facts;
mod look;

use std::collections::BTreeMap;

use luo_varlink::Check;

pub use self::facts::{Facts, Kind};
pub use self::look::{kind, look};
use crate::check::{Known, bytes, failed, ok, unknown, warning};
use crate::limits::MEMORY_RESERVE;
use crate::memfds::Memfds;
use crate::memory::Memory;
use crate::small;

/// The seals that `memfd-v2` knows: seal, shrink, grow, write, future write, exec.
pub const KNOWN_SEALS: u32 = 0x3f;

/// The mode of a file that mainline's handler makes.
const MAINLINES_MODE: u32 = 0o777;

/// `F_SEAL_WRITE` and `F_SEAL_EXEC`.
const WRITE: u32 = 0x8;
const EXEC: u32 = 0x20;

/// Pages of a file that can be preserved: as many as an unsigned int counts.
const MAX_PAGES: u64 = u32::MAX as u64;

/// Checks a file by itself: `file-kind`, `file-size`, `file-seals`, `file-memory`.
///
/// `name` says in words which file it is, for example `token 0x7 of session "vm"`.
/// `handlers` are the formats of the handlers that the kernel has; `None` if it does not
/// say. `memfds` says what the handlers of memfds are.
#[must_use]
pub fn checks(
    name: &str,
    facts: &Facts,
    memory: &Known<Memory>,
    handlers: Option<&[String]>,
    memfds: Memfds,
) -> Vec<Check> {
    let mut checks = vec![kind_check(name, facts.kind, handlers)];
    if facts.kind != Kind::Memfd {
        return checks;
    }
    if facts.pages() > MAX_PAGES {
        let found = format!(
            "{name} has {}: the kernel refuses it (EFBIG)",
            bytes(facts.size)
        );
        checks.push(failed("file-size", found, "split it into several memfds"));
    }
    let strange = facts.seals & !KNOWN_SEALS;
    if strange != 0 {
        let found = format!(
            "{name} has seals that memfd-v2 does not know ({strange:#x}): the kernel refuses it \
             (EOPNOTSUPP)"
        );
        checks.push(failed("file-seals", found, "do not set these seals"));
    }
    checks.extend(seal_check(name, facts, memfds));
    checks.extend(loss_check(name, facts, memfds));
    checks.push(memory_check(name, facts, memory, memfds));
    checks
}

/// A file that must not be executed and can be written: mainline's handler makes a file that
/// can be executed and seals it, and so forbids to write to it.
fn seal_check(name: &str, facts: &Facts, memfds: Memfds) -> Option<Check> {
    const NAME: &str = "file-seals";
    const REMEDY: &str = "create it with MFD_EXEC, or jump into a kernel with luo-memfd-v1";
    if facts.seals & EXEC == 0 || facts.seals & WRITE != 0 {
        return None;
    }
    let found =
        format!("{name} must not be executed (F_SEAL_EXEC, by MFD_NOEXEC_SEAL or vm.memfd_noexec)");
    let sealed = "gives it back sealed against writing and resizing";
    match memfds.exactly() {
        Some(true) => None,
        Some(false) => Some(failed(
            NAME,
            format!("{found}: mainline's handler {sealed}"),
            REMEDY,
        )),
        None => Some(warning(
            NAME,
            format!("{found}: a kernel with mainline's handler {sealed}"),
            REMEDY,
        )),
    }
}

/// What else mainline's handler does not know of a file.
fn loss_check(name: &str, facts: &Facts, memfds: Memfds) -> Option<Check> {
    if memfds.exactly() != Some(false) {
        return None;
    }
    let mut lost = Vec::new();
    // Of one that must not be executed more is said.
    if facts.mode != MAINLINES_MODE && facts.seals & EXEC == 0 {
        lost.push(format!("its mode {:#o}, which becomes 0o777", facts.mode));
    }
    if facts.has_flags {
        lost.push("O_APPEND or O_NONBLOCK".to_owned());
    }
    (!lost.is_empty()).then(|| {
        warning(
            "file-facts",
            format!(
                "{name} loses {} with mainline's handler",
                lost.join(" and ")
            ),
            "set it again in the next program, or jump into a kernel with luo-memfd-v1",
        )
    })
}

/// Whether the kernel preserves a kind of file, by the handlers that it has.
#[must_use]
pub fn kind_check(name: &str, kind: Kind, handlers: Option<&[String]>) -> Check {
    const NAME: &str = "file-kind";
    let is_memfds = |handler: &String| {
        let family = crate::image::family_of(handler);
        matches!(family, Some("memfd" | "luo-memfd"))
    };
    let list = handlers.map(|all| all.join(", ")).unwrap_or_default();
    let has_memfds = handlers.is_none_or(|all| all.iter().any(is_memfds));
    let is_small = |handler: &String| {
        let family = crate::image::family_of(handler);
        family.is_some_and(|family| small::families().any(|known| known == family))
    };
    let is_known = |handler: &String| is_memfds(handler) || is_small(handler);
    let has_others = handlers.is_some_and(|all| !all.iter().all(is_known));
    let (what, remedy) = match kind {
        Kind::Memfd if has_memfds => return ok(NAME, format!("{name} is a memfd")),
        Kind::Memfd => {
            let found = format!("{name} is a memfd, and the kernel has no handler for it");
            return failed(NAME, found, "build it with CONFIG_LIVEUPDATE_MEMFD=y");
        }
        Kind::Path => {
            let found = format!("{name} was opened with O_PATH: the kernel refuses it (EBADF)");
            return failed(NAME, found, "open the file itself");
        }
        Kind::Small(small) => return small.check(name, handlers),
        Kind::HugeTlb if small::HUGE.is_in(handlers) => return small::HUGE.check(name, handlers),
        Kind::HugeTlb => (small::HUGE.what, small::HUGE.remedy),
        Kind::Named => (
            "a file of shared memory with a name",
            "use memfd_create, or unlink it",
        ),
        Kind::Object(what) | Kind::Other(what) => (
            what,
            "preserve what the kernel has a handler for (docs/handlers.md); write into a memfd what \
             the next program needs to make the rest anew",
        ),
    };
    let found = format!("{name} is {what}");
    match handlers {
        Some(_) if has_others => unknown(
            NAME,
            format!(
                "{found}; the kernel has handlers of {list}, and whether one takes it shows when it is preserved"
            ),
            remedy,
        ),
        Some([]) => failed(
            NAME,
            format!("{found}: the kernel has no handlers, and refuses it (ENOENT)"),
            remedy,
        ),
        Some(_) => failed(
            NAME,
            format!("{found}: the kernel has a handler of {list} only, and refuses it (ENOENT)"),
            remedy,
        ),
        None if matches!(kind, Kind::Object(_)) => unknown(
            NAME,
            format!(
                "{found}; which handlers it has mainline's orchestrator does not say. That of Linux 7.3 has one for memfds only"
            ),
            remedy,
        ),
        None => failed(
            NAME,
            format!("{found}: the kernel refuses it (ENOENT)"),
            remedy,
        ),
    }
}

fn memory_check(name: &str, facts: &Facts, memory: &Known<Memory>, memfds: Memfds) -> Check {
    const NAME: &str = "file-memory";
    const REMEDY: &str = "make it smaller, or free memory: what is swapped out is read in when it \
                          is preserved, and mainline's handler fills holes";
    let takes = facts.to_allocate(memfds);
    let used = facts.size.saturating_sub(facts.holes);
    let swapped = match facts.swapped {
        Some(0) => String::new(),
        Some(swapped) => format!(", {} swapped out", bytes(swapped)),
        None => format!(", and up to {} may be swapped out", bytes(used)),
    };
    let found = format!(
        "preserving {name} ({}, of which {} are holes{swapped}) allocates {}",
        bytes(facts.size),
        bytes(facts.holes),
        bytes(takes),
    );
    let has_filled_holes = facts.holes > 0 && !memfds.here;
    let is_filled = has_filled_holes || facts.swapped.is_some_and(|swapped| swapped > 0);
    match memory {
        Ok(memory) if takes.saturating_add(MEMORY_RESERVE) > memory.available => failed(
            NAME,
            format!("{found}; {} are available", bytes(memory.available)),
            REMEDY,
        ),
        Err(why) if is_filled => unknown(
            NAME,
            format!("{found}; it is not known how much is available: {why}"),
            REMEDY,
        ),
        _ if facts.swapped.is_none() && used > 0 => unknown(
            NAME,
            format!("{found}, and what is swapped out: that the kernel does not tell"),
            "run Linux 6.5 or newer, and let luod ask it (cachestat in SystemCallFilter= of its \
             unit); or run without swap",
        ),
        _ if has_filled_holes => warning(NAME, found, "fill it yourself to know it in advance"),
        _ if is_filled => warning(NAME, found, "have it read in before, or run without swap"),
        _ => ok(NAME, found),
    }
}

/// Sums up what files allocate together, and checks that no two of them stand for the same
/// object: `file-object`. The files have names for messages.
#[must_use]
pub fn together(files: &[(String, Facts)], memfds: Memfds) -> (u64, Vec<Check>) {
    let mut seen = BTreeMap::new();
    let mut total: u64 = 0;
    let mut checks = Vec::new();
    // Only files of memory have numbers of their own: objects of the kernel share one, and so do
    // all that have opened one device. Which of them are the same the kernel tells.
    let has_number = |kind| matches!(kind, Kind::Memfd | Kind::HugeTlb | Kind::Named);
    for (name, facts) in files {
        let other = has_number(facts.kind).then(|| seen.insert(facts.object, name));
        match other.flatten() {
            Some(other) => checks.push(failed(
                "file-object",
                format!(
                    "{name} and {other} are the same file: the kernel refuses the second (EBUSY)"
                ),
                "preserve it once",
            )),
            None => total = total.saturating_add(facts.to_allocate(memfds)),
        }
    }
    (total, checks)
}
