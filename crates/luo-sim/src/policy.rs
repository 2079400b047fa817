// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the administrator decides: as parameters of a kernel, or in
//! `/sys/kernel/liveupdate`. Words and meaning are those of the Linux host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use luo_calls::OPEN_WORDS;
use luo_core::ops::{self, Legacy, Obstacle, Unclaimed};
use luo_core::{Quota, Quotas, Unowned, UserKinds, Whom};

/// The choices of one kernel.
#[derive(Debug)]
pub(crate) struct Policy {
    /// The command line that made them.
    pub(crate) command_line: String,
    /// `liveupdate=`.
    pub(crate) enabled: bool,
    /// By [`Word`]: it is the second word.
    second: [AtomicBool; Word::ALL.len()],
    /// `liveupdate_openers=many`.
    pub(crate) many_openers: bool,
    /// `liveupdate_open=admin`.
    pub(crate) opens_strictly: bool,
    /// `liveupdate_unowned`: who may take back what is nobody's.
    pub(crate) unowned: Unowned,
    /// `liveupdate_user` and `liveupdate_users`: what the engine begins with, by
    /// [`Whom::ALL`].
    pub(crate) quotas: [Quotas; 2],
    /// `liveupdate_patience`: for how long a transition waits for what is under way.
    pub(crate) patience: Duration,
}

/// What can be decided anew while the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One of two words.
    Of(Word),
    /// How much users may have of something.
    Users(Whom, Quota),
}

impl Choice {
    /// The name in the folder.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Of(word) => word.name().to_owned(),
            Self::Users(whom, quota) => format!("{}_{quota}", whom.word()),
        }
    }

    /// What it can be.
    pub(crate) fn form(self) -> String {
        match self {
            Self::Of(word) => word.words().join(" or "),
            Self::Users(..) => "a number".to_owned(),
        }
    }
}

/// What can be one of two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// `unclaimed`: what becomes of sessions that nobody has claimed.
    Unclaimed,
    /// `reboot`: what becomes of a reboot when something cannot go.
    Reboot,
    /// `legacy`: what becomes of a reboot into an image that takes nothing over.
    Legacy,
    /// `memfd`: how memfds are handed over.
    Memfd,
    /// `user_kinds`: which kinds of files users may preserve.
    UserKinds,
}

/// How memfds are handed over, the default first.
const MEMFDS: [&str; 2] = ["memfd-v2", "runs"];

impl Word {
    const ALL: [Self; 5] = [
        Self::Unclaimed,
        Self::Reboot,
        Self::Legacy,
        Self::Memfd,
        Self::UserKinds,
    ];

    /// The name in the folder; with `liveupdate_` before it that of the parameter.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unclaimed => "unclaimed",
            Self::Reboot => "reboot",
            Self::Legacy => "legacy",
            Self::Memfd => "memfd",
            Self::UserKinds => "user_kinds",
        }
    }

    /// The words, the default first.
    pub(crate) const fn words(self) -> [&'static str; 2] {
        match self {
            Self::Unclaimed => Unclaimed::WORDS,
            Self::Reboot => Obstacle::WORDS,
            Self::Legacy => Legacy::WORDS,
            Self::Memfd => MEMFDS,
            Self::UserKinds => UserKinds::WORDS,
        }
    }
}

/// A choice of two words, the default first.
fn choose(words: [&str; 2], word: &str) -> Option<bool> {
    words
        .iter()
        .position(|&known| known == word)
        .map(|at| at == 1)
}

const OPENERS: [&str; 2] = ["one", "many"];

