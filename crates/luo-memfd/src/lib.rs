// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Memfds as their handler leaves them for the next kernel, as bytes: written, and read with
//! distrust.
//!
//! There are three formats. Each begins with one page, the head:
//!
//! ```text
//! head   [Main][...][Facts][name][group]
//! ```
//!
//! [`luo_abi::memfd::Main`] is what mainline's `memfd-v2` has: size, position, seals, and where the
//! lists are. [`luo_abi::memfd::Facts`] stands behind it, where mainline's kernels leave zeros and do
//! not look: mode, owner, times, flags, name and control group. So a file that goes through
//! a kernel with mainline's handler loses what that handler does not know, and one that
//! goes from kernel to kernel of ours loses nothing, in either format.
//!
//! - [`Format::Mainline`], `memfd-v2`: one record a folio, in pages that `kho_restore_vmalloc()`
//!   finds. Mainline's kernels read it, and write it.
//! - [`Format::Runs`], `luo-memfd-v1`: one record for as many pages as follow each other in
//!   the file and in memory, each page of the list with a digest.
//! - [`Format::Huge`], `luo-hugetlb-v1`: the same, for files of huge pages. Its head requires a
//!   reader to know them.
//!
//! Beside the files stands [`Pools`]: how many huge pages they have, for the next kernel's
//! pools.
//!
//! Enter here: [`Written`] for the old kernel, [`read`] for the new one. Nothing here
//! touches a page of the file, or knows how it is kept.
//!
//! The kernel compiles these very files, so they use `core`, zerocopy, `luo-abi` and
//! `luo-core` only, never panic, and get memory through [`luo_core::mem`] alone.
#![cfg_attr(not(CONFIG_LIVEUPDATE_RUST), no_std)] // The kernel's build says so itself.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unreachable,
    clippy::todo
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic
    )
)]

#[cfg(test)]
extern crate std;

mod damage;
mod facts;
mod format;
mod lists;
mod pools;
mod read;
mod run;
mod source;
mod write;

#[cfg(test)]
mod tests;

pub use damage::{Damage, Unread};
pub use facts::{Facts, More, Short, Strings, Time, Times};
pub use format::Format;
pub use pools::{kept_huge_pages, Pools};
pub use read::{read, read_strings, Found};
pub use run::{joined, Run, MOST_AT_ONCE, MOST_ORDER, MOST_PAGES, MOST_PIECES};
pub use source::Source;
pub use write::Written;
