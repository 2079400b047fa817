// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy: what an administrator wants of a rollout, as a document.
//!
//! | module | contents |
//! |---|---|
//! | [`share`] | a number, or a share of the hosts |
//! | [`window`] | windows and freezes: when there may be updates |
//! | [`document`] | the document, as it is decided by |
//! | [`parse`] | how it is written in TOML, and what is wrong about it, with the line |

pub mod document;
pub mod parse;
pub mod share;
pub mod window;
