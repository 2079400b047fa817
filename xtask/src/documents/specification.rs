// SPDX-License-Identifier: MIT OR Apache-2.0
//! What SPECIFICATION.md names as a proof is there.
//!
//! A row's last column names proofs, with `;` between them: a label, which says what kind
//! they are, and names in backticks. A name is that of a test, with its modules or
//! without, or that of a module with tests, or what the label stands for has as names; a
//! star is any text. One without a module has that of the one before, if it is there. A
//! command line is looked at in `commands`. What has a slash is a file, with tests in it
//! if it is one in Rust. What stands in parentheses is a remark; one remark says that the
//! machines it stands behind run in `cargo xtask test --all` only.

use luo_lab::run::scenario::{Scenario, When};
use luo_lab::run::scenarios;

use super::tests_of::{in_file, tests_of};
use super::{files, read, root};

/// A name, and what it is said to be.
#[derive(Debug, PartialEq, Eq)]
struct Proof {
    row: String,
    label: String,
    name: String,
    /// The modules of a name before it.
    topic: String,
    /// Whether `ALL` stands behind it.
    in_all: bool,
}

/// The remark behind scenarios that the gate does not run.
const ALL: &str = "(`cargo xtask test --all`)";

/// Labels whose names are tests, and where those are.
const TESTS: [(&str, &str); 30] = [
    ("abi", "crates/luo-abi/src"),
    ("c", "crates/luo-client-c/tests"),
    ("c unit", "crates/luo-client-c/src"),
    ("calls", "crates/luo-calls/tests"),
    ("memfd", "crates/luo-memfd/src"),
    ("client", "crates/luo-client/tests"),
    ("client unit", "crates/luo-client/src"),
    ("core", "crates/luo-core/tests"),
    ("core unit", "crates/luo-core/src"),
    ("luoctl", "crates/luoctl/tests"),
    ("luoctl unit", "crates/luoctl/src"),
    ("luo-sys unit", "crates/luo-sys/src"),
    ("luod", "crates/luod/tests"),
    ("fleet", "crates/luo-fleet/tests"),
    ("fleet unit", "crates/luo-fleet/src"),
    ("fleetlock unit", "crates/luo-fleetlock/src"),
    ("luod unit", "crates/luod/src"),
    ("preflight", "crates/luo-preflight/tests"),
    ("preflight unit", "crates/luo-preflight/src"),
    ("qemu", "scenes/guests/tests"),
    ("qemu unit", "vmms/luo-qemu/src"),
    ("guests unit", "scenes/guests/src"),
    ("ch unit", "vmms/luo-ch/src"),
    ("monitor unit", "vmms/luo-monitor/src"),
    ("vmm unit", "vmms/luo-vmm/src"),
    ("sim", "crates/luo-sim/tests"),
    ("sim unit", "crates/luo-sim/src"),
    ("timeline unit", "crates/luo-timeline/src"),
    ("varlink unit", "crates/luo-varlink/src"),
    ("xtask unit", "xtask/src"),
];

/// The other ones: the suite's cases, scenarios of virtual machines, scenes.
const OTHERS: [&str; 3] = ["conformance", "vm", "scene"];

/// A text without what stands in parentheses. Those in backticks stay.
fn without_remarks(text: &str) -> String {
    let (mut depth, mut quoted) = (0, false);
    let kept = text.chars().filter(|c| {
        match c {
            '`' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                return false;
            }
            _ => {}
        }
        depth == 0
    });
    kept.collect()
}

/// The parts of a column, remarks included.
fn parts(column: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, c) in column.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => {
                parts.push(&column[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&column[from..]);
    parts
}

/// The label that a text is, after another one: "unit" is the unit tests of the same.
fn label(text: &str, before: &str) -> Option<String> {
    if text == "unit" {
        return Some(format!("{} unit", before.trim_end_matches(" unit")));
    }
    let mut known = TESTS.iter().map(|(label, _)| *label).chain(OTHERS);
    known.find(|label| *label == text).map(str::to_owned)
}

/// The proofs of a specification.
fn proofs(specification: &str) -> Vec<Proof> {
    let mut proofs = Vec::new();
    for line in specification.lines().filter(|line| line.starts_with("| ")) {
        let mut columns = line.trim_end_matches(" |").split(" | ");
        let row = columns.next().unwrap().trim_start_matches("| ").to_owned();
        let mut now = String::new();
        for part in parts(columns.last().unwrap_or_default()) {
            let in_all = part.contains(ALL);
            let part = without_remarks(part);
            let mut pieces = part.split('`');
            let said = pieces.next().unwrap_or_default().trim();
            now = label(said, &now).unwrap_or(now);
            let mut topic = String::new();
            for name in pieces.step_by(2) {
                proofs.push(Proof {
                    row: row.clone(),
                    label: now.clone(),
                    name: name.to_owned(),
                    topic: topic.clone(),
                    in_all,
                });
                if let Some((of, _)) = name.rsplit_once("::") {
                    topic = of.to_owned();
                }
            }
        }
    }
    proofs
}

/// Whether a name is as a pattern says, in which a star is any text.
fn is(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            starts.into_iter().any(|at| is(&rest[at..], tail))
        }),
    }
}

