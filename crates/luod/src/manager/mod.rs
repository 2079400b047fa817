// SPDX-License-Identifier: MIT OR Apache-2.0
//! The service manager: systemd, or the small one of `luod supervise`.
//!
//! | file | concern |
//! |---|---|
//! | `store` | the descriptor store: what is in it outlives the agent |
//! | `notify` | what the manager is told of the agent |
//! | `shutdown` | the shutdown that `jump = "systemctl"` takes |
//! | `supervise` | the small manager itself |
//! | `protocol` | what the agent and its manager agree upon |

pub mod notify;
mod protocol;
pub mod shutdown;
pub mod store;
pub mod supervise;
