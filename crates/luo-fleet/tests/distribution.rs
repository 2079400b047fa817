// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is installed beside the program can be used.

use std::collections::BTreeSet;

use luo_fleet::config::Config;
use luo_fleet::policy::parse::parse;
use luo_fleet::server::metrics::Metrics;

fn dist(path: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/");
    std::fs::read_to_string(format!("{folder}{path}")).unwrap()
}

#[test]
fn the_example_of_a_policy_can_be_used() {
    let policy = parse(&dist("luo-fleet/policy.toml")).unwrap();
    assert_eq!(policy.groups.len(), 3);
    assert_eq!((policy.windows.len(), policy.freezes.len()), (2, 1));
}

#[test]
fn the_configuration_asks_who_may_speak_and_its_comments_are_the_defaults() {
    let text = dist("luo-fleet/luo-fleet.toml");
    let unsaid = Config::parse(&text).unwrap_err().to_string();
    assert!(unsaid.contains("[access]"), "{unsaid}");
    let line = |line: &str| match line.strip_prefix('#') {
        // What is said in words begins with a space.
        Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    let all: Vec<_> = text.lines().map(line).collect();
    let all = Config::parse(&all.join("\n")).unwrap();
    let default = Config::default();
    assert_eq!((all.listen, all.prefix), (default.listen, default.prefix));
    assert_eq!(all.etcd.endpoints, default.etcd.endpoints);
    let numbers = |config: &Config| (config.max_hosts, config.max_connections, config.presence);
    let default = Config::default();
    let again = Config::parse("[access]\nopen = true").unwrap();
    assert_eq!(numbers(&default), numbers(&again));
}

#[test]
fn the_unit_runs_the_server_with_no_right_beyond_the_network() {
    let unit = dist("systemd/luo-fleet.service");
    for line in [
        "ExecStart=/usr/sbin/luo-fleet serve",
        "CapabilityBoundingSet=",
        "User=luo-fleet",
        "ProtectSystem=strict",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    ] {
        assert!(unit.lines().any(|own| own == line), "{line}");
    }
    let keeps = dist("systemd/luod-fleet.service");
    assert!(keeps.contains("ExecStart=/usr/bin/luoctl fleet keep\n"));
    let updates = dist("examples/luod-update.service");
    assert!(updates.contains("ExecStart=/usr/bin/luoctl update --fleet\n"));
    for starts in ["luod-update-required.path", "luod-update-entry.path"] {
        assert!(dist(&format!("examples/{starts}")).contains("Unit=luod-update.service\n"));
    }
}

/// Names of metrics in a text: `luo_fleet_` and what follows, without what a counter or a histogram
/// adds.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = text.split(|letter: char| !is_part(letter));
    let names = words.filter(|word| word.starts_with("luo_fleet_"));
    let base = |name: &str| {
        let suffixes = ["_bucket", "_sum", "_count", "_total"];
        let end = suffixes.iter().find_map(|end| name.strip_suffix(end));
        end.unwrap_or(name).to_owned()
    };
    names.map(base).collect()
}

#[test]
fn alerts_ask_for_metrics_that_there_are_and_the_page_tells_of_all() {
    let metrics = Metrics::new();
    // A family is there once it has a member.
    metrics.decided("permit", 0.001);
    let text = metrics.text(Some(&crate::page::halted(20)), 0);
    let help = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
    let there: BTreeSet<_> = help
        .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
        .collect();
    for file in ["luo-fleet.rules.yml", "luo-fleet.rules.test.yml"] {
        let asked = metrics_in(&dist(&format!("prometheus/{file}")));
        assert!(asked.len() > 6, "{file}: {asked:?}");
        let missing: Vec<_> = asked.difference(&there).collect();
        assert!(
            missing.is_empty(),
            "{file} asks for {missing:?} of {there:?}"
        );
    }
    let told = metrics_in(&dist("../docs/fleet.md"));
    let untold: Vec<_> = there.difference(&told).collect();
    assert!(
        untold.is_empty(),
        "docs/fleet.md does not tell of {untold:?}"
    );
}
