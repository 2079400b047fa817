// SPDX-License-Identifier: MIT OR Apache-2.0
//! Snippets between fences. Each is something that a test compiles, runs or reads:
//!
//! - Rust, C and Python are lines of a file that is compiled and run by a test;
//! - a script is the one of its document, which a test takes out of it and runs;
//! - TOML is read by the agent's own parser, as configuration or as policy, or by luo-qemu's, as
//!   a guest;
//! - units of systemd have the lines of a unit that runs in the scenario `systemd`, but for
//!   the reader's own program.

use luod::decide::config::Config;
use luod::decide::policy::Policy;

use super::{documents, files, read};

/// The folders with what tests compile and run.
const PROGRAMS: [&str; 10] = [
    "crates/luo-client/examples",
    "crates/luo-client-c/examples",
    "python/examples",
    "crates/luo-sim/examples",
    "crates/luo-sim/tests",
    "crates/luo-abi/src",
    "crates/luo-core/src",
    "crates/luo-testhost/src",
    "kernel/overlay/kernel/liveupdate/rust/handlers",
    "kernel/overlay/lib/tests",
];

/// The documents with a script, and the test that runs it.
const SCRIPTS: [(&str, &str); 4] = [
    ("docs/agent.md", "crates/luoctl/tests/book.rs"),
    ("docs/integrate.md", "crates/luo-client-c/tests/examples.rs"),
    ("docs/testing.md", "crates/luo-sim/tests/documents.rs"),
    ("docs/walkthrough.md", "crates/luoctl/tests/book.rs"),
];

/// The units of the scenario `systemd`.
const UNITS: &str = "lab/guest/systemd";

/// Whether the lines of one text follow each other in another one, indentation aside.
fn has_lines(text: &str, snippet: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.trim().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    };
    let (text, snippet) = (lines(text), lines(snippet));
    !snippet.is_empty() && text.windows(snippet.len()).any(|part| part == snippet)
}

/// What is wrong with a snippet.
fn judge(document: &str, language: &str, body: &str) -> Result<(), String> {
    match language {
        "rust" | "c" | "python" => {
            let extension = match language {
                "c" => "c",
                "python" => "py",
                _ => "rs",
            };
            let mut programs = PROGRAMS
                .iter()
                .flat_map(|folder| files(folder, &[extension]));
            let found = programs.any(|path| has_lines(&read(&path), body));
            found.then_some(()).ok_or_else(|| {
                let folders = PROGRAMS.join(", ");
                format!("no file of {folders} has these lines, so that no test runs them")
            })
        }
        "sh" => {
            let known = SCRIPTS.iter().any(|(path, _)| *path == document);
            known
                .then_some(())
                .ok_or_else(|| "no test runs it".to_owned())
        }
        "toml" => {
            let config = Config::parse(body).err().map(|error| error.to_string());
            let policy = Policy::parse(body).err().map(|error| error.to_string());
            let guest = luo_qemu::config::parse("guest", body).err();
            match (config, policy, guest) {
                (Some(config), Some(policy), Some(guest)) => Err(format!(
                    "it is no configuration ({config}), no policy ({policy}) and no guest ({guest})"
                )),
                _ => Ok(()),
            }
        }
        "ini" => {
            let units = files(UNITS, &["service"]);
            let runs = |line: &str| units.iter().any(|path| has_lines(&read(path), line));
            let own = |line: &str| line.is_empty() || line.starts_with("ExecStart=");
            let strange = body.lines().find(|line| !own(line) && !runs(line));
            strange.map_or(Ok(()), |line| Err(format!("no unit of {UNITS} has {line}")))
        }
        other => Err(format!("nothing is known about snippets of {other:?}")),
    }
}

#[test]
fn each_snippet_in_the_documents_is_tested() {
    let mut wrong = Vec::new();
    let mut scripts = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for snippet in document.fenced() {
            seen += 1;
            if snippet.language == "sh" {
                scripts.push(document.path.clone());
            }
            if let Err(why) = judge(&document.path, &snippet.language, &snippet.body) {
                wrong.push(format!("{}:{}: {why}", document.path, snippet.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 7, "only {seen} are found");
    // The tests take the only one of their document.
    assert_eq!(scripts, SCRIPTS.map(|(document, _)| document));
    for (document, test) in SCRIPTS {
        assert!(read(test).contains(document), "{test} has no {document}");
    }
}

/// What is indented is typed or read, and is no program: nothing would look at it.
#[test]
fn programs_stand_between_fences() {
    let is_program = |line: &str| {
        let code = line.strip_prefix("    ").unwrap_or_default().trim_start();
        let starts = [
            "fn ", "pub ", "impl ", "struct ", "let ", "def ", "import ", "#include",
        ];
        starts.iter().any(|word| code.starts_with(word))
    };
    let mut wrong = Vec::new();
    for document in documents() {
        for (number, line) in document.lines() {
            if is_program(line) {
                wrong.push(format!("{}:{number}: {line}", document.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn snippets_are_judged() {
    let bad = |language: &str, body: &str| judge("docs/agent.md", language, body).is_err();
    assert!(bad("rust", "fn nobody_has_written_this() {}\n"));
    assert!(bad("toml", "[target]\nimages = 1\n") && bad("toml", "x ="));
    assert!(bad("ini", "[Service]\nType=forking\n"));
    assert!(bad("", "x") && judge("README.md", "sh", "true").is_err());
    assert!(has_lines("a\n  b\n\nc\n", "b\nc") && !has_lines("a\nb\nc", "a\nc"));
}
