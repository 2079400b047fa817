// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls on a host without a kernel and without processes.

mod arguments;
mod descriptors;
mod document;
mod lists;
mod news;
mod program;
mod states;
mod who;
