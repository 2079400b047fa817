// SPDX-License-Identifier: MIT OR Apache-2.0
//! The chapters of the book that a reader pastes from.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::machine::{self, LUOCTL};

fn project(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(folder.join(path)).unwrap()
}

/// A program without the line of its licence.
fn code(path: &str) -> String {
    let text = project(path);
    text.split_once('\n').unwrap().1.trim().to_owned()
}

#[test]
fn the_programs_in_the_book_are_those_that_are_tested() {
    let book = project("docs/integrate.md");
    for path in [
        "crates/luo-client/examples/workload.rs",
        "crates/luo-client-c/examples/workload.c",
    ] {
        assert!(
            book.contains(&code(path)),
            "docs/integrate.md has another {path}"
        );
    }
}

/// What stands between two fences of a language.
fn fenced<'a>(book: &'a str, language: &str) -> &'a str {
    let (_, rest) = book.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// A folder with programs, to be put in front of PATH.
fn programs(folder: &Path) -> String {
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(LUOCTL, bin.join("luoctl")).unwrap();
    for name in ["luod", "luo-sim", "workload"] {
        symlink(machine::program(name), bin.join(name)).unwrap();
    }
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

/// The folder of somebody who follows docs/walkthrough.md, but for the building: that is this
/// test's.
struct Walk {
    book: String,
    folder: tempfile::TempDir,
    path: String,
}

impl Walk {
    fn begin() -> Self {
        let book = project("docs/walkthrough.md");
        let folder = tempfile::tempdir().unwrap();
        for (name, language) in [("guestbook.py", "python"), ("machine.sh", "sh")] {
            fs::write(folder.path().join(name), fenced(&book, language)).unwrap();
        }
        let path = programs(folder.path());
        Self { book, folder, path }
    }

    /// Runs lines of a shell; gives what they have said, and whether all went well.
    fn run(&self, lines: &str) -> (String, bool) {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let output = Command::new("sh")
            .args(["-e", "-c", lines])
            .current_dir(self.folder.path())
            .env("PATH", &self.path)
            .env("LUO", checkout.canonicalize().unwrap())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (said, output.status.success())
    }
}

#[test]
fn the_walkthrough_ends_with_a_picture() {
    let walk = Walk::begin();
    let lines = walk.book.lines();
    let lines = lines.filter_map(|line| line.strip_prefix("    "));
    let is_prose = |line: &&str| line.starts_with(' ') || line.is_empty();
    // Programs and scripts between fences are indented, too.
    let (_, last) = walk.book.split_once("## 4.").unwrap();
    let steps = lines.filter(|line| !is_prose(line) && last.contains(&format!("    {line}\n")));
    let steps: Vec<_> = steps.collect();
    assert_eq!(steps.len(), 2, "{steps:?}");
    let (said, is_well) = walk.run(&steps.join("\n"));
    assert!(is_well, "{said}");
    for words in [
        "visitors so far: 100\n",
        "agreed guestbook",
        "visitors so far: 200\n",
        "outcome   completed",
    ] {
        assert!(said.contains(words), "'{words}' in {said}");
    }
    let picture = fs::read_to_string(walk.folder.path().join("update.svg")).unwrap();
    for words in ["<svg", "guestbook", "blackout", "</svg>"] {
        assert!(picture.contains(words), "'{words}' in {picture}");
    }
    let programs = ["luod", "luoctl", "luo-sim"];
    assert_builds(&walk.book, &programs, &[]);
}

/// What a chapter says is built makes the programs that it runs. That cargo does so is seen by
/// `cargo xtask test --all walkthrough`, which begins with a clone.
#[track_caller]
fn assert_builds(book: &str, programs: &[&str], examples: &[&str]) {
    let whole = book.replace("\\\n", " ");
    let mut lines = whole.lines();
    let line = lines.find_map(|line| line.trim_start().strip_prefix("cargo build "));
    let words: Vec<_> = line.unwrap().split_whitespace().collect();
    let named = |option: &str| -> Vec<&str> {
        let pairs = words.windows(2).filter(|pair| pair[0] == option);
        pairs.map(|pair| pair[1]).collect()
    };
    let (packages, wanted) = (named("--package"), named("--example"));
    assert!(words.contains(&"--bins"), "{words:?}");
    assert_eq!(wanted, examples, "{words:?}");
    let known = 1 + 2 * (packages.len() + wanted.len());
    assert_eq!(words.len(), known, "{words:?} has another option");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let output = Command::new(std::env::var("CARGO").unwrap_or("cargo".to_owned()))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .arg("--manifest-path")
        .arg(manifest)
        .output()
        .unwrap();
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = all["packages"].as_array().unwrap();
    let has = |kind: &str, name: &str| {
        packages.iter().any(|package| {
            let known = all.iter().find(|known| known["name"] == **package);
            let known = known.unwrap_or_else(|| panic!("there is no package {package}"));
            let targets = known["targets"].as_array().unwrap();
            targets
                .iter()
                .any(|target| target["kind"][0] == kind && target["name"] == name)
        })
    };
    for name in programs {
        assert!(has("bin", name), "{packages:?} have no program {name}");
    }
    for name in examples {
        assert!(has("example", name), "{packages:?} have no example {name}");
    }
}

/// What goes wrong on purpose ends, and says what was promised.
#[test]
fn what_else_the_walkthrough_tries_ends_as_it_says() {
    let walk = Walk::begin();
    let (_, rest) = walk.book.split_once("## What else to try").unwrap();
    let quoted = rest.split('`').skip(1).step_by(2);
    let tries: Vec<_> = quoted
        .filter(|words| words.starts_with("luo-sim run --fault"))
        .collect();
    let [crash, flip] = tries.as_slice() else {
        panic!("{tries:?}");
    };
    let (said, _) = walk.run("luo-sim system system");
    assert!(said.is_empty(), "{said}");
    let (said, is_well) = walk.run(crash);
    assert!(is_well, "{said}");
    let visitors: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("visitors so far: "))
        .collect();
    assert_eq!(visitors, ["100", "100", "200"], "{said}");
    fs::remove_dir_all(walk.folder.path().join("run")).unwrap();
    let (said, is_well) = walk.run(flip);
    assert!(!is_well, "{said}");
    assert!(said.contains("could not be taken over"), "{said}");
}