impl Policy {
    /// The choices that a command line makes. Unlike in the kernel, live update is
    /// on unless it is switched off.
    pub(crate) fn of(command_line: &str) -> Self {
        let value = |name: &str| {
            let mut words = command_line.split_ascii_whitespace().rev();
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let chosen = |name: &str, words| value(name).and_then(|word| choose(words, word));
        let second = Word::ALL.map(|choice| {
            let name = format!("liveupdate_{}", choice.name());
            AtomicBool::new(chosen(&name, choice.words()).unwrap_or(false))
        });
        Self {
            command_line: command_line.to_owned(),
            enabled: !matches!(value("liveupdate"), Some("off" | "0" | "n" | "no" | "N")),
            second,
            many_openers: chosen("liveupdate_openers", OPENERS).unwrap_or(false),
            opens_strictly: chosen("liveupdate_open", OPEN_WORDS).unwrap_or(false),
            unowned: Unowned::of(chosen("liveupdate_unowned", Unowned::WORDS).unwrap_or(false)),
            quotas: Whom::ALL.map(|whom| {
                let default = whom.default();
                value(&format!("liveupdate_{}", whom.word()))
                    .and_then(|text| default.parse(text.as_bytes()))
                    .unwrap_or(default)
            }),
            patience: Duration::from_secs(
                value("liveupdate_patience")
                    .and_then(|text| ops::parse_patience(text.as_bytes()))
                    .unwrap_or(ops::PATIENCE)
                    .into(),
            ),
        }
    }

    /// A word of a command line that is about live update and that a kernel would take for a
    /// mistake, with what it takes.
    pub(crate) fn mistake(command_line: &str) -> Option<(String, String)> {
        let words = command_line.split_ascii_whitespace();
        words
            .map(|word| (word, word.split_once('=').unwrap_or((word, ""))))
            .find_map(|(word, (name, value))| {
                let rest = name.strip_prefix("liveupdate")?;
                // What it takes as `liveupdate` is not looked at: that is on, unless it is off.
                let known = rest.is_empty() || Self::parameters().any(|known| known == name);
                let takes = match rest.strip_prefix('_') {
                    _ if !known => {
                        let all: Vec<_> = Self::parameters().collect();
                        format!("liveupdate or one of {}", all.join(", "))
                    }
                    Some(parameter) => Self::takes_instead(parameter, value)?,
                    None => return None,
                };
                Some((word.to_owned(), takes))
            })
    }

    /// The names of the parameters of live update, but for `liveupdate` itself.
    fn parameters() -> impl Iterator<Item = String> {
        let words = Word::ALL.into_iter().map(Word::name);
        let quotas = Whom::ALL.into_iter().map(Whom::word);
        let others = ["openers", "open", "unowned", "patience"];
        let all = words.chain(others).chain(quotas);
        all.map(|name| format!("liveupdate_{name}"))
    }

    /// What a parameter takes, if it is one of live update and does not take this.
    fn takes_instead(parameter: &str, value: &str) -> Option<String> {
        let two = match parameter {
            "openers" => OPENERS,
            "open" => OPEN_WORDS,
            "unowned" => Unowned::WORDS,
            "patience" => {
                let is_wrong = ops::parse_patience(value.as_bytes()).is_none();
                return is_wrong
                    .then(|| format!("a number of seconds from 1 to {}", ops::MOST_PATIENCE));
            }
            parameter => {
                if let Some(whom) = Whom::ALL.into_iter().find(|whom| whom.word() == parameter) {
                    let is_wrong = whom.default().parse(value.as_bytes()).is_none();
                    return is_wrong.then(|| {
                        let all = Quota::ALL.map(|quota| format!("{quota}=N"));
                        format!("{}, or some of these", all.join(","))
                    });
                }
                let mut all = Word::ALL.into_iter();
                all.find(|choice| choice.name() == parameter)?.words()
            }
        };
        choose(two, value).is_none().then(|| two.join(" or "))
    }

    /// Whether a word is on the command line.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.command_line
            .split_ascii_whitespace()
            .any(|one| one == word)
    }

    fn is_second(&self, choice: Word) -> bool {
        self.second[choice as usize].load(Ordering::Relaxed)
    }

    /// What a reboot does with what cannot go.
    pub(crate) fn of_reboot(&self) -> ops::Policy {
        ops::Policy {
            obstacle: Obstacle::of(self.is_second(Word::Reboot)),
            unclaimed: Unclaimed::of(self.is_second(Word::Unclaimed)),
            legacy: Legacy::of(self.is_second(Word::Legacy)),
        }
    }

    /// Whether memfds are handed over in runs of pages.
    pub(crate) fn has_runs(&self) -> bool {
        self.is_second(Word::Memfd)
    }

    /// Which kinds of files users may preserve.
    pub(crate) fn user_kinds(&self) -> UserKinds {
        UserKinds::of(self.is_second(Word::UserKinds))
    }

