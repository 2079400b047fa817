// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel tells everybody: it is asked while a call of the kernel's thread hangs.

use std::fs;
use std::sync::Arc;

use luo_sys::State;

use super::device::told_state;

/// Where a kernel says whether another one is loaded, the newer place first.
const LOADED: [&str; 2] = ["/sys/kernel/kexec/loaded", "/sys/kernel/kexec_loaded"];

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
    /// What the running kernel tells.
    #[must_use]
    pub fn now() -> Self {
        let mut texts = LOADED
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok());
        Self {
            state: told_state(),
            is_loaded: texts.next().map(|text| text.trim() == "1"),
        }
    }

    /// The same in words; nothing where it tells nothing.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let state = self.state.map(|state| format!("it is {state}"));
        let loaded = self.is_loaded.map(|is_loaded| match is_loaded {
            true => "the next kernel is loaded".to_owned(),
            false => "no other kernel is loaded".to_owned(),
        });
        let parts: Vec<_> = state.into_iter().chain(loaded).collect();
        (!parts.is_empty()).then(|| format!("the kernel says that {}", parts.join(" and that ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_not_said() {
        let told = |state, is_loaded| Told { state, is_loaded }.words();
        assert_eq!(told(None, None), None);
        assert_eq!(
            told(Some(State::Prepared), Some(true)).unwrap(),
            "the kernel says that it is prepared and that the next kernel is loaded"
        );
        assert_eq!(
            told(None, Some(false)).unwrap(),
            "the kernel says that no other kernel is loaded"
        );
    }
}
