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
            "it cannot begin, or not go on; its log says why: another luod has this kernel, say, or the \
             configuration cannot be read now, for want of descriptors; or standard output cannot be \
             written to",
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
                    "the simulation could not be run, or standard output cannot be written to; standard \
                     error says why",
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
        "luo-qemu" => (
            numbers([
                (0, "the guest was shut down, or QEMU was told to quit"),
                (64, "the command line of luo-qemu makes no sense"),
                (
                    65,
                    "what came over the jump cannot be resumed; it is kept, and can be tried again",
                ),
                (
                    69,
                    "luod cannot be reached: nobody knows whether the guest is to be started or to \
                     go on",
                ),
                (70, "QEMU ended by itself, or did not do what it was told"),
                (71, "the operating system refused something"),
                (75, "another luo-qemu runs this guest"),
                (77, "luod's policy does not allow it"),
                (
                    78,
                    "the guest's file, or something in QEMU's command line, cannot be used",
                ),
                (80, "the guest has panicked"),
            ]),
            None,
        ),
        name if name.starts_with("luo-qemu-") => (Vec::new(), Some("As luo-qemu(1) lists them.")),
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