    pub(crate) fn word(&self, choice: Word) -> &'static str {
        choice.words()[usize::from(self.is_second(choice))]
    }

    /// Decides it anew, as a line; false if it is not known.
    pub(crate) fn set(&self, choice: Word, line: &str) -> bool {
        let word = line.strip_suffix('\n').unwrap_or(line);
        let chosen = choose(choice.words(), word);
        if let Some(second) = chosen {
            self.second[choice as usize].store(second, Ordering::Relaxed);
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
        let by_default = ops::Policy {
            obstacle: Obstacle::IsLost,
            unclaimed: Unclaimed::Carry,
            legacy: Legacy::Refused,
        };
        assert_eq!(policy.of_reboot(), by_default);
        let policy = Policy::of(
            "liveupdate=on liveupdate_unclaimed=discard liveupdate_openers=many \
             liveupdate_reboot=veto liveupdate_legacy=boot",
        );
        assert!(policy.enabled && policy.many_openers);
        assert_eq!(policy.word(Word::Unclaimed), "discard");
        assert_eq!(policy.of_reboot().obstacle, Obstacle::Vetoes);
        assert_eq!(policy.of_reboot().legacy, Legacy::Booted);
        assert!(!policy.has_runs() && Policy::of("liveupdate_memfd=runs").has_runs());
        assert_eq!(policy.user_kinds(), UserKinds::Memfds);
        let policy = Policy::of("liveupdate_user_kinds=all");
        assert_eq!(policy.user_kinds(), UserKinds::All);
        assert!(!Policy::of("liveupdate=off").enabled);
        let policy = Policy::of(
            "liveupdate_open=admin liveupdate_user=sessions=2,bytes=9 liveupdate_users=files=7",
        );
        assert!(policy.opens_strictly);
        assert_eq!(policy.unowned, Unowned::Administrator);
        let policy = Policy::of(&format!(
            "{} liveupdate_unowned=anybody",
            policy.command_line
        ));
        assert_eq!(policy.unowned, Unowned::Anybody);
        let [each, together] = policy.quotas;
        assert_eq!((each.sessions, each.bytes), (2, 9));
        assert_eq!((each.files, together.files), (Quotas::FILES, 7));
        let policy = Policy::of("liveupdate_open=all liveupdate_user=sessions");
        assert!(!policy.opens_strictly);
        assert_eq!(policy.quotas, [Quotas::DEFAULT, Quotas::TOGETHER]);
        let policy = Policy::of("liveupdate_unclaimed=drop liveupdate_reboot=no");
        assert_eq!(policy.of_reboot(), by_default);
    }

    #[test]
    fn what_a_parameter_does_not_take_is_a_mistake() {
        let takes = |line: &str| Policy::mistake(line).map(|(_, takes)| takes);
        for right in [
            "quiet liveupdate=on liveupdate_openers=many",
            "liveupdate unknown=1",
            "liveupdate_user=sessions=2 liveupdate_users=files=7,bytes=9",
            "liveupdate_patience=5 liveupdate_reboot=veto",
        ] {
            assert_eq!(takes(right), None, "{right}");
        }
        let quotas = "sessions=N,files=N,dependencies=N,bytes=N, or some of these";
        let known = "liveupdate or one of liveupdate_unclaimed, liveupdate_reboot, \
                     liveupdate_legacy, liveupdate_memfd, liveupdate_user_kinds, \
                     liveupdate_openers, liveupdate_open, liveupdate_unowned, \
                     liveupdate_patience, liveupdate_user, liveupdate_users";
        for (wrong, right) in [
            ("liveupdate_openers=2", "one or many"),
            ("liveupdate_reboot=no", "lose or veto"),
            ("liveupdate_user=sessions=2,sizes=9", quotas),
            ("liveupdate_users=sessions", quotas),
            ("liveupdate_patience=0", "a number of seconds from 1 to"),
            ("liveupdate_patience=soon", "a number of seconds from 1 to"),
            ("liveupdate_opener=many", known),
            ("liveupdates=on", known),
            ("liveupdate-open=admin", known),
            ("liveupdate_veto", known),
        ] {
            let line = format!("quiet {wrong}");
            let (word, takes) = Policy::mistake(&line).expect(wrong);
            assert!(word == wrong && takes.starts_with(right), "{word}: {takes}");
        }
    }

    #[test]
    fn a_word_is_known_or_refused() {
        for choice in Word::ALL {
            let policy = Policy::of("");
            let [first, second] = choice.words();
            assert!(policy.set(choice, &format!("{second}\n")));
            assert!(!policy.set(choice, "drop") && !policy.set(choice, ""));
            assert_eq!(policy.word(choice), second);
            assert!(policy.set(choice, first));
            assert_eq!(policy.word(choice), first);
        }
    }
}
