// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel command line: what the host asks for, and what one kernel tells
//! the next.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// The most bytes the next kernel takes, its terminating zero included.
const LIMIT: usize = 2048;

/// A command line as words. Quotes are not understood; no parameter of a test
/// VM has a blank in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    words: Vec<String>,
}

impl CommandLine {
    /// Splits a line.
    pub(crate) fn parse(line: &str) -> Self {
        let words = line.split_whitespace().map(str::to_owned).collect();
        Self { words }
    }

    /// The value of `name=value`; the last one counts, as in the kernel.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.words
            .iter()
            .rev()
            .find_map(|word| value_of(word, name))
    }

    /// Replaces `name=value`, or adds it.
    pub(crate) fn set(&mut self, name: &str, value: impl fmt::Display) {
        self.unset(name);
        self.insert(format!("{name}={value}"));
    }

    fn insert(&mut self, word: String) {
        // A word behind "--" belongs to init and would be lost on the kernel.
        let end = self.words.iter().position(|word| word == "--");
        self.words.insert(end.unwrap_or(self.words.len()), word);
    }

    /// Takes a word of a person: `name=value` as [`Self::set`] does, another once.
    pub(crate) fn add(&mut self, word: &str) {
        match word.split_once('=') {
            Some((name, value)) => self.set(name, value),
            None => {
                if !self.words.iter().any(|known| known == word) {
                    self.insert(word.to_owned());
                }
            }
        }
    }

    /// Removes `name=value`, if it is there.
    pub(crate) fn unset(&mut self, name: &str) {
        self.words.retain(|word| value_of(word, name).is_none());
    }

    /// The line for the next kernel.
    ///
    /// # Errors
    /// If it is longer than a kernel takes.
    pub(crate) fn to_line(&self) -> Result<String> {
        let line = self.words.join(" ");
        if line.len() >= LIMIT {
            bail!("the next command line has {} bytes", line.len());
        }
        Ok(line)
    }
}

fn value_of<'a>(word: &'a str, name: &str) -> Option<&'a str> {
    word.strip_prefix(name)?.strip_prefix('=')
}

/// The scenario's own arguments: `key:value` pairs in [`ARGS`].
///
/// [`ARGS`]: luo_lab_protocol::param::ARGS
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Args {
    pairs: BTreeMap<String, String>,
}

impl Args {
    /// Reads `a:1,b:2`.
    ///
    /// # Errors
    /// If a pair has no colon.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut pairs = BTreeMap::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once(':')
                .with_context(|| format!("argument '{pair}' is no key:value"))?;
            pairs.insert(key.into(), value.into());
        }
        Ok(Self { pairs })
    }

    /// The text of an argument, if it was given.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(String::as_str)
    }

    /// An argument as a number or the like; `default` if it was not given.
    ///
    /// # Errors
    /// If it was given and cannot be read.
    pub(crate) fn get<T: FromStr>(&self, key: &str, default: T) -> Result<T> {
        match self.text(key) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(value) => Ok(value),
                Err(_) => bail!("argument {key}:{text} cannot be read"),
            },
        }
    }

    /// Adds or replaces an argument, for the next kernel.
    pub(crate) fn set(&mut self, key: &str, value: impl fmt::Display) {
        self.pairs.insert(key.into(), value.to_string());
    }
}

impl fmt::Display for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.pairs.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{key}:{value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_and_replaced() {
        let mut line = CommandLine::parse("quiet luo.boot=0 luo.bootx=9 luo.boot=1\n");
        assert_eq!(line.get("luo.boot"), Some("1"));
        assert_eq!(line.get("luo"), None);
        line.set("luo.boot", 2);
        line.set("liveupdate", "on");
        assert_eq!(
            line.to_line().unwrap(),
            "quiet luo.bootx=9 luo.boot=2 liveupdate=on"
        );
    }

    #[test]
    fn a_parameter_can_be_taken_back() {
        let mut line = CommandLine::parse("quiet a=1 ab=2 a=3");
        line.unset("a");
        assert_eq!(line.to_line().unwrap(), "quiet ab=2");
    }

    #[test]
    fn a_parameter_stays_before_the_dashes() {
        let mut line = CommandLine::parse("quiet -- shell");
        line.set("a", 1);
        assert_eq!(line.to_line().unwrap(), "quiet a=1 -- shell");
    }

    #[test]
    fn words_of_a_person_replace_or_are_added_once() {
        let mut line = CommandLine::parse("quiet liveupdate=on -- shell");
        for word in ["liveupdate=off", "nokaslr", "nokaslr", "quiet"] {
            line.add(word);
        }
        assert_eq!(
            line.to_line().unwrap(),
            "quiet liveupdate=off nokaslr -- shell"
        );
    }

    #[test]
    fn a_line_too_long_is_refused() {
        let line = CommandLine::parse(&"x".repeat(LIMIT));
        assert!(line.to_line().is_err());
    }

    #[test]
    fn arguments_survive_the_line() {
        let mut args = Args::parse("kexecs:50,seed:7,").unwrap();
        assert_eq!(args.get("kexecs", 0u32).unwrap(), 50);
        assert_eq!(args.get("absent", 3u32).unwrap(), 3);
        args.set("seed", 8);
        assert_eq!(args.to_string(), "kexecs:50,seed:8");
        assert!(Args::parse("nonsense").is_err());
        assert!(args.get::<u8>("kexecs", 0).is_ok());
        assert!(Args::parse("n:x").unwrap().get("n", 0u32).is_err());
    }
}
