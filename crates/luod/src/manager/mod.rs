// SPDX-License-Identifier: MIT OR Apache-2.0
//! The service manager: systemd, or the small one of `luod supervise`.
//!
//! | file | concern |
//! |---|---|
//! | `alone` | one agent for a kernel |
//! | `protocol` | the agreement between the agent and its manager |
//! | `notify` | messages to the manager |
//! | `inhibit` | a lock that keeps others from shutting down |
//! | `shutdown` | the shutdown that `jump = "systemctl"` takes |
//! | `store` | the descriptor store: what is in it outlives the agent |
//! | `supervise` | the small manager itself |

pub mod alone;
pub mod inhibit;
pub mod notify;
mod protocol;
pub mod shutdown;
pub mod store;
pub mod supervise;
