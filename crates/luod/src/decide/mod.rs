// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is decided, apart from what is done. Nothing here does I/O, waits or keeps a
//! clock: what has happened comes in as arguments, and what is to be done comes out.
//!
//! | file | decides |
//! |---|---|
//! | `names` | which names there are, and which are whose own |
//! | `policy` | which identity may own what |
//! | `plan` | the order in which workloads are asked |
//! | `round` | which workload is asked now, and what an answer means |
//! | `record` | what one agent leaves for the next |
//! | `config` | deadlines, and how the machine jumps |
//! | `failed` | what to do about an error of the kernel or of the service manager |

pub mod config;
pub mod failed;
pub mod names;
pub mod plan;
pub mod policy;
pub mod record;
pub mod round;
