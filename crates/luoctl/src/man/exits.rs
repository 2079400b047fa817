// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the programs end: the section EXIT STATUS.

use luod::manager::supervise::{BAD_CONFIG, REFUSED_HANDOVER};
use roff::{Roff, bold, roman};

use crate::exit::Exit;

/// An exit status in words, and what it means.
type Row = (String, &'static str);

fn numbers<const N: usize>(rows: [(u8, &'static str); N]) -> Vec<Row> {
    rows.map(|(code, words)| (code.to_string(), words)).into()
}

/// Those of the agent.
fn of_agent() -> Vec<Row> {
    numbers([
        (
            0,
            "it was told to end; with --check-config: all can be used",
        ),
        (
            1,
            "it cannot begin, or not go on; its log says why: another luod has this kernel, say",
        ),
        (2, "the command line makes no sense"),
        (
            REFUSED_HANDOVER,
            "the kernel refuses what the previous one has handed over; to start it again does not \
             help before the next normal boot",
        ),
        (
            BAD_CONFIG,
            "the configuration or the policy cannot be used; to start it again does not help",
        ),
    ])
}

/// How a program ends, and what is to be said of it beyond that.
fn of(page: &str) -> (Vec<Row>, Option<&'static str>) {
    match page {
        "luoctl" => (
            numbers(Exit::ALL.map(Exit::describe)),
            Some(
                "Those from 64 to 78 are those of sysexits.h. A pipe whose reader has gone is no error.",
            ),
        ),
        "luod" => (of_agent(), None),
        "luod-supervise" => (
            of_agent(),
            Some("They are those of the agent that ran last, and 1 where a signal has ended that."),
        ),
        "luo-sim" | "luo-sim-run" => (
            vec![
                (
                    "that of the last command".to_owned(),
                    "or 128 and the number of the signal that has ended it",
                ),
                (
                    "1".to_owned(),
                    "the last command has ended well, and not all boots, faults and lines of the \
                     trace came about",
                ),
                ("2".to_owned(), "the command line makes no sense"),
                (
                    "70".to_owned(),
                    "the simulation could not be run; standard error says why",
                ),
            ],
            None,
        ),
        name if name.starts_with("luo-fleet") => (
            numbers([
                (0, "it is done"),
                (1, "it could not be done; standard error says why"),
                (2, "the command line makes no sense"),
            ]),
            None,
        ),
        name if name.starts_with("luoctl-") => (Vec::new(), Some("As luoctl(1) lists them.")),
        _ => (
            numbers([
                (0, "it is done"),
                (2, "the command line makes no sense"),
                (70, "it could not be done; standard error says why"),
            ]),
            None,
        ),
    }
}

/// Adds the section.
pub(super) fn section(page: &mut Roff, name: &str) {
    let (rows, more) = of(name);
    page.control("SH", ["EXIT STATUS"]);
    for (word, words) in rows {
        page.control("TP", []);
        page.text([bold(word)]);
        page.text([roman(words)]);
    }
    if let Some(more) = more {
        page.control("PP", []);
        page.text([roman(more)]);
    }
}
