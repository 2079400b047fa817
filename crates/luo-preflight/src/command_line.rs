// SPDX-License-Identifier: MIT OR Apache-2.0
//! Command lines of kernels, read the way the kernel reads them.

use luo_varlink::Check;

use crate::check::{failed, ok, warning};
use crate::image::{Format, Image};
use crate::kconfig::Config;

/// Bytes of a command line that most kernels have room for, the zero included:
/// `COMMAND_LINE_SIZE` of x86, arm64 and riscv.
pub const COMMAND_LINE_SIZE: u64 = 2048;

/// Bytes that the loader of x86 keeps free behind a command line.
const KEPT_FREE: u64 = 30;

/// A word of a command line, and its value if it has one.
pub type Word<'a> = (&'a str, Option<&'a str>);

/// The parameters of a command line with their values, up to `--`: the words behind that
/// are for the first process.
///
/// Quotes keep words with spaces together. Quotes around a value, or around a whole
/// parameter, are removed.
#[must_use]
pub fn parameters(line: &str) -> Vec<Word<'_>> {
    words(line).0
}

/// The parameters of a command line, and the words behind `--`, which are not the kernel's.
#[must_use]
pub fn words(line: &str) -> (Vec<Word<'_>>, Vec<Word<'_>>) {
    let (mut found, mut behind) = (Vec::new(), Vec::new());
    let mut is_behind = false;
    let mut rest = line.trim_start_matches(is_space);
    while !rest.is_empty() {
        let mut in_quotes = false;
        let end = rest.find(|c| {
            in_quotes ^= c == '"';
            is_space(c) && !in_quotes
        });
        let (word, next) = rest.split_at(end.unwrap_or(rest.len()));
        rest = next.trim_start_matches(is_space);
        let word = match word.strip_prefix('"') {
            Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
            None => word,
        };
        let pair = match word.split_once('=') {
            // As in the kernel, a word that begins with = has no value.
            Some((name, value)) if !name.is_empty() => {
                let value = match value.strip_prefix('"') {
                    Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
                    None => value,
                };
                (name, Some(value))
            }
            _ if word == "--" && !is_behind => {
                is_behind = true;
                continue;
            }
            _ => (word, None),
        };
        match is_behind {
            true => behind.push(pair),
            false => found.push(pair),
        }
    }
    (found, behind)
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b' || c == '\u{a0}'
}

/// The setting of a parameter that is on or off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The setting by the last value that the kernel understands; `None` if there is none.
    pub set: Option<bool>,
    /// A value that the kernel does not understand, and ignores.
    pub ignored: Option<String>,
}

/// Finds the setting of a parameter that is on or off. In names, `-` and `_` are the same.
#[must_use]
pub fn switch(line: &str, name: &str) -> Switch {
    let mut switch = Switch {
        set: None,
        ignored: None,
    };
    for (found, value) in parameters(line) {
        if found.replace('-', "_") != name.replace('-', "_") {
            continue;
        }
        match value.and_then(truth) {
            Some(on) => switch.set = Some(on),
            None => switch.ignored = Some(value.map_or(name.into(), |it| format!("{name}={it}"))),
        }
    }
    switch
}

