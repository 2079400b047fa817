// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looks in a kernel for its version, its configuration and the ABI strings of the formats
//! that it can read: in one pass, chunk by chunk.

use std::collections::BTreeSet;

use memchr::memmem::Finder;

use crate::kconfig::Config;
use crate::limits::{MAX_FAMILIES, MAX_PACKED_CONFIG, MAX_STRINGS};

/// Bytes that are looked at together.
pub(super) const CHUNK: usize = 256 << 10;

/// Bytes in which each string that is looked for has room. A configuration is longer.
const WINDOW: usize = 512;

/// Digits of a version.
const MAX_DIGITS: usize = 9;

/// The marks before and behind an embedded configuration.
const CONFIG_START: &[u8] = b"IKCFG_ST";
const CONFIG_END: &[u8] = b"IKCFG_ED";

/// How many times bytes may follow the mark that are no configuration, before the search
/// for one is given up.
const MAX_CONFIG_TRIES: u32 = 8;

/// The findings in a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The size of the decompressed kernel in bytes.
    pub bytes: u64,
    /// The ABI strings of the families that were looked for, for example `luo-v5`.
    pub strings: BTreeSet<String>,
    /// Its version banner: `7.3.4 (user@host) ...`.
    pub banner: Option<String>,
    /// Its configuration, if it is embedded.
    pub config: Option<Config>,
}

impl Contents {
    /// Its release, in the words of `uname -r`.
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        self.banner.as_deref()?.split_whitespace().next()
    }

    /// The versions of a family that the kernel has.
    pub fn family<'a>(&'a self, family: &'a str) -> impl Iterator<Item = &'a str> {
        let strings = self.strings.iter().map(String::as_str);
        strings.filter(move |string| family_of(string) == Some(family))
    }
}

/// The family of an ABI string: the part before `-v` and a number.
pub(crate) fn family_of(string: &str) -> Option<&str> {
    let (family, version) = string.rsplit_once("-v")?;
    let is_number = !version.is_empty()
        && version.len() <= MAX_DIGITS
        && version.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !family.is_empty()).then_some(family)
}

/// Takes a kernel in pieces.
pub(super) struct Scanner {
    families: Vec<Finder<'static>>,
    banner: Finder<'static>,
    config_start: Finder<'static>,
    config_end: Finder<'static>,
    /// The rest of the previous chunk: at most one byte that was looked at, and [`WINDOW`]
    /// bytes that were not.
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were looked at.
    looked_at: usize,
    /// A configuration whose end has not been seen.
    capture: Option<Vec<u8>>,
    tries: u32,
    found: Contents,
}

impl Scanner {
    pub(super) fn new(families: &[&str]) -> Self {
        let prefix = |family: &&str| Finder::new(&format!("{family}-v")).into_owned();
        let families = families.iter().filter(|family| !family.is_empty());
        Self {
            families: families.take(MAX_FAMILIES).map(prefix).collect(),
            banner: Finder::new(b"Linux version ").into_owned(),
            config_start: Finder::new(CONFIG_START),
            config_end: Finder::new(CONFIG_END),
            buffer: Vec::new(),
            looked_at: 0,
            capture: None,
            tries: 0,
            found: Contents::default(),
        }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, chunk: &[u8]) {
        self.found.bytes = self.found.bytes.saturating_add(chunk.len() as u64);
        self.continue_capture(chunk);
        self.buffer.extend_from_slice(chunk);
        let end = self.buffer.len().saturating_sub(WINDOW);
        self.look(end);
        let gone = self.looked_at.saturating_sub(1);
        self.buffer.drain(..gone);
        self.looked_at = self.looked_at.saturating_sub(gone);
    }

    /// The findings.
    pub(super) fn finish(mut self) -> Contents {
        self.look(self.buffer.len());
        self.found
    }

    /// Looks at the bytes before `end` for beginnings of what is looked for.
    fn look(&mut self, end: usize) {
        if end <= self.looked_at {
            return;
        }
        let buffer = std::mem::take(&mut self.buffer);
        let begins = |at: &usize| (self.looked_at..end).contains(at);
        for family in &self.families {
            for at in family.find_iter(&buffer).filter(begins) {
                if self.found.strings.len() >= MAX_STRINGS {
                    break;
                }
                let digits = at.saturating_add(family.needle().len());
                self.found.strings.extend(string_at(&buffer, at, digits));
            }
        }
        if self.found.banner.is_none() {
            let after = self.banner.needle().len();
            let mut hits = self.banner.find_iter(&buffer).filter(begins);
            self.found.banner = hits.find_map(|at| banner_at(&buffer, at.saturating_add(after)));
        }
        let starts: Vec<_> = self
            .config_start
            .find_iter(&buffer)
            .filter(begins)
            .collect();
        for at in starts {
            self.begin_capture(buffer.get(at + CONFIG_START.len()..).unwrap_or_default());
        }
        self.buffer = buffer;
        self.looked_at = end;
    }

    /// Begins to take a configuration. If one is being taken already, that goes on: of two
    /// that overlap, the first is believed.
    fn begin_capture(&mut self, rest: &[u8]) {
        let is_wanted = self.found.config.is_none() && self.capture.is_none();
        if is_wanted && self.tries < MAX_CONFIG_TRIES {
            self.tries += 1;
            self.capture = Some(Vec::new());
            self.continue_capture(rest);
        }
    }

