// SPDX-License-Identifier: MIT OR Apache-2.0
//! Misfits in a text of TOML: keys that nobody knows, and values of another kind than is wanted
//! there. All of them are found: each is taken out, and the rest looked at.
//!
//! A text that is no TOML is another matter: behind the first mistake nobody knows how the rest is
//! meant.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::lines::plain;

/// So many are told.
const MOST: usize = 32;

/// A key that nobody knows, or a value of another kind than is wanted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Counted from 1.
    line: usize,
    column: usize,
    why: String,
    /// The way to what was taken out because of it; empty if nothing could be.
    pub way: Vec<Step>,
}

/// A step of the way to what was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key of a table.
    Key(String),
    /// A place in an array, counted from 0.
    At(usize),
}

impl Misfit {
    /// Whether it was in a table or an array at the top.
    #[must_use]
    pub fn is_in(&self, key: &str) -> bool {
        matches!(self.way.first(), Some(Step::Key(known)) if known == key)
    }

    /// Adds what to write, if it is a table where a list of tables is wanted, at the top.
    pub fn hint_of_list(&mut self, key: &str) {
        let is_it = self.way == [Step::Key(key.to_owned())];
        if is_it && self.why.contains("invalid type: table") {
            self.why.push_str(&format!(" of tables: write [[{key}]]"));
        }
    }

    /// The place in that array, if it was in one.
    #[must_use]
    pub fn place(&self) -> Option<usize> {
        match self.way.get(1) {
            Some(Step::At(place)) => Some(*place),
            _ => None,
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line, column, why, ..
        } = self;
        write!(f, "line {line}, column {column}: {why}")
    }
}

/// The value of a text without its misfits, if that makes one, and the misfits.
///
/// # Errors
/// The text is no TOML.
pub fn read<T>(text: &str) -> Result<(Option<T>, Vec<Misfit>), toml::de::Error>
where
    T: for<'a> Deserialize<'a>,
{
    let mut table = DeTable::parse(text)?;
    let mut misfits = Vec::new();
    loop {
        let why = match T::deserialize(Deserializer::from(table.clone())) {
            Ok(read) => return Ok((Some(read), misfits)),
            Err(why) => why,
        };
        let span = why.span().unwrap_or_default();
        let mut way = Vec::new();
        let is_out = take_out(table.get_mut(), &span, &mut way);
        let is_its = |misfit: &Misfit| misfit.way.len() > way.len() && misfit.way.starts_with(&way);
        let follows = why.message().starts_with("missing field") && misfits.iter().any(is_its);
        // A key that was taken out is not missing in the text.
        if !follows {
            let (line, column) = position(text, span.start);
            misfits.push(Misfit {
                line,
                column,
                why: said(&way, why.message()),
                way,
            });
        }
        if !is_out || misfits.len() >= MOST {
            return Ok((None, misfits));
        }
    }
}

/// The fault, with the name of the key whose value it is.
fn said(way: &[Step], message: &str) -> String {
    let keys = way.iter().rev().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::At(_) => None,
    });
    match { keys }.next() {
        // These name it themselves, or speak of all of a table.
        Some(key) if !message.contains(" field") => format!("{key}: {}", plain(message)),
        _ => plain(message),
    }
}

/// The line and the column of a byte, counted from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let begin = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before.get(begin..).unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// The outcome of looking for a span in a value.
enum Within {
    /// It is elsewhere.
    Not,
    /// It is this value, whose key is to go.
    This,
    /// It was in it, and is out.
    Out,
}

/// Takes out of a table whatever stands in a span, with its key. Says whether anything did.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>, way: &mut Vec<Step>) -> bool {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        way.push(Step::Key(key.get_ref().to_string()));
        match within(value, span, way) {
            Within::Out => return true,
            Within::Not if !covers(&key.span(), span) => drop(way.pop()),
            _ => {
                found = Some(key.clone());
                break;
            }
        }
    }
    found.is_some_and(|key| table.remove(&key).is_some())
}

fn within(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>, way: &mut Vec<Step>) -> Within {
    let own = value.span();
    let is_out = match value.get_mut() {
        // The span of a table may be that of its header alone.
        DeValue::Table(table) => take_out(table, span, way),
        DeValue::Array(array) => {
            for (place, element) in array.iter_mut().enumerate() {
                way.push(Step::At(place));
                match within(element, span, way) {
                    Within::Out => return Within::Out,
                    // The places of the others must stay as they are in the text.
                    Within::This => {
                        way.pop();
                        return Within::This;
                    }
                    Within::Not => drop(way.pop()),
                }
            }
            false
        }
        _ => false,
    };
    match covers(&own, span) {
        _ if is_out => Within::Out,
        true => Within::This,
        false => Within::Not,
    }
}

fn covers(own: &Range<usize>, span: &Range<usize>) -> bool {
    !own.is_empty() && own.start <= span.start && span.end <= own.end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    #[derive(Default)]
    struct All {
        number: u32,
        within: Inner,
        list: Vec<Inner>,
        names: Vec<String>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        number: u32,
        name: String,
    }

    #[test]
    fn all_are_found_however_they_are_written() {
        let text = "number = \"x\"\n\"öther\" = 3\nnames = [\"a\", 7]\n\
                    within.name = 1\nwithin.number = 2\n\
                    [[list]]\nname = \"a\"\n[[list]]\nname = 4\nsize = 5\nnumber = 6\n";
        let (read, misfits) = read::<All>(text).unwrap();
        let told: Vec<_> = misfits.iter().map(ToString::to_string).collect();
        for begin in [
            "line 1, column 10: number: invalid type: string \"x\", expected a whole number",
            "line 2, column 1: unknown field `öther`",
            "line 3, column 15: names: invalid type: integer `7`",
            "line 4, column 15: name: invalid type",
            "line 9, column 8: name: invalid type",
            "line 10, column 1: unknown field `size`",
        ] {
            assert!(
                told.iter().any(|line| line.starts_with(begin)),
                "{begin}: {told:#?}"
            );
        }
        assert_eq!(told.len(), 6, "{told:#?}");
        let of_second = misfits.iter().filter(|misfit| misfit.is_in("list"));
        assert!(of_second.clone().all(|misfit| misfit.place() == Some(1)));
        assert_eq!(of_second.count(), 2);
        let read = read.unwrap();
        assert_eq!((read.number, read.within.number), (0, 2));
        assert_eq!((read.list.len(), read.list[1].number), (2, 6));
        assert_eq!(read.list[0].name, "a");
    }

    #[test]
    fn what_is_no_toml_is_told_as_that() {
        assert!(read::<All>("number = = 3").is_err());
        let (read, misfits) = read::<All>("number = 3").unwrap();
        assert!(read.is_some() && misfits.is_empty());
    }

    #[test]
    fn there_is_an_end() {
        let text: String = (0..100).map(|number| format!("x{number} = 1\n")).collect();
        let (read, misfits) = read::<All>(&text).unwrap();
        assert!(read.is_none());
        assert_eq!(misfits.len(), MOST);
    }
}
