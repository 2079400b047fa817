// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel's configuration.

use std::collections::BTreeMap;
use std::io::Read;

use crate::limits::MAX_CONFIG;

/// The options that are set, by name, with their values as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    options: BTreeMap<String, String>,
}

impl Config {
    /// Reads the lines `CONFIG_NAME=value`; all others say nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let options = text.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
            Some((name.to_string(), value.to_string()))
        });
        Self {
            options: options.collect(),
        }
    }

    /// The same, of a file that gzip has packed. None if it is damaged, is longer than
    /// [`MAX_CONFIG`] or is no text.
    #[must_use]
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let mut text = Vec::new();
        let limit = u64::try_from(MAX_CONFIG).ok()?.checked_add(1)?;
        let mut reader = flate2::read::GzDecoder::new(packed).take(limit);
        reader.read_to_end(&mut text).ok()?;
        if text.len() > MAX_CONFIG {
            return None;
        }
        Some(Self::parse(std::str::from_utf8(&text).ok()?))
    }

    /// Whether an option (without `CONFIG_`) is built in.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.value(name) == Some("y")
    }

    /// The value of an option (without `CONFIG_`) as it is written.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The value of an option that is a text, without its quotes.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let quoted = self.value(name)?;
        let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
        Some(inner.replace("\\\"", "\"").replace("\\\\", "\\"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let config = Config::parse(
            "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=\"x \\\"y\\\"\"\nnoise\nCONFIG_E\n",
        );
        assert!(!config.has("A"));
        assert!(config.has("B"));
        assert!(!config.has("C"));
        assert_eq!(config.value("C"), Some("m"));
        assert_eq!(config.text("D").as_deref(), Some("x \"y\""));
        assert_eq!(config.text("B"), None);
        assert_eq!(config.value("E"), None);
    }
}
