// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The containers that the engine is kept in. Every growth can fail.

pub(crate) mod beside;
pub(crate) mod hash;
pub(crate) mod index;
pub(crate) mod list;
pub(crate) mod segments;
pub(crate) mod slab;
