// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What can be asked: where the machine is, and what there is in it.

pub(crate) mod lists;
