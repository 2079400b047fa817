// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy file: which identity may own which names, and how much of each thing.
//!
//! ```toml
//! [limits]                 # for everybody; these are the defaults
//! sessions = 16            # of a workload
//! files = 1024             # in the sessions of a workload
//! bytes = 0                # of memory that they keep; 0: no limit
//! connections = 256        # of a user; root has no limit
//! user_workloads = 1024    # the same
//! user_sessions = 4096     # in all of these
//!
//! [[allow]]                # beside what is an identity's own
//! unit = "vmm@*.service"   # one or more of unit, uid and gid; all must fit
//! names = ["vm-*"]         # of workloads and sessions
//! sessions = 64            # other limits than everybody's
//! ```
//!
//! Without a file a service owns the names that begin with its own, see
//! [`crate::decide::names::own`].

use std::fmt;

use luo_varlink::Identity;
use serde::Deserialize;
use wildmatch::WildMatch;

use crate::decide::lines::Part::{At, Key};
use crate::decide::lines::{line_of, place, plainly, together};
use crate::decide::misfit::{self, Misfit};
use crate::decide::names;

/// The policy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The limits of everybody.
    pub limits: Limits,
    /// Rules for some identities.
    pub allow: Vec<Rule>,
}

/// How much one workload, or one user, may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Sessions of a workload.
    pub sessions: usize,
    /// Files in the sessions of a workload.
    pub files: u64,
    /// Bytes of memory that those keep; 0 is no limit.
    pub bytes: u64,
    /// Connections of a user that is not root.
    pub connections: usize,
    /// Workloads of a user that is not root, those too that have left.
    pub user_workloads: usize,
    /// Sessions in all of them.
    pub user_sessions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 16,
            files: 1024,
            bytes: 0,
            connections: 256,
            user_workloads: 1024,
            user_sessions: 4096,
        }
    }
}

/// A rule that allows some identities more than their own names.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Units, with `*` and `?`.
    pub unit: Option<String>,
    /// A user.
    pub uid: Option<u32>,
    /// A group.
    pub gid: Option<u32>,
    /// Names, with `*` and `?`.
    #[serde(default)]
    pub names: Vec<String>,
    /// Another limit.
    pub sessions: Option<usize>,
    /// Another limit.
    pub files: Option<u64>,
    /// Another limit.
    pub bytes: Option<u64>,
}

impl Rule {
    /// What can be written, and could never have an effect. `at` finds the line of a key.
    fn wrong(&self, at: impl Fn(Option<&str>) -> Which) -> Vec<BadPolicy> {
        /// What the kernel takes for "none" in place of a user or a group.
        const NONE: u32 = u32::MAX;
        let mut wrong = Vec::new();
        if self.unit.is_none() && self.uid.is_none() && self.gid.is_none() {
            wrong.push(BadPolicy::ForEverybody(at(None)));
        }
        let limits = self.sessions.is_some() || self.files.is_some() || self.bytes.is_some();
        if self.names.is_empty() && !limits {
            wrong.push(BadPolicy::ForNothing(at(None)));
        }
        match &self.unit {
            Some(unit) if unit.is_empty() => wrong.push(BadPolicy::Empty(at(Some("unit")))),
            Some(unit) if !can_be_a_unit(unit) => {
                wrong.push(BadPolicy::Unit(at(Some("unit")), unit.clone()));
            }
            _ => {}
        }
        for (key, number) in [("uid", self.uid), ("gid", self.gid)] {
            if number == Some(NONE) {
                wrong.push(BadPolicy::Nobody(at(Some(key))));
            }
        }
        for pattern in &self.names {
            let which = || at(Some("names"));
            if pattern.is_empty() {
                wrong.push(BadPolicy::Empty(which()));
            } else if let Err(why) = names::check_pattern(pattern) {
                wrong.push(BadPolicy::Pattern(which(), pattern.clone(), why));
            }
        }
        let none = match (self.sessions, self.files) {
            (Some(0), _) => Some("sessions"),
            (_, Some(0)) => Some("files"),
            _ => None,
        };
        if let Some(none) = none.filter(|_| !self.names.is_empty()) {
            wrong.push(BadPolicy::Useless(at(Some(none)), none));
        }
        wrong
    }

