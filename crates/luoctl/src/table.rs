// SPDX-License-Identifier: MIT OR Apache-2.0
//! Columns.

use crate::output::{Paint, Tone};
use crate::text::plain;

/// Rows under a heading, aligned.
#[derive(Clone, Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// A table without rows. A heading that begins with `>` is that of numbers, which
    /// stand to the right.
    #[must_use]
    pub fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<T: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cell = |cell: T| {
            let Cell(text, tone) = cell.into();
            (plain(&text), tone)
        };
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// The lines.
    #[must_use]
    pub fn render(&self, paint: Paint) -> String {
        let right: Vec<_> = self.head.iter().map(|name| name.starts_with('>')).collect();
        let head = self.head.iter();
        let head = head.map(|name| (name.trim_start_matches('>').to_owned(), Tone::Head));
        let head: Vec<_> = head.collect();
        let all = || std::iter::once(&head).chain(&self.rows);
        let width = |column: usize| {
            let cells = all().filter_map(|row| row.get(column));
            cells
                .map(|(text, _)| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<_> = (0..right.len()).map(width).collect();
        let mut text = String::new();
        for row in all() {
            let mut line = String::new();
            let columns = row.iter().zip(&widths).zip(&right);
            for (index, (((cell, tone), &width), &right)) in columns.enumerate() {
                let space = " ".repeat(width.saturating_sub(cell.chars().count()));
                let gap = if index == 0 { "" } else { "  " };
                let cell = paint.tone(*tone, cell);
                line += gap;
                line += &if right { space + &cell } else { cell + &space };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// A cell.
pub struct Cell(String, Tone);

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self(text.to_owned(), Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self(text, Tone::Plain)
    }
}

impl From<(String, Tone)> for Cell {
    fn from((text, tone): (String, Tone)) -> Self {
        Self(text, tone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", ">BYTES", "WHO"]);
        table.row(["a", "1", ""]);
        table.row(["long\nname", "1000", "x\x1b"]);
        let text = "NAME       BYTES  WHO\na              1\nlong name   1000  x\u{fffd}\n";
        assert_eq!(table.render(Paint(false)), text);
        let painted = table.render(Paint(true));
        assert!(
            painted.starts_with("\x1b[1mNAME\x1b[0m       \x1b[1mBYTES"),
            "{painted:?}"
        );
    }
}
