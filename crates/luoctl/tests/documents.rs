// SPDX-License-Identifier: MIT OR Apache-2.0
//! The published documents: man pages, schemas and completions. `LUO_UPDATE=1 cargo test -p luoctl
//! published` writes them anew; so does `cargo xtask man`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use luo_varlink::paths;
use luoctl::exit::Exit;
use luoctl::{cli, document, man};

/// The definition of another command, as its own program has it.
#[path = "../../luo-sim/src/cli.rs"]
mod sim_cli;

/// And of the fleet's server.
#[path = "../../luo-fleet/src/cli.rs"]
#[expect(unreachable_pub, reason = "there it is a part of a library")]
mod fleet_cli;

fn in_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// A folder has these files and no others.
#[track_caller]
fn published(folder: &Path, files: &BTreeMap<String, String>) {
    if std::env::var_os("LUO_UPDATE").is_some() {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    let there = fs::read_dir(folder).map(|all| {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        all.map(|entry| name(entry).into_string().unwrap())
            .collect::<Vec<_>>()
    });
    let mut there = there.unwrap_or_default();
    there.sort();
    let wanted: Vec<_> = files.keys().cloned().collect();
    assert_eq!(there, wanted, "run `cargo xtask man`");
    for (name, text) in files {
        let found = fs::read_to_string(folder.join(name)).unwrap();
        assert!(
            found == *text,
            "{name} is out of step: run `cargo xtask man`"
        );
    }
}

/// The keys of a configuration file, also those that stand in it as comments.
fn keys(file: &str) -> Vec<String> {
    let line = |line: &str| {
        let key = line.trim_start_matches('#').split_once(" = ")?.0;
        let is_key = key
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter == '_');
        is_key.then(|| key.to_owned())
    };
    file.lines().filter_map(line).collect()
}

#[test]
fn published_man_pages_are_in_step() {
    let all = [
        (cli::Cli::definition(), man::USER),
        (luod::command::definition(), man::SYSTEM),
        (sim_cli::Cli::command(), man::USER),
        (fleet_cli::Cli::command(), man::SYSTEM),
        (luo_qemu::command::Cli::command(), man::USER),
    ];
    let pages = all
        .into_iter()
        .flat_map(|(command, section)| man::pages(command, section).unwrap());
    let pages: BTreeMap<_, _> = pages.chain(man::file_pages()).collect();
    for name in [
        "luoctl.1",
        "luoctl-update.1",
        "luod.8",
        "luod-supervise.8",
        "luo-sim.1",
        "luo-qemu.1",
        "luo-qemu-start.1",
        "luod.toml.5",
        "luod-policy.5",
    ] {
        assert!(pages.contains_key(name), "{name} in {:?}", pages.keys());
    }
    assert!(pages["luoctl.1"].contains("the agent cannot be reached"));
    // Each page that another one names is there.
    for (page, text) in &pages {
        let also = text.split(".SH \"SEE ALSO\"\n").nth(1).unwrap_or_default();
        for name in also.split(", ").filter(|name| !name.trim().is_empty()) {
            let name = name.trim().replace("\\fI", "").replace("\\fR", "");
            let name = name.replace("\\-", "-").replace('(', ".").replace(')', "");
            assert!(pages.contains_key(&name), "{page} names {name}");
        }
    }
    for (page, text) in &pages {
        for part in [".SH EXAMPLES", ".SH \"SEE ALSO\""] {
            assert!(text.contains(part), "{page} has no {part}");
        }
        let is_about_files = page.ends_with(".5") || text.contains("\\-\\-config");
        assert!(
            !is_about_files || text.contains(".SH FILES"),
            "{page} has no FILES"
        );
    }
    // A line in short has the values of options, and dots where more may come.
    for (page, words) in [
        ("luoctl-update.1", "[\\fB\\-\\-kernel\\fR \\fIIMAGE\\fR]"),
        ("luoctl-update.1", "[\\fB\\-\\-initrd\\fR \\fIFILE\\fR]..."),
        (
            "luoctl-hold.1",
            " \\fINAME\\fR \\fB\\-\\-\\fR \\fICOMMAND\\fR...",
        ),
        ("luo-sim-run.1", "[\\fB\\-\\-\\fR \\fIPROGRAM\\fR...]"),
        ("luoctl.1", ".SH ENVIRONMENT\n.TP\n\\fBNO_COLOR\\fR"),
        ("luoctl.1", "\\fBLUOD_RUNTIME_DIRECTORY\\fR"),
        ("luo-fleet.8", "\\fBLUO_FLEET_CONFIG\\fR"),
    ] {
        assert!(pages[page].contains(words), "{words} in {}", pages[page]);
    }
    for (page, text) in &pages {
        let name = text.split(".SH NAME\n").nth(1).unwrap();
        let name = name.lines().next().unwrap();
        assert!(name.len() < 140, "{page}: {name}");
    }
    // What a script asks for first.
    for (page, text) in &pages {
        let is_command = !page.ends_with(".5");
        assert_eq!(text.contains(".SH \"EXIT STATUS\""), is_command, "{page}");
        assert!(!text.contains(".SH EXTRA"), "{page}");
        let program = page.split(['-', '.']).next().unwrap();
        let program = match program {
            "luo" if page.starts_with("luo-fleet") => "luo-fleet",
            "luo" if page.starts_with("luo-qemu") => "luo-qemu",
            "luo" => "luo-sim",
            program => program,
        };
        let version = concat!(" ", env!("CARGO_PKG_VERSION"), "\"");
        let head = text.lines().find(|line| line.starts_with(".TH")).unwrap();
        let foot = format!("\"{program}{version}");
        assert!(head.contains(&foot), "{page}: {head} has no {foot}");
    }
    for (page, codes) in [
        ("luoctl.1", Vec::from(Exit::ALL.map(Exit::code))),
        ("luod.8", vec![0, 1, 71, 78]),
        ("luo-qemu.1", Vec::from(luo_qemu::exit::ALL)),
    ] {
        for code in codes {
            let entry = format!(".TP\n\\fB{code}\\fR\n");
            assert!(pages[page].contains(&entry), "{page} has no {code}");
        }
    }
    // Each says more of itself than its name does.
    for page in [
        "luoctl.1",
        "luod.8",
        "luod-supervise.8",
        "luo-sim.1",
        "luo-qemu.1",
    ] {
        let words = pages[page].split(".SH DESCRIPTION\n").nth(1).unwrap();
        let words = words.split("\n.SH").next().unwrap();
        assert!(words.lines().count() > 1, "{page}: {words}");
    }
    for file in ["/run/luod/state", "/sys/kernel/liveupdate/memfd"] {
        for page in ["luod.8", "luoctl.1"] {
            assert!(
                pages[page].contains(&format!("\\fB{file}\\fR")),
                "{page}: {file}"
            );
        }
    }
    // An entry, and a unified kernel image, have a command line of their own.
    for page in [
        "luod.toml.5",
        "luoctl-update.1",
        "luoctl-check.1",
        "luoctl-prepare.1",
    ] {
        assert!(pages[page].contains("unified kernel image, or"), "{page}");
    }
    let all = [paths::CLIENT, paths::ADMIN, paths::STATUS, paths::METRICS].join(", ");
    for page in ["luod.8", "luoctl.1"] {
        let sockets = format!("\\fB{}/{all}\\fR", paths::RUNTIME);
        assert!(pages[page].contains(&sockets), "{page} has no {sockets}");
    }
    for (page, file) in [
        ("luod.toml.5", "luod/luod.toml"),
        ("luod-policy.5", "luod/policy.toml"),
        ("luo-fleet.toml.5", "luo-fleet/luo-fleet.toml"),
        ("luo-fleet-policy.5", "luo-fleet/policy.toml"),
    ] {
        let file = fs::read_to_string(in_project("dist").join(file)).unwrap();
        for key in keys(&file) {
            assert!(
                pages[page].contains(&key.replace('-', "\\-")),
                "{page} has no {key}"
            );
        }
    }
    published(&in_project("docs/man"), &pages);
}

