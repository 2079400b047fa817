// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration and the policy, as an administrator has written them down. Both may be
//! read anew while the agent runs.

use std::path::Path;
use std::rc::Rc;

use super::Agent;
use crate::decide::config::Config;
use crate::decide::policy::Policy;
use crate::kernel::HandedOn;

/// That the configuration names another place for the history than the one that it is in.
fn moves_later(from: &Path, to: &Path) -> String {
    format!(
        "state_directory is {} by now, and the history stays in {} until luod is started again: \
         `systemctl restart luod`",
        to.display(),
        from.display()
    )
}

impl Agent {
    pub(super) fn config(&self) -> Rc<Config> {
        Rc::clone(&self.config.borrow())
    }

    /// The facts about guests' clocks that the next kernel is told.
    pub(super) fn handed_on(&self) -> HandedOn {
        HandedOn::of(&self.config())
    }

    pub(super) fn policy(&self) -> Rc<Policy> {
        Rc::clone(&self.policy.borrow())
    }

    /// How many connections a user may have.
    #[must_use]
    pub fn connections_of_user(&self) -> usize {
        self.policy().limits.connections
    }

    /// Goes by another configuration and another policy. The policy counts at once, for what
    /// it forbids is to end; the configuration when no update is under way, for an update has
    /// been checked by the one that it began with. The history stays where it is until the
    /// agent is started again.
    pub fn reload(&self, config: Config, policy: Policy) {
        let state_directory = self.config().state_directory.clone();
        let another = (config.state_directory != state_directory).then_some(config.state_directory);
        if let Some(another) = &another {
            tracing::warn!("{}", moves_later(&state_directory, another));
        }
        self.moves_later.replace(another);
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

    /// That the history moves at the next start, if it does.
    pub(super) fn moves_later(&self) -> Option<String> {
        let another = self.moves_later.borrow();
        let another = another.as_deref()?;
        Some(moves_later(&self.config().state_directory, another))
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
