// SPDX-License-Identifier: MIT OR Apache-2.0
//! Decisions, apart from the actions that follow from them. Nothing here does I/O, waits or
//! reads a clock: events come in as arguments, and the next actions come out.
//!
//! | file | decides |
//! |---|---|
//! | `lines` | where something stands in a configuration |
//! | `misfit` | what fits nowhere in a configuration |
//! | `names` | which names there are, and which are whose own |
//! | `policy` | which identity may own what |
//! | `plan` | the order in which workloads are asked |
//! | `round` | which workload is asked now, and what an answer means |
//! | `gate` | whether an update is called off or the machine jumps |
//! | `record` | the record that one agent leaves for the next, and how it is judged |
//! | `seconds` | times, as configurations have them |
//! | `fleet` | by whose leave the machine is updated |
//! | `config` | deadlines, and how the machine jumps |
//! | `unwritable` | what to do about a file that cannot be written |
//! | `remedies` | what to do about an error of the kernel or of the service manager |
//! | `failed` | such an error, in words |

pub mod config;
pub mod failed;
pub mod fleet;
pub mod gate;
pub mod lines;
pub mod misfit;
pub mod names;
pub mod plan;
pub mod policy;
pub mod record;
mod remedies;
pub mod round;
pub mod seconds;
pub mod unwritable;
