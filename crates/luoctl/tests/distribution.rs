// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files that are installed beside the programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use luo_varlink::{Identity, Target};
use luod::decide::config::{Config, Unclaimed};
use luod::decide::policy::{Limits, Policy};
use luod::journal::metrics::Metrics;
use serde_json::Value;

fn dist(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist");
    fs::read_to_string(folder.join(path)).unwrap()
}

/// A file with all that is commented out in it put in, but for its prose.
fn uncommented(text: &str) -> String {
    let is_setting =
        |line: &str| !line.starts_with(' ') && (line.contains(" = ") || line.starts_with('['));
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if is_setting(rest) => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_configuration_reads_and_its_comments_are_the_defaults() {
    let text = dist("luod/luod.toml");
    let config = Config::parse(&text).unwrap();
    // What the boot loader would start.
    assert_eq!(config.complete(&Target::default()), Target::default());
    let all = Config::parse(&uncommented(&text)).unwrap();
    let target = all.complete(&Target::default());
    assert_eq!(target.image.as_deref(), Some("/boot/vmlinuz"));
    let default = Config::default();
    assert_eq!(all.prepare_deadline, default.prepare_deadline);
    assert_eq!(all.freeze_deadline, default.freeze_deadline);
    assert_eq!(all.restore_deadline, default.restore_deadline);
    assert_eq!((all.unclaimed, all.jump), (Unclaimed::Finish, default.jump));
    assert_eq!(all.state_directory, default.state_directory);
    assert_eq!(all.checks.root, default.checks.root);
    assert_eq!(all.checks.ignore, default.checks.ignore);
    assert_eq!(all.workload.len(), 1);
    let fleet = all.fleet.unwrap();
    assert_eq!(
        (fleet.group.as_str(), fleet.timeout.0.as_secs()),
        ("default", 20)
    );
    assert_eq!(fleet.health_timeout.0.as_secs(), 60);
    assert_eq!(fleet.health_interval.0.as_secs(), 10);
}

#[test]
fn the_policy_reads_and_is_the_default() {
    let text = dist("luod/policy.toml");
    assert_eq!(Policy::parse(&text).unwrap(), Policy::default());
    let all = Policy::parse(&uncommented(&text)).unwrap();
    assert_eq!(all.limits, Limits::default());
    let vmm = Identity {
        uid: 107,
        gid: 107,
        unit: Some("vmm@7.service".into()),
    };
    assert_eq!(all.may_own(&vmm, "vm-7"), Ok(()));
    assert_eq!(all.limits(&vmm).sessions, 64);
}

/// All values of a setting of a unit.
fn values(text: &str, key: &str) -> Vec<String> {
    let values = text
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

/// The same of luod's.
fn units(key: &str) -> Vec<String> {
    values(&dist("systemd/luod.service"), key)
}

/// The value of a setting of the unit; each that matters is there once.
#[track_caller]
fn unit(key: &str) -> String {
    let mut values = units(key);
    assert_eq!(values.len(), 1, "{key}");
    values.remove(0)
}

#[test]
fn the_unit_keeps_what_the_agent_relies_on() {
    assert_eq!(unit("Type"), "notify");
    assert!(!unit("WatchdogSec").is_empty());
    assert_eq!(unit("FileDescriptorStorePreserve"), "yes");
    assert_eq!(unit("RuntimeDirectoryPreserve"), "yes");
    assert_eq!(unit("RuntimeDirectory"), "luod");
    assert_eq!(luo_varlink::paths::RUNTIME, "/run/luod");
    assert_eq!(unit("DefaultDependencies"), "no");
    assert_eq!(unit("SurviveFinalKillSignal"), "yes");
    assert!(unit("SystemCallFilter").contains("@reboot"));
    // In none of systemd's sets: it tells what is swapped out of a memfd.
    assert!(unit("SystemCallFilter").contains(" cachestat"));
    for capability in ["CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_CHOWN"] {
        assert!(unit("CapabilityBoundingSet").contains(capability));
    }
    let state = Config::default().state_directory.display().to_string();
    let kernel = "/sys/kernel/liveupdate";
    assert_eq!(
        units("ReadWritePaths"),
        [format!("-{state}"), format!("-{kernel}")]
    );
    assert!(dist("tmpfiles.d/luod.conf").contains(&format!("d {state} 0700 root root")));
    assert!(dist("sysusers.d/luod.conf").contains("g luo"));
}

/// What grows files is not ended by a limit of their length that somebody has set for all units.
#[test]
fn units_of_what_grows_files_have_no_limit_of_their_length() {
    for unit in ["luod.service", "luo-fleet.service", "luo-qemu@.service"] {
        let text = dist(&format!("systemd/{unit}"));
        assert_eq!(values(&text, "LimitFSIZE"), ["infinity"], "{unit}");
    }
}

/// A systemd before 254 passes over RestartSteps=, so the pause stays as RestartSec= says it.
#[test]
fn what_is_started_again_for_ever_is_so_once_a_second_at_most() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/systemd");
    let mut count = 0;
    for unit in fs::read_dir(folder).unwrap() {
        let path = unit.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        // Others are given up after five times in ten seconds.
        if values(&text, "StartLimitIntervalSec") != ["0"] {
            continue;
        }
        count += 1;
        let pause = values(&text, "RestartSec");
        let seconds = pause.first().and_then(|pause| pause.strip_suffix('s'));
        let seconds: Option<u32> = seconds.and_then(|seconds| seconds.parse().ok());
        assert!(seconds >= Some(1), "{}: {pause:?}", path.display());
    }
    assert!(count > 0, "no unit is started again for ever");
}

/// Packages have what is there.
#[test]
fn packages_name_files_that_are_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for package in [
        "luod",
        "luoctl",
        "luo-fleet",
        "luo-client-c",
        "../vmms/luo-qemu",
    ] {
        let text = fs::read_to_string(folder.join(package).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let deb = &manifest["package"]["metadata"]["deb"];
        let variants = deb.get("variants").and_then(|all| all.as_table());
        let variants = variants.into_iter().flat_map(|all| all.values());
        let all = std::iter::once(deb).chain(variants);
        let assets = all.flat_map(|deb| deb["assets"].as_array().unwrap());
        let assets: Vec<_> = assets.collect();
        assert!(assets.len() > 3, "{package}");
        let licence = deb["license-file"][0].as_str().unwrap();
        let licence = fs::read_to_string(folder.join(package).join(licence)).unwrap();
        assert!(
            licence.starts_with("Format: https://www.debian.org/"),
            "{package}"
        );
        let changelogs = assets.iter().filter(|asset| {
            let place = asset[1].as_str().unwrap();
            place.starts_with("usr/share/doc/") && place.ends_with("/changelog")
        });
        let packages = 1 + deb
            .get("variants")
            .map_or(0, |all| all.as_table().unwrap().len());
        assert_eq!(changelogs.count(), packages, "{package}");
        for asset in assets {
            let source = asset[0].as_str().unwrap();
            let is_built = source.starts_with("target/") || source.starts_with("../../target/");
            if is_built || source.contains('*') {
                continue;
            }
            let path = folder.join(package).join(source);
            assert!(path.exists(), "{package}: {source}");
        }
    }
}

/// Names of metrics in a text: `luod_` and what follows, without what a histogram or the
/// exposition adds.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = text.split(|letter: char| !is_part(letter));
    let names = words.filter(|word| word.starts_with("luod_"));
    let base = |name: &str| {
        let suffixes = ["_bucket", "_sum", "_count", "_total", "_info"];
        let end = suffixes.iter().find_map(|end| name.strip_suffix(end));
        end.unwrap_or(name).to_owned()
    };
    names.map(base).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let metrics = Metrics::default();
    metrics.count([].into_iter(), [].into_iter());
    // A family is there once it has a member.
    metrics.over(&crate::pictures::completed());
    let there = metrics.text();
    let help = there
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "));
    let there: BTreeSet<_> = help
        .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
        .collect();
    let board = dist("grafana/luod.json");
    let _: Value = serde_json::from_str(&board).unwrap();
    for (file, text) in [
        ("dashboard", board),
        ("alerts", dist("prometheus/luod.rules.yml")),
        ("tests of alerts", dist("prometheus/luod.rules.test.yml")),
    ] {
        let asked = metrics_in(&text);
        assert!(asked.len() > 2, "{file}: {asked:?}");
        let missing: Vec<_> = asked.difference(&there).collect();
        assert!(
            missing.is_empty(),
            "{file} asks for {missing:?} of {there:?}"
        );
    }
    let pages =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/agent.md"));
    let told = metrics_in(&pages.unwrap());
    let untold: Vec<_> = there.difference(&told).collect();
    assert!(
        untold.is_empty(),
        "docs/agent.md does not tell of {untold:?}"
    );
}