/// systemd's own client of Varlink (255 or newer) speaks with luod as the book says.
#[test]
#[ignore = "takes varlinkctl"]
fn varlinkctl_does_what_the_book_says() {
    let book = project("docs/agent.md");
    let lines = book.lines().filter_map(|line| line.strip_prefix("    "));
    let calls = lines.filter(|line| line.starts_with("varlinkctl "));
    let calls = calls.map(|line| line.replace("/run/luod/", "$LUOD_RUNTIME_DIRECTORY/"));
    let calls = calls.map(|line| match line.contains(".Watch") {
        true => format!("timeout 1 {line} || :"),
        false => line,
    });
    let calls: Vec<_> = calls.collect();
    assert_eq!(calls.len(), 5);
    let (machine, _) = fenced(&book, "sh").split_once("if [ ").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "{machine}\nif [ \"$boot\" = normal ]; then\n{}\nfi\n",
        calls.join("\n")
    );
    fs::write(folder.path().join("machine.sh"), script).unwrap();
    let output = Command::new("sh")
        .args(["-e", "-c"])
        .arg("luo-sim system system; luo-sim run --boots 2 -- sh machine.sh")
        .current_dir(folder.path())
        .env("PATH", programs(folder.path()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    for words in [
        "interface org.liveupdate.Status",
        "kernel_release",
        "target-abi",
        "jumping",
    ] {
        assert!(said.contains(words), "'{words}' in {said}{complained}");
    }
}

#[test]
fn the_first_update_in_the_book_runs() {
    let book = project("docs/agent.md");
    assert_builds(&book, &["luod", "luoctl", "luo-sim"], &["workload"]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("machine.sh"), fenced(&book, "sh")).unwrap();
    let path = programs(folder.path());
    let run = |arguments: &[&str]| {
        let mut command = Command::new(machine::program("luo-sim"));
        command
            .args(arguments)
            .current_dir(folder.path())
            .env("PATH", &path);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{stdout}{stderr}");
        stdout
    };
    run(&["system", "system"]);
    let output = run(&["run", "--boots", "2", "--", "sh", "machine.sh"]);
    for words in [
        "start 1\n",
        "an update can begin",
        "agreed counter",
        "start 2\n",
        "completed",
        "blackout",
        "restored counter",
    ] {
        assert!(output.contains(words), "'{words}' in {output}");
    }
}
