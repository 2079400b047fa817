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
    /// Rules that can be written, and could never have an effect. `at` finds the line of a key.
    fn wrong(&self, at: impl Fn(Option<&str>) -> Which) -> Vec<BadPolicy> {
        /// The number that the kernel takes for "none" in place of a user or a group.
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
        /// The effect, and what to write.
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
        let (policy, mut misfits) = misfit::read::<Self>(text).map_err(BadPolicy::Syntax)?;
        misfits
            .iter_mut()
            .for_each(|misfit| misfit.hint_of_list("allow"));
        // A fault of a rule, or of all together, may follow from the misfits that were taken out.
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
mod tests;
