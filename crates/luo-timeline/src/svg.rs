// SPDX-License-Identifier: MIT OR Apache-2.0
//! An update, as a picture: a column for each phase, a lane for each workload.
//!
//! A phase may take a millisecond and the next one an hour. So each column has a scale of
//! its own, and says how long its phase took; a longer phase has a wider column.

use luo_varlink::{HistoryEntry, Outcome, PhaseTime};

use crate::lanes::{Bar, Lanes, Meaning, lanes};
use crate::steady::steady;
use crate::text::{date, plain, took, took_or_not_known, xml};

/// Pixels.
const LETTER: u64 = 8;
const MARGIN: u64 = 20;
const LINE: u64 = 18;
const LANE: u64 = 28;
const BAR: u64 = 16;
const COLUMN: u64 = 72;
const COLUMN_DIGIT: u64 = 12;
/// A bar is never so short that nobody sees it.
const SHORTEST: u64 = 3;
/// Letters of a name that are shown; the whole name is in the lane's title.
const NAME: usize = 40;
/// Letters of a line above the columns that are shown.
const HEAD: usize = 160;
/// The legend is a row of so many pixels for each letter and a box for each meaning.
const LEGEND_LETTER: u64 = 7;
const LEGEND_BOX: u64 = 36;

/// A phase.
struct Column {
    /// Where it stands, by times of which none is before an earlier one.
    of: PhaseTime,
    /// How long it took, if that is known.
    took: Option<u64>,
    left: u64,
    width: u64,
}

/// Where times stand.
struct Axis {
    columns: Vec<Column>,
    left: u64,
    right: u64,
}

impl Axis {
    /// `steady` is the same update, by times of which none is before an earlier one.
    fn new(entry: &HistoryEntry, steady: &HistoryEntry, left: u64) -> Self {
        let mut right = left;
        let mut columns = Vec::new();
        for (of, told) in steady.phases().into_iter().zip(entry.phases()) {
            let took = told.took();
            let digits = u64::from(took.unwrap_or(0).max(1).ilog10());
            let width = COLUMN + digits * COLUMN_DIGIT;
            columns.push(Column {
                of,
                took,
                left: right,
                width,
            });
            right += width;
        }
        Self {
            columns,
            left,
            right,
        }
    }

    /// Where a time stands; one before the first or after the last phase at its border.
    fn place(&self, time: u64) -> u64 {
        let column = self.columns.iter().find(|column| time < column.of.end);
        let Some(column) = column else {
            return self.right;
        };
        let Some(since) = time.checked_sub(column.of.begin) else {
            return column.left;
        };
        let whole = u128::from(column.of.end.saturating_sub(column.of.begin)).max(1);
        let share = u128::from(since) * u128::from(column.width) / whole;
        column.left + u64::try_from(share).unwrap_or(column.width)
    }
}

fn fill(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Kernel => "#888",
        Meaning::Step => "#6d9eeb",
        Meaning::Still => "#33415c",
        Meaning::Returning => "#e3a23b",
        Meaning::Trouble => "#c0392b",
    }
}

/// An update as SVG 1.1. What it says on its own: what it is, its outcome, how long each
/// phase took, who did what when, and how long not all served.
#[must_use]
pub fn svg(entry: &HistoryEntry) -> String {
    let steady = steady(entry);
    let lanes = lanes(&steady);
    let mut names: Vec<&str> = lanes.workloads.keys().map(String::as_str).collect();
    names.extend((!lanes.kernel.is_empty()).then_some("kernel"));
    let longest = names
        .iter()
        .map(|name| shown(name, NAME).chars().count())
        .max();
    let axis = Axis::new(
        entry,
        &steady,
        MARGIN + (longest.unwrap_or(0) as u64 + 2) * LETTER,
    );
    let heads = head(entry);
    let legend: u64 = Meaning::ALL
        .iter()
        .map(|&meaning| entry_width(meaning))
        .sum();
    let widest = heads.iter().map(|line| line.chars().count() as u64);
    let widest = widest.max().unwrap_or(0) * LETTER;
    let width = MARGIN + axis.right.max(MARGIN + widest).max(MARGIN + legend);
    let mut body = String::new();
    let mut top = MARGIN;
    for (at, line) in heads.iter().enumerate() {
        top += LINE;
        let style = match (at, entry.outcome) {
            (0, _) => " font-weight=\"bold\"",
            (1, Outcome::Completed) => " fill=\"#176317\"",
            (1, Outcome::Incomplete | Outcome::Lost) => " fill=\"#c0392b\"",
            (1, _) => " fill=\"#8a5a00\"",
            _ => "",
        };
        body += &text(MARGIN, top, style, &xml(line));
    }
    top += LINE;
    body += &columns(&axis, &lanes, &mut top, names.len() as u64);
    if !lanes.kernel.is_empty() {
        body += &lane(&axis, "kernel", &lanes.kernel, &mut top);
    }
    for (name, bars) in &lanes.workloads {
        body += &lane(&axis, name, bars, &mut top);
    }
    body += &legend_row(&mut top);
    let height = top + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"13\">\n\
         <title>Update {}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n{body}</svg>\n",
        xml(&entry.update)
    )
}

