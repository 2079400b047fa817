// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration and the policy, as an administrator has written them down. Both may be
//! read anew while the agent runs.

use std::rc::Rc;

use super::Agent;
use crate::decide::config::Config;
use crate::decide::policy::Policy;

impl Agent {
    pub(super) fn config(&self) -> Rc<Config> {
        Rc::clone(&self.config.borrow())
    }

    pub(super) fn policy(&self) -> Rc<Policy> {
        Rc::clone(&self.policy.borrow())
    }

    /// Goes by another configuration and another policy. The policy counts at once, for what
    /// it forbids is to end; the configuration when no update is under way, for an update has
    /// been checked by the one that it began with. The history stays where it is until the
    /// agent is started again.
    pub fn reload(&self, config: Config, policy: Policy) {
        let state_directory = self.config().state_directory.clone();
        if config.state_directory != state_directory {
            tracing::warn!("another state_directory counts when luod is started again");
        }
        self.not_reloaded.replace(None);
        self.policy.replace(Rc::new(policy));
        self.next_config.replace(Some(Config {
            state_directory,
            ..config
        }));
        if self.state.borrow().update.is_some() {
            tracing::info!("the configuration counts when this update is over");
        } else {
            self.take_next_config();
        }
    }

    /// Stays with the configuration and the policy that it has: others cannot be used.
    pub fn stays_as_it_was(&self, why: String) {
        self.not_reloaded.replace(Some(why));
    }

    /// Goes by the configuration that was read last.
    pub(super) fn take_next_config(&self) {
        if let Some(next) = self.next_config.take() {
            self.config.replace(Rc::new(next));
        }
    }
}