/// Debian's package `promtool` (before Debian 13 `prometheus`).
#[test]
#[ignore = "takes promtool"]
fn promtool_agrees_with_the_alerts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/prometheus");
    for arguments in [
        ["check", "rules", "luod.rules.yml"],
        ["test", "rules", "luod.rules.test.yml"],
        ["check", "rules", "luo-fleet.rules.yml"],
        ["test", "rules", "luo-fleet.rules.test.yml"],
    ] {
        let mut promtool = std::process::Command::new("promtool");
        let ended = promtool.args(arguments).current_dir(&folder).output();
        let ended = ended.expect("promtool is not installed");
        assert!(ended.status.success(), "{ended:?}");
    }
}

/// What is said of a crate where crates are looked for.
#[test]
fn each_crate_says_what_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut crates = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path().join("Cargo.toml");
        if path.ends_with("luo-testhost/Cargo.toml") {
            // It is for the tests of this project alone.
            continue;
        }
        let manifest: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        for key in [
            "description",
            "license",
            "readme",
            "keywords",
            "categories",
            "rust-version",
            "version",
        ] {
            let is_said = manifest["package"].get(key).is_some();
            assert!(is_said, "{}: {key}", path.display());
        }
        // There is no public address yet, and the README says so as long as that is so.
        assert_eq!(
            manifest["package"].get("repository").is_none(),
            has_no_address(),
            "{}",
            path.display()
        );
        crates += 1;
    }
    assert!(crates > 10, "only {crates}");
}

