// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who takes part, under which names, and with how much.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use luo_sys::Token;

use crate::check::Suite;
use crate::fill::Prng;

pub(super) const SUITE: Suite = Suite::new("hostile-client");

/// Whom the hostile program runs as, and what the machine calls its sessions.
pub(super) const UID: u32 = 3001;

pub(super) const PREFIX: &str = "uid:3001:";

/// Whom the one runs as that holds sessions of the administrator's: of each user one may have the
/// device open.
pub(super) const HOLDER: u32 = 3003;

/// Whom the one runs as whose calls are costly.
pub(super) const COSTLY: u32 = 3004;

/// One who behaves and stands in the same line as that one.
pub(super) const NEIGHBOUR: u32 = COSTLY + 16;

/// Whom the one runs as whose calls are costly, and whose threads have no processor.
pub(super) const IDLE: u32 = 3009;

/// A guest's memory, and what belongs to it: 256 MiB and a few files.
pub(super) const LENGTHS: [u64; 5] = [256 << 20, 4 << 20, 4097, 4096, 1];

/// The session of the administrator's, and one of a user's that behaves.
pub(super) const GUEST: &str = "vm";

pub(super) const OTHER: &str = "uid:3002:vm";

pub(super) const OTHERS: u64 = 1 << 20;

/// A session of the administrator's that the guest's needs, and that is closed early.
pub(super) const BASE: &str = "base";

/// One whose descriptor the hostile program has, and its file's bytes.
pub(super) const PASSED: &str = "passed";

pub(super) const PASSED_BYTES: u64 = 5 << 12;

/// Those whose descriptors a program has that does its worst with them.
pub(super) const GIVEN: [&str; 3] = ["given-misses", "given-hangs", "given-closes"];

/// Whom the one runs as that has descriptors of files of the administrator's, and the session in
/// which those are.
pub(super) const SHARER: u32 = 3005;

pub(super) const SHARED_WITH: &str = "shares";

/// Whom those run as that read what the kernel tells everybody, and have never had the device; whose
/// sessions end in a full group; and whose writers stand in lines for pipes.
pub(super) const READER: u32 = 3006;

pub(super) const ENDER: u32 = 3007;

pub(super) const LINER: u32 = 3008;

/// The sessions of the second of those, as it calls them.
pub(super) const ENDS: [&str; 3] = ["ends-finished", "ends-closed", "ends-killed"];

/// The session of the third, as it calls it, and the pipes in it. That of the administrator's with
/// as many pipes of which it has an end.
pub(super) const LINED: &str = "lined";

pub(super) const LINES: u64 = 8;

/// The tokens of a pipe of the user's that behaves, to which its owner writes all the time.
pub(super) const BUSY: [Token; 2] = [Token(2), Token(3)];

/// The tokens of an eventfd and of a timer of the guest's, which the hostile program may use.
pub(super) const SMALL: [Token; 2] = [Token(10), Token(11)];

/// Names that others will want.
pub(super) const WANTED: [&str; 2] = ["systemd", "luod"];

/// How long it may take until the hostile program has tried all: each of its attacks takes
/// the processors from the others, and a checker slows all of them down.
pub(super) const PATIENCE: Duration = Duration::from_secs(1800);

/// The argument with when the machine has jumped, in seconds.
pub(super) const JUMPED: &str = "jumped";

/// Seconds of the wall clock, which each kernel begins by the machine's.
pub(super) fn wall_clock() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

pub(super) fn contents(token: u64) -> Prng {
    Prng::of(&[7, token])
}
