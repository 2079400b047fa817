// SPDX-License-Identifier: MIT OR Apache-2.0
//! The service manager: systemd, or the small one of `luod supervise`.
//!
//! | file | concern |
//! |---|---|
//! | `protocol` | the agreement between the agent and its manager |
//! | `alone` | one agent for a kernel |
//! | `notify` | messages to the manager |
//! | `inhibit` | a lock that keeps others from shutting down |
//! | `shutdown` | the shutdown that `jump = "systemctl"` takes |
//! | `keeper` | who keeps descriptors |
//! | `labels` | by which names |
//! | `store` | the descriptor store: what is in it outlives the agent |
//! | `stores` | the stores of others, which a jump without a shutdown loses |
//! | `supervise` | the small manager itself |

pub mod alone;
pub mod inhibit;
pub(crate) mod keeper;
mod labels;
pub mod notify;
mod protocol;
pub mod shutdown;
pub mod store;
pub mod stores;
pub mod supervise;

use std::path::Path;

use luo_varlink::Check;

use crate::decide::config::Jump;

/// The check of a way to jump, by the service manager that runs: whether the agent outlives its
/// shutdown, or what is lost without one.
#[must_use]
pub fn check(jump: Jump, root: &Path) -> Option<Check> {
    match jump {
        Jump::Direct => stores::check(root),
        Jump::Systemctl => Some(shutdown::check(root)),
    }
}