/// The kernel looks at the first letter, of `on` and `off` at two.
fn truth(value: &str) -> Option<bool> {
    let mut letters = value.chars().map(|c| c.to_ascii_lowercase());
    match letters.next()? {
        'e' | 'y' | 't' | '1' => Some(true),
        'd' | 'n' | 'f' | '0' => Some(false),
        'o' => match letters.next()? {
            'n' => Some(true),
            'f' => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// The sizes that `kho_scratch=` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScratchSize {
    /// Percent of the memory that the kernel had reserved for itself at boot.
    Percent(u32),
    /// Sizes in bytes.
    Bytes {
        /// The size of the area in low memory.
        low: u64,
        /// The size of the area anywhere.
        global: u64,
        /// The size of the area of each node.
        per_node: u64,
    },
}

/// The last `kho_scratch=` that the kernel understands, if there is one. An `Err` is a
/// value that it does not understand, and ignores.
///
/// # Errors
/// The value.
pub fn scratch_size(line: &str) -> Result<Option<ScratchSize>, String> {
    let values = parameters(line).into_iter();
    let values = values.filter(|(name, _)| name.replace('-', "_") == "kho_scratch");
    values
        .map(|(_, value)| value.unwrap_or_default())
        .try_fold(None, |_, value| {
            parse_scratch_size(value)
                .map(Some)
                .ok_or_else(|| format!("kho_scratch={value}"))
        })
}

fn parse_scratch_size(value: &str) -> Option<ScratchSize> {
    if let Some(percent) = value.strip_suffix('%') {
        return percent.parse().ok().map(ScratchSize::Percent);
    }
    let mut sizes = value.split(',').map(memory_size);
    let (low, global, per_node) = (sizes.next()??, sizes.next()??, sizes.next()??);
    let is_none = low == 0 && global == 0 && per_node == 0;
    (sizes.next().is_none() && !is_none).then_some(ScratchSize::Bytes {
        low,
        global,
        per_node,
    })
}

/// A number, octal or hexadecimal as in C, with K, M, G, T, P or E behind it.
fn memory_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().next_back()? {
        (at, 'K' | 'k') => (text.get(..at)?, 10),
        (at, 'M' | 'm') => (text.get(..at)?, 20),
        (at, 'G' | 'g') => (text.get(..at)?, 30),
        (at, 'T' | 't') => (text.get(..at)?, 40),
        (at, 'P' | 'p') => (text.get(..at)?, 50),
        // E is a digit of hexadecimal numbers.
        (at, 'E') if !text.starts_with("0x") => (text.get(..at)?, 60),
        _ => (text, 0),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.starts_with('0') && digits.len() > 1 => (digits, 8),
        None => (digits, 10),
    };
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix)
        .ok()?
        .checked_mul(1 << shift)
}

/// The command line that a kernel uses when it is given one: its configuration may have
/// another one, which is added or used instead.
#[must_use]
pub fn effective(given: &str, config: Option<&Config>) -> String {
    let own = config.and_then(|config| Some((config, config.text("CMDLINE")?)));
    let Some((config, own)) = own.filter(|(_, own)| !own.is_empty()) else {
        return given.to_string();
    };
    let is_x86 = config.has("CMDLINE_BOOL");
    if config.has("CMDLINE_FORCE") || is_x86 && config.has("CMDLINE_OVERRIDE") {
        own
    } else if is_x86 {
        format!("{own} {given}")
    } else if config.has("CMDLINE_EXTEND") {
        format!("{given} {own}")
    } else if given.is_empty() {
        // Elsewhere it is for who is given none.
        own
    } else {
        given.to_string()
    }
}

/// The same for an image, whose configuration may not be known.
#[must_use]
pub fn of(given: &str, image: Option<&Image>) -> String {
    effective(
        given,
        image.and_then(|image| image.contents.config.as_ref()),
    )
}

/// Checks the command line that a kernel is going to get: `target-command-line`.
#[must_use]
pub fn checks(given: &str, image: Option<&Image>) -> Vec<Check> {
    const NAME: &str = "target-command-line";
    let config = image.and_then(|image| image.contents.config.as_ref());
    let line = of(given, image);
    let mut checks = Vec::new();
    if given.contains('\0') {
        let found = "the command line has a zero byte, and would end there";
        checks.push(failed(NAME, found, "remove the zero byte"));
    }
    let room = room(image);
    if given.len() as u64 > room || line.len() as u64 >= COMMAND_LINE_SIZE {
        let longest = given.len().max(line.len());
        let found = format!("the command line has {longest} bytes; the kernel takes {room}");
        checks.push(failed(NAME, found, "shorten the command line"));
    }
    if switch(given, "liveupdate").set != switch(&line, "liveupdate").set {
        let found = format!("the target's configuration has a command line of its own: {line:?}");
        checks.push(warning(
            NAME,
            found,
            "check that it is meant for this machine",
        ));
    }
    checks.extend(switches(&line, config));
    if let Err(value) = scratch_size(&line) {
        let found = format!("the kernel does not understand {value:?} and ignores it");
        let remedy = "write kho_scratch=LOW,GLOBAL,NODE with K, M or G, or a percentage";
        checks.push(warning(NAME, found, remedy));
    }
    if checks.is_empty() {
        checks.push(ok(NAME, "the command line turns on live update"));
    }
    checks
}

