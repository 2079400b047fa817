// SPDX-License-Identifier: MIT OR Apache-2.0
//! Drawings of which workload needs which: pure functions of what the agent tells.

mod dot;
mod layout;
mod svg;
mod text;

pub use dot::dot;
pub use layout::of;
pub use svg::svg;
pub use text::text;