    fn fits(&self, identity: &Identity) -> bool {
        let unit = self.unit.as_ref().is_none_or(|pattern| {
            let unit = identity.unit.as_ref();
            unit.is_some_and(|unit| WildMatch::new(pattern).matches(unit))
        });
        unit && self.uid.is_none_or(|uid| uid == identity.uid)
            && self.gid.is_none_or(|gid| gid == identity.gid)
    }
}

/// Whether a pattern can fit the name of a unit that a program can be in: a service's or a
/// scope's.
fn can_be_a_unit(pattern: &str) -> bool {
    let (has_star, tail) = match pattern.rsplit_once('*') {
        Some((_, tail)) => (true, tail),
        None => (false, pattern),
    };
    [".service", ".scope"].iter().any(|kind| {
        let mut both = tail.chars().rev().zip(kind.chars().rev());
        let fits = both.all(|(one, other)| one == '?' || one == other);
        fits && (has_star || tail.chars().count() > kind.len())
    })
}

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
pub enum BadPolicy {
    /// It cannot be parsed.
    #[error("{}", plainly(.0))]
    Syntax(toml::de::Error),
    /// A key that nobody knows, or a value of another kind.
    #[error("{0}")]
    Misfit(Misfit),
    /// More than one mistake.
    #[error("{}", together(.0))]
    Several(Vec<Self>),
    /// A rule fits everybody, which is certainly a mistake.
    #[error("{0} names neither unit nor uid nor gid: say whom it is for")]
    ForEverybody(Which),
    /// A rule that allows nothing and limits nothing.
    #[error("{0} has neither names nor limits: add names = [\"...\"], or remove it")]
    ForNothing(Which),
    /// A pattern that fits nothing.
    #[error("{0} has an empty pattern: write a name, or * for all")]
    Empty(Which),
    /// A unit that no program is in.
    #[error(
        "{0} has the unit {1:?}, and the units that a program is in end with .service or .scope: \
         write {1:?} with its ending, or a pattern"
    )]
    Unit(Which, String),
    /// A pattern that no name fits.
    #[error("{0} has the pattern {1:?}, which no name fits: {2}")]
    Pattern(Which, String, names::BadName),
    /// A user or a group that cannot be.
    #[error("{0} is for 4294967295, which is no user and no group (-1): write another number")]
    Nobody(Which),
    /// Names that could be registered and never preserve anything.
    #[error(
        "{0} allows names, and no {1}: a workload with such a name could preserve nothing; \
         remove the names, or the limit"
    )]
    Useless(Which, &'static str),
    /// A limit that lets nobody in.
    #[error("{}[limits] has {what} = 0, {why}", place(*.line))]
    Limit {
        /// The line that it stands in, if it stands in the text.
        line: Option<usize>,
        /// Its name.
        what: &'static str,
        /// What comes of it, and what to write.
        why: &'static str,
    },
}

/// A rule, as it is found in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Which {
    /// Counted from 1.
    number: usize,
    /// Where it begins, or what is wrong in it.
    line: Option<usize>,
}