/// Whether the README says that the project has no address.
fn has_no_address() -> bool {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let words: Vec<_> = readme.split_whitespace().collect();
    words
        .join(" ")
        .contains("No crate names a `repository`: there is no public address yet.")
}

/// What takes the newest compiler is said in the first lines that a reader sees.
#[test]
fn the_readme_says_which_rust_builds_all() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let newest = [
        "xtask",
        "lab",
        "crates/luod",
        "crates/luo-sim",
        "conformance",
    ]
    .map(|of| {
        let text = fs::read_to_string(root.join(of).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let version = manifest["package"]["rust-version"]
            .as_str()
            .map(str::to_owned);
        let minor = version.and_then(|all| all.strip_prefix("1.")?.parse::<u32>().ok());
        // What is inherited is the least of all.
        minor.unwrap_or(0)
    });
    let simulator = newest[3];
    let newest = newest.into_iter().max().unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let first: String = readme.lines().take(12).collect::<Vec<_>>().join(" ");
    assert!(first.contains(&format!("Rust 1.{newest}")), "{first}");
    let others = format!("1.{simulator} for the agent, the client library and the simulator");
    assert!(first.contains(&others), "{first}");
}

/// All packages of this project, as cargo tells of them.
fn packages() -> Vec<Value> {
    let metadata = std::process::Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{metadata:?}");
    let mut metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].take();
    packages.as_array().unwrap().clone()
}

/// The minor version of Rust that a package says it takes.
fn minor(package: &Value) -> u32 {
    let version = package["rust_version"].as_str().unwrap();
    let mut parts = version.split('.').skip(1);
    parts.next().unwrap().parse().unwrap()
}

/// Whether a text of Rust has a chain of conditions with `let` among them.
fn has_let_chain(text: &str) -> bool {
    let code: Vec<_> = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default().trim())
        .collect();
    let follows = |(line, next): (&&str, &&str)| {
        (line.contains("if let ") || line.contains("while let ")) && next.starts_with("&& ")
    };
    code.iter().any(|line| line.contains("&& let "))
        || code.iter().zip(code.iter().skip(1)).any(follows)
}

#[test]
fn chains_of_let_are_found() {
    for text in [
        "if a && let Some(b) = c {",
        "if let Some(b) = c\n    && d\n{",
    ] {
        assert!(has_let_chain(text), "{text}");
    }
    for text in ["// if a && let b", "if let Some(b) = c {\n}", "a\n    && b"] {
        assert!(!has_let_chain(text), "{text}");
    }
}