/// Bytes of a command line that may be given.
fn room(image: Option<&Image>) -> u64 {
    let said = image.and_then(|image| match image.format {
        Format::BzImage => image.boot.max_command_line,
        _ => None,
    });
    match said {
        Some(max) => max.saturating_sub(KEPT_FREE + 1),
        None => COMMAND_LINE_SIZE - 1,
    }
}

fn switches(line: &str, config: Option<&Config>) -> Vec<Check> {
    const NAME: &str = "target-command-line";
    const LOST: &str = "the target would not take over what is preserved, and lose it";
    let mut checks = Vec::new();
    let switches = [("liveupdate", false), ("kho", true)];
    for (name, may_be_default) in switches {
        let switch = switch(line, name);
        if let Some(word) = switch.ignored {
            let found = format!("the kernel does not understand {word:?} and ignores it");
            checks.push(warning(NAME, found, &format!("write {name}=on")));
        }
        let by_default = config.map(|config| config.has("KEXEC_HANDOVER_ENABLE_DEFAULT"));
        match (switch.set, by_default) {
            (Some(true), _) => {}
            (Some(false), _) => {
                let found = format!("the command line says {name}=off: {LOST}");
                checks.push(failed(NAME, found, &format!("write {name}=on instead")));
            }
            (None, Some(true)) if may_be_default => {}
            (None, None) if may_be_default => {
                let found = "the command line does not say kho=on, and the target's \
                             configuration, which may make it the default, is not known";
                checks.push(warning(NAME, found, "add kho=on to the command line"));
            }
            (None, _) => {
                let found = format!("the command line does not say {name}=on: {LOST}");
                checks.push(failed(
                    NAME,
                    found,
                    &format!("add {name}=on to the command line"),
                ));
            }
        }
    }
    checks
}

#[cfg(test)]
mod tests {
    use luo_varlink::CheckStatus;

    use super::*;

    #[test]
    fn parameters_are_split_as_the_kernel_does() {
        let line = " a  b=1 \"c d=e f\" g=\"h i\" j=\"k\"l =m dyndbg=\"x \\\" -- n=1";
        let expected = [
            ("a", None),
            ("b", Some("1")),
            ("c d", Some("e f")),
            ("g", Some("h i")),
            ("j", Some("k\"l")),
            ("=m", None),
            // The quote opens again: all the rest is in it.
            ("dyndbg", Some("x \\\" -- n=1")),
        ];
        // The second quote of dyndbg closes what the first opened.
        let found = parameters(line);
        assert_eq!(found[..6], expected[..6]);
        assert_eq!(parameters("a -- liveupdate=on"), [("a", None)]);
        let behind = words("a -- b=1 -- \"c d\"").1;
        assert_eq!(behind, [("b", Some("1")), ("--", None), ("c d", None)]);
        assert_eq!(parameters("a=\"b c"), [("a", Some("b c"))]);
        assert!(parameters("  \t\n").is_empty());
    }

    #[test]
    fn the_last_word_counts_and_nonsense_is_ignored() {
        let set = |line: &str| switch(line, "liveupdate").set;
        for on in ["on", "1", "y", "Yes", "true", "enable", "ON"] {
            assert_eq!(set(&format!("quiet liveupdate={on}")), Some(true), "{on}");
        }
        for off in ["off", "0", "n", "F", "disable"] {
            assert_eq!(set(&format!("liveupdate={off}")), Some(false), "{off}");
        }
        assert_eq!(set("liveupdate=on liveupdate=off"), Some(false));
        assert_eq!(set("liveupdate=off liveupdate=\"on\""), Some(true));
        assert_eq!(set("liveupdate=on liveupdate"), Some(true));
        assert_eq!(set("-- liveupdate=on"), None);
        assert_eq!(set("xliveupdate=on"), None);
        let nonsense = switch("liveupdate=please", "liveupdate");
        assert_eq!(nonsense.set, None);
        assert_eq!(nonsense.ignored.as_deref(), Some("liveupdate=please"));
    }

