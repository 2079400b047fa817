// SPDX-License-Identifier: MIT OR Apache-2.0
//! Command lines in the documents.
//!
//! One in a block of code must parse as it stands, with what a reader has to fill in
//! filled in. One in the middle of a sentence may leave out what it takes: "`luo-sim run`
//! gives any program …" names a command, and that command must be there.
//!
//! The scripts between fences are run as they are, see `snippets`.

use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};
use luo_lab::build::variant;
use luo_lab::run::scenarios;

use super::{Document, documents, files, is_code, read, root};
use crate::{Cli, Command, kernel, vm};

/// The definition of another command, as its own program has it.
#[path = "../../../crates/luo-sim/src/cli.rs"]
mod sim_cli;

/// Where a command line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a block of code.
    Block,
    /// In a sentence.
    Sentence,
}

/// The programs whose lines are looked at.
const PROGRAMS: [&str; 8] = [
    "cargo",
    "luo-ch",
    "luo-fleet",
    "luo-qemu",
    "luo-sim",
    "luo-vmm",
    "luoctl",
    "luod",
];

/// A text without the settings of the environment that it begins with.
fn without_settings(text: &str) -> &str {
    let mut rest = text;
    while let Some((word, after)) = rest.split_once(' ') {
        if !(word.starts_with(char::is_uppercase) && word.contains('=')) {
            break;
        }
        rest = after;
    }
    rest
}

fn is_command(text: &str) -> bool {
    let word = without_settings(text).split(' ').next();
    word.is_some_and(|word| PROGRAMS.contains(&word))
}

/// Lines that are code by their indentation, those that go on in the next one joined.
fn code_lines(document: &Document) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (at, line) in document.lines() {
        let (text, unfinished) = match line.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (line, false),
        };
        match lines.last_mut() {
            Some((_, begun)) if goes_on => begun.push_str(text.trim_start()),
            _ if is_code(line) => lines.push((at, text.trim_start().to_owned())),
            _ => continue,
        }
        goes_on = unfinished;
    }
    lines
}

/// The command lines of a document.
fn commands(document: &Document) -> Vec<(usize, Place, String)> {
    let mut commands = Vec::new();
    for (at, line) in code_lines(document) {
        let prompt = ["# ", "==> "]
            .iter()
            .find_map(|mark| line.strip_prefix(mark));
        // What stands beside a command, after two spaces, is another one or says what it
        // does.
        for (nth, cell) in prompt.unwrap_or(&line).split("  ").enumerate() {
            let cell = cell.trim();
            if is_command(cell) && (nth == 0 || cell.starts_with("cargo ")) {
                commands.push((at, Place::Block, cell.to_owned()));
            }
        }
    }
    let spans = document.spans().into_iter();
    let spans = spans.filter(|(_, text)| is_command(text));
    commands.extend(spans.map(|(at, text)| (at, Place::Sentence, text)));
    commands
}

/// The words that a shell would make of a line, up to what ends or redirects the command.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in without_settings(line).chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(String::new()),
            (None | Some(_), c) => words.last_mut().unwrap().push(c),
        }
    }
    let ends = |word: &String| matches!(word.as_str(), "#" | ">" | "|" | "&" | "&&" | ";" | "<---");
    let end = words.iter().position(ends).unwrap_or(words.len());
    words.truncate(end);
    words.retain(|word| !word.is_empty());
    words
}