/// Bytes of a file that tell whether it is such a picture.
pub const TELLING: usize = 1024;

/// Whether a file that begins so is such a picture, of this version or of an earlier one.
#[must_use]
pub fn is_picture(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let is_svg = lines.next().is_some_and(|line| line.starts_with("<svg "));
    is_svg
        && lines
            .next()
            .is_some_and(|line| line.starts_with("<title>Update "))
}

/// What stands above the columns.
fn head(entry: &HistoryEntry) -> Vec<String> {
    let kernels = match (&entry.from_kernel, &entry.to_kernel) {
        (from, to) if !entry.has_jumped() && from == to => from.clone(),
        (from, to) => format!("{from} -> {to}"),
    };
    let outcome = entry.outcome.word().replace('_', " ");
    let mut lines = vec![
        format!("Update {}, kernel {kernels}", entry.update),
        match entry.took_us {
            Some(us) => format!("{outcome} after {}", took(us)),
            None => format!("{outcome}; how long it took is not known"),
        },
        format!("began {}", date(entry.began_us)),
    ];
    if let Some(reason) = &entry.reason {
        lines.extend(reason.lines().map(str::to_owned));
    }
    lines.iter().map(|line| shown(line, HEAD)).collect()
}

/// The columns with their heads, and the line of the blackout above them.
fn columns(axis: &Axis, lanes: &Lanes, top: &mut u64, rows: u64) -> String {
    let mut all = String::new();
    if let Some(blackout) = &lanes.blackout {
        let (left, right) = (axis.place(blackout.from), axis.place(blackout.to));
        let (y, tip) = (*top + LINE, *top + LINE + 6);
        let words = format!("blackout {}", took_or_not_known(blackout.us));
        all += &format!(
            "<path d=\"M{left} {tip}V{y}H{right}V{tip}\" fill=\"none\" stroke=\"#c0392b\" \
             stroke-width=\"2\"/>\n"
        );
        // It ends with the bracket, so that it does not run out of the picture.
        let style = " text-anchor=\"end\" fill=\"#c0392b\"";
        all += &text(right.max(words.len() as u64 * LETTER), y - 5, style, &words);
        *top += 2 * LINE;
    }
    let height = 2 * LINE + 8 + rows * LANE;
    for (at, column) in axis.columns.iter().enumerate() {
        let shade = if at % 2 == 0 { "#f3f5f8" } else { "#fff" };
        let middle = column.left + column.width / 2;
        all += &format!(
            "<rect x=\"{}\" y=\"{top}\" width=\"{}\" height=\"{height}\" fill=\"{shade}\"/>\n",
            column.left, column.width
        );
        let lasted = took_or_not_known(column.took);
        let style = " text-anchor=\"middle\"";
        all += &text(middle, *top + LINE - 3, style, column.of.phase.word());
        let style = " text-anchor=\"middle\" font-size=\"11\" fill=\"#555\"";
        all += &text(middle, *top + 2 * LINE - 3, style, &lasted);
    }
    *top += 2 * LINE + 8;
    all
}

/// A lane with its name; a browser shows each bar's words when the pointer is on it.
fn lane(axis: &Axis, name: &str, bars: &[Bar], top: &mut u64) -> String {
    let style = " text-anchor=\"end\"";
    let mut all = format!("<g><title>{}</title>\n", xml(name));
    all += &text(
        axis.left - LETTER,
        *top + 17,
        style,
        &xml(&shown(name, NAME)),
    );
    all += "</g>\n";
    for bar in bars {
        let (left, right) = (axis.place(bar.from), axis.place(bar.to));
        let width = (right - left).max(SHORTEST);
        all += &format!(
            "<rect x=\"{left}\" y=\"{}\" width=\"{width}\" height=\"{BAR}\" fill=\"{}\"><title>{}: \
             {}</title></rect>\n",
            *top + (LANE - BAR) / 2,
            fill(bar.meaning),
            xml(name),
            xml(&bar.words)
        );
    }
    *top += LANE;
    all
}

fn entry_width(meaning: Meaning) -> u64 {
    meaning.words().len() as u64 * LEGEND_LETTER + LEGEND_BOX
}

/// What the colours mean, and that the columns have scales of their own.
fn legend_row(top: &mut u64) -> String {
    let style = " font-size=\"11\" fill=\"#555\"";
    let mut all = String::new();
    let mut left = MARGIN;
    *top += LINE;
    for meaning in Meaning::ALL {
        all += &format!(
            "<rect x=\"{left}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/>\n",
            *top - 10,
            fill(meaning)
        );
        all += &text(left + 18, *top, style, meaning.words());
        left += entry_width(meaning);
    }
    *top += LINE;
    all += &text(
        MARGIN,
        *top,
        style,
        "each phase has a scale of its own; point at a bar to read more",
    );
    all
}

/// A line of text; `escaped` is XML already.
fn text(x: u64, y: u64, style: &str, escaped: &str) -> String {
    format!("<text x=\"{x}\" y=\"{y}\"{style}>{escaped}</text>\n")
}

/// As much of a text as there is room for.
fn shown(text: &str, most: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= most {
        return text;
    }
    let mut short: String = text.chars().take(most - 1).collect();
    short.push('\u{2026}');
    short
}