    fn continue_capture(&mut self, chunk: &[u8]) {
        let Some(capture) = &mut self.capture else {
            return;
        };
        let from = capture.len().saturating_sub(CONFIG_END.len());
        capture.extend_from_slice(chunk);
        let tail = capture.get(from..).unwrap_or_default();
        if let Some(at) = self.config_end.find(tail) {
            capture.truncate(from.saturating_add(at));
            self.found.config = Config::unpack(capture);
            self.capture = None;
        } else if capture.len() > MAX_PACKED_CONFIG {
            self.capture = None;
        }
    }
}

/// The ABI string at `at`, if one stands there: not within a longer word, and with a
/// zero behind it. Code may precede it, for constants of eight bytes stand in code.
fn string_at(buffer: &[u8], at: usize, digits: usize) -> Option<String> {
    let before = at.checked_sub(1).and_then(|at| buffer.get(at));
    if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)) {
        return None;
    }
    let rest = buffer.get(digits..)?;
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let end = digits.checked_add(length)?;
    if !(1..=MAX_DIGITS).contains(&length) || buffer.get(end) != Some(&0) {
        return None;
    }
    String::from_utf8(buffer.get(at..end)?.to_vec()).ok()
}

/// The rest of a banner; it begins with a number, or it is a format string.
fn banner_at(buffer: &[u8], at: usize) -> Option<String> {
    const LONGEST: usize = 256;
    let rest = buffer.get(at..)?;
    let is_end = |byte: &u8| *byte == 0 || *byte == b'\n';
    let line: Vec<u8> = rest
        .iter()
        .copied()
        .take_while(|byte| !is_end(byte))
        .collect();
    let line = line.get(..LONGEST).unwrap_or(&line);
    let is_version = line.first().is_some_and(u8::is_ascii_digit);
    let is_plain = line.iter().all(|byte| (b' '..=b'~').contains(byte));
    (is_version && is_plain).then(|| String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8], chunk: usize) -> Contents {
        let mut scanner = Scanner::new(&["luo", "kho", "luo-contract"]);
        bytes.chunks(chunk).for_each(|chunk| scanner.feed(chunk));
        scanner.finish()
    }

    fn strings(bytes: &[u8]) -> Vec<String> {
        scan(bytes, 4096).strings.into_iter().collect()
    }

    #[test]
    fn strings_have_an_exact_shape() {
        assert_eq!(strings(b"\0luo-v5\0"), ["luo-v5"]);
        assert_eq!(strings(b"luo-v12\0kho-v4\0"), ["kho-v4", "luo-v12"]);
        assert_eq!(strings(b"\x48\xbeluo-v5\0\0\x48"), ["luo-v5"]);
        assert_eq!(strings(b"\0luo-contract-v1\0"), ["luo-contract-v1"]);
        assert!(strings(b"\0luo-v5").is_empty(), "cut off");
        assert!(strings(b"\0luo-v5\"\0").is_empty(), "in a sentence");
        assert!(strings(b"\0luo-v\0").is_empty(), "no version");
        assert!(strings(b"\0luo-v5a\0").is_empty(), "not a number");
        assert!(strings(b"\0luo-v1234567890\0").is_empty(), "too long");
        assert!(strings(b"\0my-luo-v5\0").is_empty(), "within a word");
        assert!(strings(b"\0xkho-v5\0").is_empty(), "within a word");
    }

    #[test]
    fn everything_is_found_wherever_chunks_end() {
        let mut bytes = vec![b'.'; 700];
        bytes.extend(b"\0luo-v5\0Linux version 7.3.4-a (x)\n\0 luo-contract-v1\0");
        bytes.extend(vec![0xff; 700]);
        bytes.extend(b"\0kho-v4\0");
        let whole = scan(&bytes, bytes.len());
        assert_eq!(whole.release(), Some("7.3.4-a"));
        assert_eq!(whole.strings.len(), 3);
        for chunk in 1..bytes.len() {
            assert_eq!(scan(&bytes, chunk), whole, "chunks of {chunk}");
        }
    }

    #[test]
    fn a_format_string_is_no_banner() {
        assert_eq!(scan(b"Linux version %s (%s)\n\0", 64).banner, None);
        let found = scan(b"Linux version %s\0Linux version 6.1\0", 64).banner;
        assert_eq!(found.as_deref(), Some("6.1"));
    }

    #[test]
    fn the_number_of_strings_is_limited() {
        let many: String = (0..1000)
            .map(|version| format!("luo-v{version}\0"))
            .collect();
        assert_eq!(scan(many.as_bytes(), 4096).strings.len(), MAX_STRINGS);
    }

    #[test]
    fn families_are_what_precedes_the_version() {
        assert_eq!(family_of("luo-contract-v1"), Some("luo-contract"));
        assert_eq!(family_of("luo-v5"), Some("luo"));
        for none in ["luo", "luo-v", "-v1", "luo-v1x", "luo-v1234567890"] {
            assert_eq!(family_of(none), None);
        }
    }
}
