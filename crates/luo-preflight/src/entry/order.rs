// SPDX-License-Identifier: MIT OR Apache-2.0
//! The order of entries: the first is the default where nobody has chosen one. See the Boot
//! Loader Specification, and the Version Format Specification for versions.

use core::cmp::Ordering;

use super::said::Entry;

/// The name of an entry's file without its ending and its count of attempts, and whether
/// none is left: `name+0-3.conf`.
pub(super) fn bare(file: &str) -> (&str, bool) {
    let endings = [".conf", ".efi", ".EFI"];
    let name = endings.iter().find_map(|ending| file.strip_suffix(ending));
    let name = name.unwrap_or(file);
    let Some((bare, counts)) = name.rsplit_once('+') else {
        return (name, false);
    };
    let (left, done) = counts.split_once('-').unwrap_or((counts, "0"));
    match (left.parse::<u32>(), done.parse::<u32>()) {
        (Ok(left), Ok(_)) => (bare, left == 0),
        _ => (name, false),
    }
}

/// Which of two entries comes first.
pub(super) fn compare(a: &Entry, b: &Entry) -> Ordering {
    let by_key = match (&a.sort_key, &b.sort_key) {
        (Some(left), Some(right)) => {
            let newest_first = || {
                let version = |it: &Entry| it.version.clone().unwrap_or_default();
                versions(&version(b), &version(a))
            };
            let same = left.cmp(right).then_with(|| a.machine.cmp(&b.machine));
            same.then_with(newest_first)
        }
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    let given_up = a.is_given_up.cmp(&b.is_given_up);
    let newest_name_first = || versions(&b.name, &a.name);
    given_up.then(by_key).then_with(newest_name_first)
}

/// Compares two versions.
pub(super) fn versions(a: &str, b: &str) -> Ordering {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "~-^.".contains(letter);
    let (mut a, mut b) = (a, b);
    loop {
        a = a.trim_start_matches(|letter| !is_part(letter));
        b = b.trim_start_matches(|letter| !is_part(letter));
        // `~` comes before the end, the end before all else.
        match (a.strip_prefix('~'), b.strip_prefix('~')) {
            (Some(left), Some(right)) => {
                (a, b) = (left, right);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        match (a.is_empty(), b.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        if let Some(decided) = separated(&mut a, &mut b) {
            match decided {
                Ordering::Equal => continue,
                decided => return decided,
            }
        }
        let decided = part(&mut a, &mut b);
        if decided != Ordering::Equal {
            return decided;
        }
    }
}

/// Takes a separator off both, or says which comes first; `None` if neither has one.
fn separated(a: &mut &str, b: &mut &str) -> Option<Ordering> {
    for separator in ['-', '^', '.'] {
        match (a.strip_prefix(separator), b.strip_prefix(separator)) {
            (Some(left), Some(right)) => {
                (*a, *b) = (left, right);
                return Some(Ordering::Equal);
            }
            (Some(_), None) => return Some(Ordering::Less),
            (None, Some(_)) => return Some(Ordering::Greater),
            (None, None) => {}
        }
    }
    None
}

/// Takes a number or a word off both, and compares them.
fn part(a: &mut &str, b: &mut &str) -> Ordering {
    let is_digit = |letter: char| letter.is_ascii_digit();
    let is_letter = |letter: char| letter.is_ascii_alphabetic();
    let numeric = a.starts_with(is_digit) || b.starts_with(is_digit);
    let cut = |text: &mut &str| {
        let end = match numeric {
            true => text.find(|letter| !is_digit(letter)),
            false => text.find(|letter| !is_letter(letter)),
        };
        let (first, rest) = text.split_at(end.unwrap_or(text.len()));
        *text = rest;
        first.to_owned()
    };
    let (left, right) = (cut(a), cut(b));
    if !numeric {
        return left.cmp(&right);
    }
    // Numbers of any length: without leading zeros the longer one is the larger.
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_specification_does() {
        // Its own examples, the smallest first.
        let ordered = [
            "122.1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
        ];
        let ordered = ordered
            .iter()
            .chain(&["123^post1", "123.a-1", "123.1-1", "123a-1", "124-1"]);
        let ordered: Vec<_> = ordered.collect();
        for pair in ordered.windows(2) {
            assert_eq!(versions(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(versions(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(versions("6.9.1", "6.10.1"), Ordering::Less);
        assert_eq!(versions("6.010", "6.10"), Ordering::Equal);
    }

    #[test]
    fn attempts_are_no_part_of_a_name() {
        assert_eq!(bare("a-6.19+3-1.conf"), ("a-6.19", false));
        assert_eq!(bare("a-6.19+0-3.efi"), ("a-6.19", true));
        assert_eq!(bare("a+b.conf"), ("a+b", false));
        assert_eq!(bare("a"), ("a", false));
    }
}
