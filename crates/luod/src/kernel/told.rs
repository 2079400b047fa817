// SPDX-License-Identifier: MIT OR Apache-2.0
//! Facts that the kernel tells everybody. They are asked for while a call of the kernel's thread
//! hangs.

use std::sync::Arc;

use luo_preflight::system::System;
use luo_sys::State;

use super::device::told_state;

/// How a kernel stands, as it tells whoever looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its state, if it has one and tells it.
    pub state: Option<State>,
    /// Whether another kernel is loaded, if it tells that.
    pub is_loaded: Option<bool>,
}

/// Asks a kernel for that. It may hang, too.
pub type Tell = Arc<dyn Fn() -> Told + Send + Sync>;

impl Told {
    /// The facts that the running kernel tells.
    #[must_use]
    pub fn now() -> Self {
        Self {
            state: told_state(),
            is_loaded: System::default().is_loaded().ok(),
        }
    }

    /// A text with the same in words before it; with nothing where it tells nothing.
    #[must_use]
    pub fn before(&self, text: &str) -> String {
        let state = self.state.map(|state| format!("it is {state}"));
        let loaded = self.is_loaded.map(|is_loaded| match is_loaded {
            true => "the next kernel is loaded".to_owned(),
            false => "no other kernel is loaded".to_owned(),
        });
        let parts: Vec<_> = state.into_iter().chain(loaded).collect();
        if parts.is_empty() {
            return text.to_owned();
        }
        format!("the kernel says that {}: {text}", parts.join(" and that "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_not_said() {
        let told = |state, is_loaded| Told { state, is_loaded }.before("wait");
        assert_eq!(told(None, None), "wait");
        assert_eq!(
            told(Some(State::Prepared), Some(true)),
            "the kernel says that it is prepared and that the next kernel is loaded: wait"
        );
        assert_eq!(
            told(None, Some(false)),
            "the kernel says that no other kernel is loaded: wait"
        );
    }
}