/// Whether some of a test's modules, or they and its name, are as a pattern says. The
/// module `tests`, in which unit tests lie, need not be named.
fn has(test: &str, pattern: &str) -> bool {
    let all: Vec<_> = test.split("::").collect();
    let named = all.iter().filter(|name| **name != "tests");
    let named: Vec<_> = named.copied().collect();
    [all, named].iter().any(|segments| {
        (0..segments.len()).any(|from| {
            let mut ends = from + 1..=segments.len();
            ends.any(|to| is(&segments[from..to].join("::"), pattern))
        })
    })
}

/// All that can be named.
struct Known {
    tests: Vec<(&'static str, Vec<String>)>,
    cases: Vec<String>,
    scenes: Vec<String>,
    scenarios: Vec<Scenario>,
    /// What is written between quotes in the programs that scenarios run.
    words: Vec<String>,
}

impl Known {
    fn read() -> Self {
        let of = |topic: &'static luo_conformance::Topic| {
            let cases = topic.cases.iter();
            cases.map(|case| format!("{}::{}", topic.name, case.name))
        };
        let scenes = luo_scenes::scene::SCENES
            .iter()
            .map(|scene| scene.name.to_owned());
        let killed = luo_scenes::scene::combinations().map(|kill| kill.to_string());
        let programs = ["lab", "scenes"].into_iter();
        let programs = programs.flat_map(|folder| files(folder, &["rs"]));
        let quoted = |path: String| {
            let text = read(&path);
            let quoted = text.split('"').skip(1).step_by(2).map(str::to_owned);
            quoted.collect::<Vec<_>>()
        };
        Self {
            tests: TESTS
                .map(|(label, folder)| (label, tests_of(folder)))
                .into(),
            cases: luo_conformance::TOPICS.iter().flat_map(of).collect(),
            scenes: scenes
                .chain(killed)
                .chain(tests_of("scenes/tests"))
                .collect(),
            scenarios: scenarios::all(scenarios::KEXECS),
            words: programs.flat_map(quoted).collect(),
        }
    }

    /// Whether there is what a proof names.
    fn has(&self, proof: &Proof) -> bool {
        let Proof {
            label, name, topic, ..
        } = proof;
        if name.starts_with("cargo ") || name.contains('=') {
            return true;
        }
        if name.contains('/') {
            let tests = || !in_file(&[], &read(name)).is_empty();
            return root().join(name).exists() && (!name.ends_with(".rs") || tests());
        }
        let full = format!("{topic}::{name}");
        let names = [name, &full];
        match label.as_str() {
            "conformance" => self
                .cases
                .iter()
                .any(|case| names.iter().any(|name| is(case, name))),
            "scene" => self.scenes.iter().any(|scene| has(scene, name)),
            "vm" => {
                let name = if name.contains("::") || topic.is_empty() {
                    name
                } else {
                    &full
                };
                self.has_machine(name)
            }
            label => {
                let of = self.tests.iter().find(|(known, _)| *known == label);
                let tests = of.map_or(&[][..], |(_, tests)| tests);
                tests
                    .iter()
                    .any(|test| names.iter().any(|name| has(test, name)))
            }
        }
    }

    /// The scenarios that a pattern means.
    fn machines(&self, pattern: &str) -> Vec<&Scenario> {
        let all = self.scenarios.iter();
        all.filter(|known| is(&known.name, pattern)).collect()
    }

    /// What is wrong with what a proof says of the run that it is in.
    fn wrong_run(&self, proof: &Proof) -> Option<String> {
        let named = match proof.name.split_once("::") {
            Some((scenario, _)) => scenario,
            // A case of the scenario that was named before.
            None if !proof.topic.is_empty() => &proof.topic,
            None => &proof.name,
        };
        let machines = self.machines(named);
        let is = |when| machines.iter().any(|machine| machine.when == when);
        let wrong = match (is(When::Always), is(When::All)) {
            (false, false) => "runs when it is asked for only",
            (true, _) if proof.in_all => "is part of `cargo xtask test`",
            (false, true) if !proof.in_all => "runs in `cargo xtask test --all` only",
            _ => return None,
        };
        Some(format!("{}: `{}` {wrong}", proof.row, proof.name))
    }

    /// Whether there is a scenario, and a case that it could report. What it reports is
    /// known when it has run; the words of its name must be written somewhere.
    fn has_machine(&self, name: &str) -> bool {
        let (scenario, case) = name.split_once("::").unwrap_or((name, "*"));
        let mut pieces = case.split('*');
        !self.machines(scenario).is_empty()
            && pieces.all(|piece| self.words.iter().any(|word| may_say(word, piece)))
    }
}