/// Each command says more of itself than its line in the list, and all of it reaches who asks:
/// `--help` and the man page.
#[test]
fn what_a_command_says_of_itself_reaches_its_reader() {
    let mut definition = cli::Cli::definition().disable_help_subcommand(true);
    definition.build();
    let pages: BTreeMap<_, _> = man::pages(cli::Cli::definition(), man::USER)
        .unwrap()
        .into_iter()
        .collect();
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for command in definition.get_subcommands_mut() {
        let name = command.get_name().to_owned();
        let short = command.get_about().unwrap().to_string();
        assert!(short.len() < 88, "{name}: {short}");
        let long = command.get_long_about().map(ToString::to_string);
        let long = long.unwrap_or_else(|| panic!("{name} says one line of itself"));
        let paragraph = one_line(long.rsplit("\n\n").next().unwrap());
        let last = paragraph.rsplit(". ").next().unwrap();
        let help = one_line(&command.render_long_help().to_string());
        assert!(help.contains(last), "{name} --help: {last}");
        let page = one_line(&pages[&format!("luoctl-{name}.1")]).replace('\\', "");
        assert!(page.contains(last), "luoctl-{name}.1: {last}");
    }
}

/// The kernel is loaded at freeze: whatever is said of it does not say it of prepare.
#[test]
fn prepare_loads_no_kernel() {
    for path in [
        "crates/luo-varlink/interfaces/org.liveupdate.Admin.varlink",
        "docs/man/luoctl.1",
        "dist/completions/_luoctl",
    ] {
        let text = fs::read_to_string(in_project(path)).unwrap();
        assert!(!text.contains("Checks, loads the kernel"), "{path}");
        assert!(
            text.contains("oads the kernel, and asks all workloads to stand still"),
            "{path}"
        );
    }
    // A timeline that is shown has the steps in the order of the plan.
    let text = fs::read_to_string(in_project("docs/agent.md")).unwrap();
    let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what}"));
    let steps = [
        "the kernel can be loaded (",
        "the kernel is prepared (",
        "s  prepared\n",
        "the kernel is loaded (",
        "the kernel is frozen (",
        "s  jumping\n",
    ]
    .map(place);
    assert!(steps.is_sorted(), "{steps:?}");
}

#[test]
fn published_completions_are_in_step() {
    use clap_complete::Shell;
    let all = [
        ("luoctl.bash", Shell::Bash),
        ("_luoctl", Shell::Zsh),
        ("luoctl.fish", Shell::Fish),
    ];
    let script = |(name, shell): (&str, Shell)| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut cli::Cli::definition(), "luoctl", &mut script);
        (name.to_owned(), String::from_utf8(script).unwrap())
    };
    let scripts = all.into_iter().map(script).collect();
    published(&in_project("dist/completions"), &scripts);
}

#[test]
fn published_schemas_are_in_step() {
    let schema = |(name, schema): (&str, schemars::Schema)| {
        let text = serde_json::to_string_pretty(&schema).unwrap();
        (format!("{name}.json"), text + "\n")
    };
    let schemas = document::schemas().into_iter().map(schema).collect();
    published(&in_project("crates/luoctl/schema"), &schemas);
}