    #[test]
    fn scratch_sizes_are_read() {
        let bytes = |low, global, per_node| {
            Ok(Some(ScratchSize::Bytes {
                low,
                global,
                per_node,
            }))
        };
        assert_eq!(scratch_size("quiet"), Ok(None));
        assert_eq!(
            scratch_size("kho_scratch=16M,512M,256M"),
            bytes(16 << 20, 512 << 20, 256 << 20)
        );
        assert_eq!(
            scratch_size("kho-scratch=0x10K,010,1g"),
            bytes(16 << 10, 8, 1 << 30)
        );
        assert_eq!(
            scratch_size("kho_scratch=1,1,1 kho_scratch=150%"),
            Ok(Some(ScratchSize::Percent(150)))
        );
        for bad in [
            "",
            "1M",
            "1M,2M",
            "1,2,3,4",
            "0,0,0",
            "%",
            "-1%",
            "1M,2M,xM",
            "1,2,99999999999E",
        ] {
            let line = format!("kho_scratch={bad}");
            assert_eq!(scratch_size(&line), Err(line.clone()));
        }
    }

    fn statuses(line: &str) -> Vec<CheckStatus> {
        let checks = checks(line, None);
        checks.iter().map(|check| check.status).collect()
    }

    #[test]
    fn what_is_missing_fails() {
        use CheckStatus::{Failed, Ok, Warning};
        assert_eq!(statuses("kho=on liveupdate=on"), [Ok]);
        assert_eq!(statuses("kho=on"), [Failed]);
        assert_eq!(
            statuses("liveupdate=on"),
            [Warning],
            "kho may be the default"
        );
        assert_eq!(statuses("liveupdate=on kho=off"), [Failed]);
        assert_eq!(statuses("liveupdate=off kho=on"), [Failed]);
        assert_eq!(statuses("liveupdate=maybe kho=on"), [Warning, Failed]);
        assert_eq!(statuses("liveupdate=on kho=on kho_scratch=x"), [Warning]);
        let padding = " x".repeat(1100);
        assert_eq!(
            statuses(&format!("liveupdate=on kho=on{padding}")),
            [Failed]
        );
        assert_eq!(statuses("liveupdate=on kho=on \0"), [Failed]);
    }

    #[test]
    fn a_configuration_may_have_a_line_of_its_own() {
        let config = |text| Config::parse(text);
        let own = "CONFIG_CMDLINE_BOOL=y\nCONFIG_CMDLINE=\"kho=on\"\n";
        assert_eq!(effective("a", Some(&config(own))), "kho=on a");
        let over = format!("{own}CONFIG_CMDLINE_OVERRIDE=y\n");
        assert_eq!(effective("a", Some(&config(&over))), "kho=on");
        let forced = "CONFIG_CMDLINE=\"b\"\nCONFIG_CMDLINE_FORCE=y\n";
        assert_eq!(effective("a", Some(&config(forced))), "b");
        let instead = config("CONFIG_CMDLINE=\"b\"");
        assert_eq!(effective("a", Some(&instead)), "a");
        assert_eq!(effective("", Some(&instead)), "b");
        let behind = "CONFIG_CMDLINE=\"b\"\nCONFIG_CMDLINE_EXTEND=y\n";
        assert_eq!(effective("a", Some(&config(behind))), "a b");
        let none = "CONFIG_CMDLINE=\"\"\nCONFIG_CMDLINE_FORCE=y\n";
        assert_eq!(effective("a", Some(&config(none))), "a");
        assert_eq!(effective("a", None), "a");
    }
}