/// Whether a text may be part of what a program says by a literal, in which braces are
/// filled in.
fn may_say(literal: &str, text: &str) -> bool {
    let fixed = literal.split('{').next().unwrap_or(literal);
    let middle = literal
        .split_once('}')
        .map_or("", |(_, rest)| rest.split('{').next().unwrap());
    literal.contains(text)
        || (fixed.len() > 3 && text.starts_with(fixed))
        || (middle.len() > 3 && text.starts_with(middle))
}

#[test]
fn each_proof_that_the_specification_names_is_there() {
    let known = Known::read();
    let all = proofs(&read("SPECIFICATION.md"));
    assert!(all.len() > 200, "only {} are found", all.len());
    let missing = all.iter().filter(|proof| !known.has(proof));
    let missing: Vec<_> = missing
        .map(|proof| {
            format!(
                "{}: there is no {} `{}`",
                proof.row, proof.label, proof.name
            )
        })
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// What is said of `cargo xtask test` and of `--all` in front of the promises.
#[test]
fn each_machine_runs_where_the_specification_says() {
    let known = Known::read();
    let all = proofs(&read("SPECIFICATION.md"));
    let machines = all.iter().filter(|proof| proof.label == "vm");
    let machines: Vec<_> = machines.filter(|proof| !proof.name.contains('/')).collect();
    assert!(machines.len() > 50, "only {} are found", machines.len());
    let wrong = machines.iter().filter_map(|proof| known.wrong_run(proof));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_promise_has_a_proof_and_a_number_of_its_own() {
    let specification = read("SPECIFICATION.md");
    let rows = specification
        .lines()
        .filter_map(|line| line.strip_prefix("| "));
    let mut numbers = std::collections::BTreeSet::new();
    for row in rows.filter(|row| !row.starts_with('#')) {
        let columns: Vec<_> = row.trim_end_matches(" |").split(" | ").collect();
        assert_eq!(columns.len(), 3, "{row}");
        assert!(numbers.insert(columns[0]), "{} is there twice", columns[0]);
        assert!(!columns[2].trim().is_empty(), "{row} has no proof");
    }
    assert!(
        numbers.len() > 100,
        "only {} promises are found",
        numbers.len()
    );
}

#[test]
fn proofs_are_read_and_judged() {
    let text = "| # | Promise | Proof |\n|---|---|---|\n\
                | A1 | x | core `a::b` (as `c`; `i`), `d`; unit `e`; sim `f`; by hand: `g=h` |\n";
    let found = proofs(text);
    let told: Vec<_> = found
        .iter()
        .map(|proof| {
            (
                proof.label.as_str(),
                proof.topic.as_str(),
                proof.name.as_str(),
            )
        })
        .collect();
    let expected = [
        ("core", "", "a::b"),
        ("core", "a", "d"),
        ("core unit", "", "e"),
        ("sim", "", "f"),
        ("sim", "", "g=h"),
    ];
    assert_eq!(told, expected);

    assert!(is("a::b-c", "a::*") && is("a::b-c", "a::*-c") && is("a::b", "a::b*"));
    assert!(!is("a::b-c", "a::*-d") && !is("ab::c", "a::*"));
    assert!(has("a::b::c", "b") && has("a::b::c", "b::c") && has("a::b::c", "b::*"));
    assert!(!has("a::b::c", "a::c") && !has("a::bc", "b"));
    assert!(has("a::tests::b", "a::b") && has("a::tests::b", "a::tests::*"));

    let known = Known::read();
    let proof = |label: &str, name: &str| Proof {
        row: String::new(),
        label: label.to_owned(),
        name: name.to_owned(),
        topic: String::new(),
        in_all: false,
    };
    let has = |label: &str, name: &str| known.has(&proof(label, name));
    assert!(has("core", "freeze::*") && !has("core", "freeze::no_such_test"));
    assert!(has("vm", "chain") && has("vm", "*::console clean"));
    assert!(!has("vm", "no-such-scenario") && !has("vm", "chain::no such case"));
    assert!(has("scene", "update") && !has("scene", "no-such-scene"));
    assert!(!has("conformance", "names::no-such-case") && !has("no label", "x"));
    assert!(!has("", "crates/no-such-file.rs") && !has("", "crates/luo-abi/src/lib.rs"));

    let wrong_run = |name: &str, in_all| {
        known.wrong_run(&Proof {
            in_all,
            ..proof("vm", name)
        })
    };
    assert!(wrong_run("chain", false).is_none() && wrong_run("chain", true).is_some());
    assert!(wrong_run("chain-long", true).is_none() && wrong_run("chain-long", false).is_some());
    assert!(
        wrong_run("guests-gap-timed-rust", true).is_some() && wrong_run("*::x", false).is_none()
    );
}
