// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where something stands in a text of TOML, for messages. The text is parsed once more, so
//! it does not matter how it is written: below a header, as `target.image = ...`, in a table or
//! an array in one line, in quotes.

use toml::de::{DeTable, DeValue};

/// A step of the way to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A key of a table.
    Key(&'a str),
    /// A place in an array, counted from 0. What is no array has one.
    At(usize),
}

/// The line of what a way leads to, counted from 1: that of its key, or where the element of an
/// array begins. `None` if it is not in the text.
#[must_use]
pub fn line_of(text: &str, way: &[Part<'_>]) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut within = DeValue::Table(table.into_inner());
    let mut at = None;
    for part in way {
        let (start, next) = match (part, within) {
            (Part::Key(key), DeValue::Table(table)) => {
                let mut entries = table.into_iter();
                let (key, value) = entries.find(|(known, _)| known.get_ref() == key)?;
                (key.span().start, value)
            }
            (Part::At(index), DeValue::Array(array)) => {
                let value = array.into_iter().nth(*index)?;
                (value.span().start, value)
            }
            // A list of one may be written without its brackets.
            (Part::At(0), _) => break,
            _ => return None,
        };
        at = Some(start);
        within = next.into_inner();
    }
    let before = text.get(..at?)?;
    Some(before.matches('\n').count() + 1)
}

/// The fault of the syntax.
pub(super) fn plainly(why: &toml::de::Error) -> String {
    let told = why.to_string();
    // Behind that it shows the text itself.
    let place = told.lines().next().unwrap_or_default();
    let place = place.rsplit(" at ").next().unwrap_or(place);
    let what = plain(why.message().trim());
    format!("{place}: {what}\nwhat stands behind that was not looked at")
}

/// The fault of a key or a type, without the words that only programmers know.
pub(super) fn plain(said: &str) -> String {
    const WORDS: [(&str, &str); 12] = [
        ("unknown variant", "unknown value"),
        ("expected f64", "expected a number"),
        (
            "expected u32",
            "expected a whole number from 0 to 4294967295",
        ),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected a table"),
        ("invalid type: map", "invalid type: table"),
        ("invalid type: sequence", "invalid type: list"),
        ("expected struct Rule", "expected a table"),
        ("expected struct ", "expected the table "),
        ("expected path string", "expected a path"),
    ];
    WORDS
        .into_iter()
        .fold(said.to_owned(), |text, (word, plain)| {
            text.replace(word, plain)
        })
}

/// Several messages as one, each in a line.
pub(super) fn together(all: &[impl ToString]) -> String {
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    all.join("\n")
}

/// A line, as the beginning of a message.
pub(super) fn place(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!("line {line}: "))
}

#[cfg(test)]
mod tests {
    use super::Part::{At, Key};
    use super::*;

    const IMAGE: [Part<'_>; 2] = [Key("target"), Key("image")];

    #[test]
    fn a_key_is_found_however_it_is_written() {
        for text in [
            "\n\n[target]\n\nimage = \"x\"",
            "jump = \"direct\"\n\n\n\ntarget.image = \"x\"",
            "\n\n\n\ntarget = { initrd = \"y\", image = \"x\" }",
            "\n\n[\"target\"]\n# image = \"no\"\n  \"image\"=\"x\"",
            "[checks]\nroot = \"/\"\n\n[target]\n'image' = 'x'",
            "state_directory = \"\"\"\nimage = 1\n\"\"\"\n[target]\nimage = \"x\"",
        ] {
            assert_eq!(line_of(text, &IMAGE), Some(5), "{text}");
        }
        assert_eq!(line_of("image = \"x\"", &IMAGE), None);
        assert_eq!(line_of("no TOML", &IMAGE), None);
    }

    #[test]
    fn an_element_of_an_array_is_found() {
        let second = [Key("allow"), At(1)];
        for text in [
            "[[allow]]\nuid = 1\n\n[[ allow ]]\nuid = 2",
            "allow = [\n  { uid = 1 },\n\n  { uid = 2 },\n]",
        ] {
            assert_eq!(line_of(text, &second), Some(4), "{text}");
        }
        let initrd = |at| [Key("target"), Key("initrd"), At(at)];
        let text = "[target]\ninitrd = [\n \"/a\",\n \"/b\"]";
        assert_eq!(line_of(text, &initrd(1)), Some(4));
        let text = "[target]\ninitrd = \"/a\"";
        assert_eq!(line_of(text, &initrd(0)), Some(2));
        assert_eq!(line_of(text, &initrd(1)), None);
    }
}
