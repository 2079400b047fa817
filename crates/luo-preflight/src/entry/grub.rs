// SPDX-License-Identifier: MIT OR Apache-2.0
//! GRUB's variables, which entries of Fedora and its relatives have in them. One that is
//! not set is nothing, as for GRUB.

use std::collections::BTreeMap;
use std::path::Path;

use crate::system::{if_there, small_text};

/// Where GRUB keeps its variables.
const PLACES: [&str; 2] = ["boot/grub2/grubenv", "boot/grub/grubenv"];

/// GRUB's variables.
#[derive(Default)]
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    pub(super) fn read(root: &Path) -> Result<Self, String> {
        for path in PLACES.map(|place| root.join(place)) {
            let text =
                if_there(small_text(&path)).map_err(|why| format!("{}: {why}", path.display()))?;
            if let Some(text) = text {
                return Ok(Self::parse(&text));
            }
        }
        Ok(Self::default())
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        Self(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A line with the values of variables put in.
    pub(super) fn expanded(&self, line: &str) -> String {
        let mut parts = line.split('$');
        let mut done = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = match part.strip_prefix('{').and_then(|it| it.split_once('}')) {
                Some(braced) => braced,
                None => {
                    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                    let end = part.find(|letter| !is_name(letter));
                    part.split_at(end.unwrap_or(part.len()))
                }
            };
            done.push_str(self.get(name).unwrap_or_default());
            done.push_str(rest);
        }
        done.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The words of an expanded line.
    pub(super) fn words(&self, line: &str) -> Vec<String> {
        let line = self.expanded(line);
        line.split_whitespace().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_as_grub_does() {
        let text = "# GRUB Environment Block\nkernelopts=root=/dev/vda1 ro \nx=1\n####";
        let environment = Environment::parse(text);
        assert_eq!(
            environment.expanded("$kernelopts a${x}b $tuned_params quiet"),
            "root=/dev/vda1 ro a1b quiet"
        );
        assert_eq!(environment.words("/a.img $tuned_initrd"), ["/a.img"]);
        assert_eq!(environment.expanded("plain"), "plain");
    }
}