/// What a crate says that it takes is what it does take: chains of `let` came with 1.88, and a
/// crate takes what those take that it is built from.
#[test]
fn each_crate_says_which_rust_it_takes() {
    let packages = packages();
    let of = |name: &str| packages.iter().find(|package| package["name"] == name);
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let says = minor(package);
        for dependency in package["dependencies"].as_array().unwrap() {
            let is_built_from = dependency["kind"] != "dev";
            let Some(ours) = of(dependency["name"].as_str().unwrap()) else {
                continue;
            };
            assert!(
                !is_built_from || says >= minor(ours),
                "{name} says 1.{says}, and {} takes 1.{}",
                ours["name"],
                minor(ours)
            );
        }
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        for file in sources(&manifest.with_file_name("src")) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(
                says >= 88 || !has_let_chain(&text),
                "{name} says 1.{says}, and {} has a chain of `let`",
                file.display()
            );
        }
    }
    assert!(packages.len() > 15, "only {}", packages.len());
}

/// All Rust below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all
}

/// What starts an update is one service; each of the others starts that.
#[test]
fn the_examples_of_what_starts_an_update_start_one_that_is_a_command() {
    let service = dist("examples/luod-update.service");
    let mut lines = service.lines();
    let command = lines.find_map(|line| line.strip_prefix("ExecStart=/usr/bin/"));
    let words = command.unwrap().split(' ');
    let matches = luoctl::cli::Cli::definition().try_get_matches_from(words);
    let matches = matches.unwrap();
    let (name, of_it) = matches.subcommand().unwrap();
    assert_eq!((name, of_it.get_flag("fleet")), ("update", true));
    // A jump is no end of the service by which it is killed, and a slot is waited for.
    for setting in [
        "Type=oneshot",
        "TimeoutStartSec=infinity",
        // What has failed, because no server answered say, is tried again: not at once, as a path that
        // is still there would have it until systemd gives both up, and not tomorrow, as the timer
        // would.
        "Restart=on-failure",
        "RestartSec=5min",
    ] {
        assert!(service.lines().any(|line| line == setting), "{setting}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/examples");
    let mut starters = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "luod-update.service" {
            continue;
        }
        let text = dist(&format!("examples/{name}"));
        let named = text.lines().find_map(|line| line.strip_prefix("Unit="));
        let unit = named.map_or_else(
            || format!("{}.service", name.rsplit_once('.').unwrap().0),
            str::to_owned,
        );
        assert_eq!(unit, "luod-update.service", "{name}");
        assert!(text.contains("\n[Install]\nWantedBy="), "{name}");
        starters += 1;
    }
    assert_eq!(starters, 3, "a timer, a required reboot, a new boot entry");
}

/// What `cargo install` would install of this project: no program of a test.
#[test]
fn only_what_is_meant_to_be_installed_is() {
    let mut programs = BTreeSet::new();
    for package in packages() {
        let manifest = package["manifest_path"].as_str().unwrap();
        if !manifest.contains("/crates/") {
            continue;
        }
        for target in package["targets"].as_array().unwrap() {
            if target["kind"][0] == "bin" {
                programs.insert(target["name"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(
        Vec::from_iter(programs),
        ["luo-fleet", "luo-sim", "luoctl", "luod"]
    );
}

/// Versions that stand where cargo does not put them.
#[test]
fn what_has_a_version_of_its_own_has_that_of_the_workspace() {
    let version = env!("CARGO_PKG_VERSION");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let python = read("python/pyproject.toml");
    assert!(
        python.contains(&format!("\nversion = \"{version}\"\n")),
        "{python}"
    );
    // The headers are those of the library beside them.
    let (minor, patch) = version.rsplit_once('.').unwrap();
    let next = patch.parse::<u32>().unwrap() + 1;
    let depends = format!(
        "\ndepends = \"libluo-client0 (>= {version}), libluo-client0 (<< {minor}.{next}~)\"\n"
    );
    let library = read("crates/luo-client-c/Cargo.toml");
    assert!(library.contains(&depends), "{library}");
}
