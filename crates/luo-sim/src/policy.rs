// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the administrator decides: as parameters of a kernel, or in
//! `/sys/kernel/liveupdate`. Words and meaning are those of the Linux host.

use std::sync::atomic::{AtomicBool, Ordering};

use luo_core::ops::Unclaimed;

/// The choices of one kernel.
#[derive(Debug)]
pub(crate) struct Policy {
    /// The command line that made them.
    pub(crate) command_line: String,
    /// `liveupdate=`.
    pub(crate) enabled: bool,
    discard: AtomicBool,
    /// `liveupdate_openers=many`.
    pub(crate) many_openers: bool,
}

/// A choice of two words, the default first.
fn choose(words: [&str; 2], word: &str) -> Option<bool> {
    words
        .iter()
        .position(|&known| known == word)
        .map(|at| at == 1)
}

const UNCLAIMED: [&str; 2] = ["carry", "discard"];
const OPENERS: [&str; 2] = ["one", "many"];

impl Policy {
    /// The choices that a command line makes. Unlike in the kernel, live update is
    /// on unless it is switched off.
    pub(crate) fn of(command_line: &str) -> Self {
        let value = |name: &str| {
            let mut words = command_line.split_ascii_whitespace().rev();
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let chosen = |name, words| value(name).and_then(|word| choose(words, word));
        Self {
            command_line: command_line.to_owned(),
            enabled: !matches!(value("liveupdate"), Some("off" | "0" | "n" | "no" | "N")),
            discard: AtomicBool::new(chosen("liveupdate_unclaimed", UNCLAIMED).unwrap_or(false)),
            many_openers: chosen("liveupdate_openers", OPENERS).unwrap_or(false),
        }
    }

    pub(crate) fn unclaimed(&self) -> Unclaimed {
        if self.discard.load(Ordering::Relaxed) {
            Unclaimed::Discard
        } else {
            Unclaimed::Carry
        }
    }

    pub(crate) fn unclaimed_word(&self) -> &'static str {
        UNCLAIMED[usize::from(self.discard.load(Ordering::Relaxed))]
    }

    /// Decides it anew, as a line; false if it is not known.
    pub(crate) fn set_unclaimed(&self, line: &str) -> bool {
        let word = line.strip_suffix('\n').unwrap_or(line);
        let chosen = choose(UNCLAIMED, word);
        if let Some(discard) = chosen {
            self.discard.store(discard, Ordering::Relaxed);
        }
        chosen.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_decides() {
        let policy = Policy::of("quiet");
        assert!(policy.enabled && !policy.many_openers);
        assert_eq!(policy.unclaimed(), Unclaimed::Carry);
        let policy =
            Policy::of("liveupdate=on liveupdate_unclaimed=discard liveupdate_openers=many");
        assert!(policy.enabled && policy.many_openers);
        assert_eq!(policy.unclaimed_word(), "discard");
        assert!(!Policy::of("liveupdate=off").enabled);
        assert_eq!(
            Policy::of("liveupdate_unclaimed=drop").unclaimed_word(),
            "carry"
        );
    }

    #[test]
    fn a_word_is_known_or_refused() {
        let policy = Policy::of("");
        assert!(policy.set_unclaimed("discard\n"));
        assert!(!policy.set_unclaimed("drop") && !policy.set_unclaimed(""));
        assert_eq!(policy.unclaimed(), Unclaimed::Discard);
        assert!(policy.set_unclaimed("carry"));
        assert_eq!(policy.unclaimed(), Unclaimed::Carry);
    }
}