impl Which {
    fn of(text: &str, index: usize, key: Option<&str>) -> Self {
        let mut way = vec![Key("allow"), At(index)];
        way.extend(key.map(Key));
        Self {
            number: index + 1,
            line: line_of(text, &way),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}rule {} of [[allow]]", place(self.line), self.number)
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`BadPolicy`]
    pub fn parse(text: &str) -> Result<Self, BadPolicy> {
        let (policy, misfits) = misfit::read::<Self>(text).map_err(BadPolicy::Syntax)?;
        // What is wrong with a rule may follow from what was taken out of it, and so may what is
        // wrong with all together.
        let is_whole = |index| {
            let mut places = misfits.iter().map(Misfit::place);
            !places.any(|place| place == Some(index))
        };
        let mut values = Vec::new();
        if let Some(policy) = &policy {
            let rules = policy.allow.iter().enumerate();
            for (index, rule) in rules.filter(|(index, _)| is_whole(*index)) {
                values.extend(rule.wrong(|key| Which::of(text, index, key)));
            }
            values.extend(
                misfits
                    .is_empty()
                    .then(|| policy.limits_can_work(text).err())
                    .flatten(),
            );
        }
        let mut wrong: Vec<_> = misfits.into_iter().map(BadPolicy::Misfit).collect();
        wrong.extend(values);
        match (policy, wrong.len()) {
            (Some(policy), 0) => Ok(policy),
            (_, 1) => Err(wrong.remove(0)),
            _ => Err(BadPolicy::Several(wrong)),
        }
    }

    fn limits_can_work(&self, text: &str) -> Result<(), BadPolicy> {
        const FOR_ALL: &str = "and no rule has more: no workload could preserve anything";
        let Limits {
            sessions,
            files,
            connections,
            user_workloads,
            user_sessions,
            bytes: _,
        } = self.limits;
        let by_rule = |limit: fn(&Rule) -> bool| self.allow.iter().any(limit);
        let has_sessions = sessions > 0 || by_rule(|rule| rule.sessions > Some(0));
        let has_files = files > 0 || by_rule(|rule| rule.files > Some(0));
        let (what, why) = match (has_sessions, has_files) {
            (false, _) => ("sessions", FOR_ALL),
            (_, false) => ("files", FOR_ALL),
            _ if connections == 0 => (
                "connections",
                "so nobody but root could connect: write at least 1",
            ),
            _ if user_workloads == 0 => (
                "user_workloads",
                "so nobody but root could have a workload: write at least 1",
            ),
            _ if user_sessions == 0 => (
                "user_sessions",
                "so nobody but root could preserve anything: write at least 1",
            ),
            _ => return Ok(()),
        };
        let line = line_of(text, &[Key("limits"), Key(what)]);
        Err(BadPolicy::Limit { line, what, why })
    }

    fn rules<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = &'a Rule> {
        self.allow.iter().filter(|rule| rule.fits(identity))
    }

    /// Whether an identity may own a name.
    ///
    /// # Errors
    /// The rule that would allow it, in words.
    pub fn may_own(&self, identity: &Identity, name: &str) -> Result<(), String> {
        let listed = |rule: &Rule| {
            let mut patterns = rule.names.iter();
            patterns.any(|pattern| WildMatch::new(pattern).matches(name))
        };
        if names::is_own(identity, name) || self.rules(identity).any(listed) {
            return Ok(());
        }
        let own = match names::is_scope(identity) {
            // Its rule is to fit the next one, too.
            true => "of which a scope has none, for its own changes; with a * for what changes \
                     in it"
                .to_owned(),
            false => {
                let own = names::own(identity);
                format!("which are '{own}' and '{own}.*';")
            }
        };
        Err(format!(
            "'{name}' is not {identity}'s own, {own} these lines in the policy file would allow \
             it:\n{}",
            rule_for(identity, name)
        ))
    }

    /// How much an identity may have. Of the rules that fit, the last one counts.
    #[must_use]
    pub fn limits(&self, identity: &Identity) -> Limits {
        self.rules(identity)
            .fold(self.limits, |limits, rule| Limits {
                sessions: rule.sessions.unwrap_or(limits.sessions),
                files: rule.files.unwrap_or(limits.files),
                bytes: rule.bytes.unwrap_or(limits.bytes),
                ..limits
            })
    }
}