/// A command line with all that a reader can fill in: `[a|b]` is a choice and may be left
/// out, what stands in angles or in capitals stands for something.
fn filled_in(words: &[String]) -> Vec<Vec<String>> {
    let mut lines = vec![Vec::new()];
    for word in words {
        let choices: Vec<Option<&str>> = match word.as_str() {
            "..." | "…" => vec![None],
            "<scenario>" => vec![Some("chain")],
            word => match word
                .strip_prefix('[')
                .and_then(|word| word.strip_suffix(']'))
            {
                Some(choice) => {
                    let named = choice.split('|').filter(|name| *name != "…").map(Some);
                    named.chain([None]).collect()
                }
                None => vec![Some(word)],
            },
        };
        let stands_for = |choice: &str| match choice {
            "TARGET" => "call_traces".to_owned(),
            "N" => "1".to_owned(),
            other => other.to_owned(),
        };
        let with = |line: &Vec<String>| {
            let more = choices.iter().map(|choice| choice.map(stands_for));
            more.map(|more| line.iter().cloned().chain(more).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        lines = lines.iter().flat_map(with).collect();
    }
    lines
}

/// Parses the arguments of a program of ours.
fn parse(
    definition: clap::Command,
    words: &[String],
    place: Place,
) -> Result<Option<clap::ArgMatches>, String> {
    match definition.try_get_matches_from(words) {
        Ok(matches) => Ok(Some(matches)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(None),
            ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                if place == Place::Sentence =>
            {
                Ok(None)
            }
            _ => Err(error.to_string()),
        },
    }
}

/// What the definition takes for any text: names of scenarios and kernels.
fn names(cli: &Cli) -> Result<(), String> {
    let known = match &cli.command {
        Command::Vm(vm::Command::Run { scenario, .. }) => {
            scenarios::find(scenario, scenarios::KEXECS).map(|_| ())
        }
        Command::Kernel(kernel::Command::Build { variants }) => variants
            .iter()
            .try_for_each(|name| variant::Variant::find(name).map(|_| ())),
        _ => Ok(()),
    };
    known.map_err(|error| format!("{error:#}"))
}

/// The folder of a package of the workspace, or of the one that lies at a path.
fn package(named: &str) -> Result<String, String> {
    let manifests = files("", &["toml"]);
    let mut manifests = manifests
        .into_iter()
        .filter_map(|path| Some(path.strip_suffix("/Cargo.toml")?.to_owned()));
    let name = format!("\nname = \"{named}\"\n");
    let is =
        |folder: &String| folder == named || read(&format!("{folder}/Cargo.toml")).contains(&name);
    let found = manifests.find(is);
    found.ok_or_else(|| format!("there is no package {named}"))
}

/// Whether packages and targets that cargo is given are there.
fn cargo(words: &[String]) -> Result<(), String> {
    let values = |flags: [&str; 3]| -> Vec<String> {
        let pairs = words.windows(2);
        let named = pairs.filter(|pair| flags.contains(&pair[0].as_str()));
        named.map(|pair| pair[1].clone()).collect()
    };
    let packages = values(["-p", "--package", "--path"]);
    let packages = packages.iter().map(|name| package(name));
    let packages: Vec<_> = packages.collect::<Result<_, _>>()?;
    for target in values(["--test", "--example", "--bin"]) {
        let name = format!("\nname = \"{target}\"\n");
        let is_in = |folder: &String| {
            let file = |of: &str| root().join(folder).join(of).join(&target);
            let file = |of: &str| Path::new(&file(of)).with_extension("rs").exists();
            read(&format!("{folder}/Cargo.toml")).contains(&name)
                || file("tests")
                || file("examples")
        };
        if !packages.iter().any(is_in) {
            return Err(format!("{packages:?} has no target {target}"));
        }
    }
    Ok(())
}

/// The program that `cargo run --package` starts, with its arguments; nothing if it is given none.
fn run_by_cargo(words: &[String]) -> Option<Vec<String>> {
    let run = words.get(1).filter(|word| *word == "run");
    let end = run.and_then(|_| words.iter().position(|word| word == "--"))?;
    let (before, after) = words.split_at(end);
    let package = before.iter().position(|word| word == "--package")?;
    let name = before.get(package + 1)?;
    let arguments = after.iter().skip(1);
    Some([name].into_iter().chain(arguments).cloned().collect())
}

/// Says what is wrong with the words of a command line.
fn check_words(words: &[String], place: Place) -> Result<(), String> {
    let definition = match (words[0].as_str(), words.get(1).map(String::as_str)) {
        ("cargo", Some("xtask")) => {
            let definition = Cli::command().no_binary_name(true);
            if let Some(mut matches) = parse(definition, &words[2..], place)? {
                let cli = Cli::from_arg_matches_mut(&mut matches);
                names(&cli.map_err(|error| error.to_string())?)?;
            }
            return Ok(());
        }
        ("cargo", _) => {
            cargo(words)?;
            let run = run_by_cargo(words);
            return run.map_or(Ok(()), |words| check_words(&words, place));
        }
        ("luoctl", _) => luoctl::cli::Cli::definition(),
        ("luod", _) => luod::command::definition(),
        ("luo-fleet", _) => luo_fleet::cli::Cli::command(),
        ("luo-qemu", _) => luo_qemu::command::Cli::command(),
        ("luo-ch", _) => luo_ch::command::Cli::command(),
        ("luo-vmm", _) => luo_vmm::command::Cli::command(),
        ("luo-sim", _) => sim_cli::Cli::command(),
        (program, _) => return Err(format!("nobody knows the command line of {program}")),
    };
    parse(definition, words, place).map(drop)
}

/// Says what is wrong with a command line.
fn check(line: &str, place: Place) -> Result<(), String> {
    let lines = filled_in(&words(line));
    lines.iter().try_for_each(|words| check_words(words, place))
}

#[test]
fn each_command_line_in_the_documents_parses() {
    let (mut blocks, mut sentences) = (0, 0);
    let mut wrong = Vec::new();
    for document in documents() {
        for (at, place, line) in commands(&document) {
            match place {
                Place::Block => blocks += 1,
                Place::Sentence => sentences += 1,
            }
            if let Err(why) = check(&line, place) {
                wrong.push(format!("{}:{at}: {line}: {why}", document.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        blocks >= 30 && sentences >= 50,
        "{blocks} and {sentences} are found"
    );
}

#[test]
fn command_lines_are_found_and_judged() {
    let document = Document {
        path: "x.md".into(),
        text: "`luoctl\nstatus` and `x`\n\n    cargo xtask vm list    cargo xtask bench\n    \
               luod \\\n        supervise   starts it\n    # luoctl plan\n    at once\n"
            .into(),
    };
    let found = commands(&document);
    let found: Vec<_> = found.iter().map(|(_, _, line)| line.as_str()).collect();
    let expected = [
        "cargo xtask vm list",
        "cargo xtask bench",
        "luod supervise",
        "luoctl plan",
        "luoctl status",
    ];
    assert_eq!(found, expected);

    let good = |line: &str| check(line, Place::Block).is_ok();
    assert!(good("cargo xtask vm run <scenario> --show-console"));
    assert!(good("cargo xtask kernel build [c|rust|…]"));
    assert!(!good("cargo xtask kernel build [c|rust|rustier]"));
    assert!(!good("cargo xtask vm run no-such-scenario"));
    assert!(!good("cargo xtask no-such-command"));
    assert!(!good("cargo xtask fuzz NO_TARGET"));
    assert!(good("X=y cargo test -p luo-core --test engine crash_model"));
    assert!(!good("cargo test -p luo-core --test no-such-target"));
    assert!(!good("cargo doc --package luo-no-such-package"));
    assert!(good("cargo run --package luo-fleet -- dev --lose"));
    assert!(!good("cargo run --package luo-fleet -- rave"));
    assert!(!good("luo-fleet stop"));
    assert!(good(
        "luo-sim run --boot 'a start && b' --boot c > /dev/null"
    ));
    assert!(!good("luoctl update --no-such-option"));
    assert!(!good("luoctl release") && check("luoctl release", Place::Sentence).is_ok());
}
