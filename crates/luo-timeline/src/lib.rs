// SPDX-License-Identifier: MIT OR Apache-2.0
//! An update that is over, as a picture; and times, sizes and the words of others as people
//! read them. `luoctl` shows both, and `luod` writes the picture that `luoctl update --report`
//! has asked for. Pure functions: nothing is read or written here.
//!
//! | file | contents |
//! |---|---|
//! | [`text`] | times, sizes, words |
//! | `moment` | moments on both sides of a kexec |
//! | `lanes` | what each workload did, and when |
//! | `steady` | the times of an update, where the clock was set back in it |
//! | `svg` | the picture |
#![forbid(unsafe_code)]

mod lanes;
mod moment;
mod steady;
mod svg;
pub mod text;

pub use moment::{CLOCK_ERROR_US, Moment};
pub use svg::{TELLING, is_picture, svg};