/// The rule that gives an identity a name, as it is written into the file.
fn rule_for(identity: &Identity, name: &str) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let who = match &identity.unit {
        Some(unit) => format!("unit = {}", quoted(unit)),
        None => format!("uid = {}", identity.uid),
    };
    format!("[[allow]]\n{who}\nnames = [{}]", quoted(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [limits]
        sessions = 2
        [[allow]]
        unit = "vmm@*.service"
        names = ["vm-*", "shared"]
        bytes = 1000
        [[allow]]
        uid = 1000
        gid = 100
        names = ["lab"]
        sessions = 9
    "#;

    fn identity(uid: u32, gid: u32, unit: Option<&str>) -> Identity {
        Identity {
            uid,
            gid,
            unit: unit.map(str::to_owned),
        }
    }

    #[test]
    fn the_default_is_ones_own() {
        let policy = Policy::default();
        let service = identity(990, 990, Some("cache.service"));
        assert_eq!(policy.may_own(&service, "cache.index"), Ok(()));
        let refusal = policy.may_own(&service, "vm-1").unwrap_err();
        assert!(refusal.contains("'cache' and 'cache.*'"), "{refusal}");
        assert_eq!(policy.limits(&service), Limits::default());
    }

    #[test]
    fn rules_allow_more() {
        let policy = Policy::parse(TEXT).unwrap();
        let vmm = identity(107, 107, Some("vmm@7.service"));
        for name in ["vm-7", "shared", "vmm@7", "vmm@7.ram"] {
            assert_eq!(policy.may_own(&vmm, name), Ok(()), "{name}");
        }
        assert!(policy.may_own(&vmm, "lab").is_err());
        assert_eq!(policy.limits(&vmm).bytes, 1000);
        assert_eq!(policy.limits(&vmm).sessions, 2);
    }

    #[test]
    fn all_that_a_rule_names_must_fit() {
        let policy = Policy::parse(TEXT).unwrap();
        assert!(policy.may_own(&identity(1000, 100, None), "lab").is_ok());
        assert!(policy.may_own(&identity(1000, 101, None), "lab").is_err());
        assert!(policy.may_own(&identity(1001, 100, None), "lab").is_err());
        assert_eq!(policy.limits(&identity(1000, 100, None)).sessions, 9);
    }

    #[test]
    fn the_rule_that_is_named_allows_it() {
        for who in [
            identity(990, 990, Some("cache.service")),
            identity(990, 990, Some("vmm@g\\x2d1.service")),
            identity(1000, 100, None),
            identity(0, 0, Some("machine-qemu\\x2d1\\x2dguest.scope")),
        ] {
            let refusal = Policy::default().may_own(&who, "vm-1").unwrap_err();
            let (_, rule) = refusal.split_once(":\n").unwrap();
            let policy = Policy::parse(rule).unwrap();
            assert_eq!(policy.may_own(&who, "vm-1"), Ok(()), "{rule}");
            assert!(policy.may_own(&identity(7, 7, None), "vm-1").is_err());
        }
    }

    #[test]
    fn a_unit_is_a_service_or_a_scope() {
        for unit in [
            "a.service",
            "vm*",
            "*",
            "vm@*.service",
            "a-?.scope",
            "machine-*.sc?pe",
        ] {
            assert!(can_be_a_unit(unit), "{unit}");
        }
        for unit in [
            "vm",
            "vm.socket",
            "*.slice",
            ".service",
            "a.services",
            "vm@*.serv",
        ] {
            assert!(!can_be_a_unit(unit), "{unit}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once_in_the_readers_words() {
        let text = "[[allow]]\nunit = \"vm\"\n[[allow]]\nnames = [\"\"]\n\
                    [limits]\nconnections = 0";
        let bad = Policy::parse(text).unwrap_err().to_string();
        let begins = [
            "line 1: rule 1 of [[allow]] has neither",
            "line 2: rule 1 of [[allow]] has the unit",
            "line 3: rule 2 of [[allow]] names neither",
            "line 4: rule 2 of [[allow]] has an empty pattern",
            "line 6: [limits] has connections = 0",
        ];
        let lines: Vec<_> = bad.lines().collect();
        assert_eq!(lines.len(), begins.len(), "{bad}");
        for (line, begin) in lines.iter().zip(begins) {
            assert!(line.starts_with(begin), "{line}");
        }
        for (text, expected) in [
            ("[limits]\nfiles = \"x\"", "a whole number"),
            ("[[allow]]\nuid = \"x\"", "a whole number"),
            ("[[allow]]\nuid = 7\nnames = \"x\"", "expected a list"),
        ] {
            let bad = Policy::parse(text).unwrap_err().to_string();
            assert!(bad.contains(expected), "{bad}");
        }
    }

    #[test]
    fn misfits_are_told_with_all_else_and_without_what_follows_from_them() {
        let text = "[limits]\nsessions = \"x\"\n[[allow]]\nunit = 7\n\
                    [[allow]]\nuid = 7\nnames = [\"[\"]\n";
        let bad = Policy::parse(text).unwrap_err().to_string();
        let begins = [
            "line 2, column 12: ",
            "line 4, column 8: ",
            "line 7: rule 2 of [[allow]] has the pattern",
        ];
        let mut lines: Vec<_> = bad.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines.len(), begins.len(), "{bad}");
        for (line, begin) in lines.iter().zip(begins) {
            assert!(line.starts_with(begin), "{bad}");
        }
    }

    #[test]
    fn what_nobody_means_is_refused() {
        for (text, expected) in [
            (
                "uid = 7",
                "line 2: rule 1 of [[allow]] has neither names nor limits",
            ),
            (
                "uid = 7\nnames = []",
                "line 2: rule 1 of [[allow]] has neither names nor limits",
            ),
            (
                "unit = \"\"\nnames = [\"x\"]",
                "line 3: rule 1 of [[allow]] has an empty pattern",
            ),
            (
                "uid = 7\nnames = [\"\"]",
                "line 4: rule 1 of [[allow]] has an empty pattern",
            ),
            (
                "uid = 4294967295\nnames = [\"x\"]",
                "line 3: rule 1 of [[allow]] is for 4294967295",
            ),
            (
                "uid = 7\nnames = [\"x\", \"[a-\"]",
                "line 4: rule 1 of [[allow]] has the pattern \"[a-\", which no name fits",
            ),
            (
                "uid = 7\nnames = [\"x\"]\nsessions = 0",
                "line 5: rule 1 of [[allow]] allows names, and no sessions",
            ),
            (
                "\nunit = \"vm\"\nnames = [\"x\"]",
                "line 4: rule 1 of [[allow]] has the unit \"vm\"",
            ),
        ] {
            let error = Policy::parse(&format!("\n[[allow]]\n{text}")).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{text}: {error}");
        }
        let text = "[[allow]]\nuid = 7\nnames = [\"a\"]\n\n[[allow]]\nnames = [\"*\"]";
        let error = Policy::parse(text).unwrap_err().to_string();
        assert!(
            error.starts_with("line 5: rule 2 of [[allow]] names neither"),
            "{error}"
        );
        let text = "\nallow = [\n  {uid = 7, names = [\"a\"]},\n  {names = [\"*\"]},\n]";
        let error = Policy::parse(text).unwrap_err().to_string();
        assert!(
            error.starts_with("line 4: rule 2 of [[allow]] names neither"),
            "{error}"
        );
        let text = "# [[allow]]\n\"limits\" = { files = 1, sessions = 0 }";
        let error = Policy::parse(text).unwrap_err().to_string();
        assert!(
            error.starts_with("line 2: [limits] has sessions = 0"),
            "{error}"
        );
        assert!(Policy::parse("[limits]\nsesions = 3").is_err());
        let none = Policy::parse("[limits]\n\nsessions = 0")
            .unwrap_err()
            .to_string();
        assert!(
            none.starts_with("line 3: [limits] has sessions = 0"),
            "{none}"
        );
        assert!(Policy::parse("[limits]\nconnections = 0").is_err());
        // Nothing for all, and something for some, and the other way round.
        let rule = "[[allow]]\nuid = 7\nsessions = 3";
        assert!(Policy::parse(&format!("[limits]\nsessions = 0\n{rule}")).is_ok());
        assert!(Policy::parse("[[allow]]\nuid = 7\nsessions = 0").is_ok());
        assert!(Policy::parse("allow = 3").is_err());
    }
}
