// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a target does, told to a person who replays an input.

use std::sync::OnceLock;

/// The variable that has a target say what it does, for a person who replays an input.
const SHOW: &str = "LUO_FUZZ_SHOW";

/// Tells it, if somebody wants to know.
pub(crate) fn show(what: core::fmt::Arguments<'_>) {
    static WANTED: OnceLock<bool> = OnceLock::new();
    if *WANTED.get_or_init(|| std::env::var_os(SHOW).is_some()) {
        eprintln!("{what}");
    }
}
