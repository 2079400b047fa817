// SPDX-License-Identifier: MIT OR Apache-2.0
//! The crates lie in rows, and each uses only those of rows below its own: who reads a crate
//! need not look up. Tests keep to that as well, but for those that are listed.

use std::collections::BTreeMap;

use toml::Table;

use super::{files, read};

/// The rows, from the bottom.
const ROWS: [&[&str]; 12] = [
    // Data.
    &[
        "luo-abi",
        "luo-fleetlock",
        "luo-lab-protocol",
        "luo-varlink",
    ],
    &["luo-core", "luo-sys", "luo-timeline"],
    &["luo-calls", "luo-memfd"],
    // Hosts that run in user space.
    &["luo-sim", "luo-testhost"],
    &["luo-client", "luo-fleet", "luo-preflight"],
    &["luo-client-c", "luo-conformance", "luo-monitor", "luod"],
    &["luo-ch", "luo-qemu", "luo-vmm"],
    &["luo-demo", "luo-fuzz", "luoctl"],
    &["luo-scenes"],
    &["luo-scenes-guests"],
    // What brings all of it into machines.
    &["luo-guest", "luo-lab"],
    &["xtask"],
];

/// What tests need of a row that is not below: the crate, and what it needs.
const OF_TESTS: [(&str, &str); 2] = [
    // The engine and the calls are tested on a host.
    ("luo-calls", "luo-testhost"),
    ("luo-core", "luo-testhost"),
];

/// The crates, by name, with what each one needs of the others: the name, and whether only
/// tests need it.
fn crates() -> BTreeMap<String, Vec<(String, bool)>> {
    let manifests = files("", &["toml"]).into_iter();
    let manifests = manifests.filter(|path| path.ends_with("/Cargo.toml"));
    let manifests = manifests.map(|path| read(&path).parse::<Table>().unwrap());
    manifests
        .filter_map(|manifest| {
            let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
            let of = |section: &str, tests| {
                let all = manifest.get(section).and_then(toml::Value::as_table);
                let names = all.into_iter().flat_map(Table::keys).cloned();
                names.map(move |name| (name, tests)).collect::<Vec<_>>()
            };
            let sections = [
                of("dependencies", false),
                of("build-dependencies", false),
                of("dev-dependencies", true),
            ];
            Some((name, sections.concat()))
        })
        .collect()
}

/// What is wrong with the rows of some crates.
fn wrong(
    crates: &BTreeMap<String, Vec<(String, bool)>>,
    rows: &[&[&str]],
    of_tests: &[(&str, &str)],
) -> Vec<String> {
    let row = |name: &str| rows.iter().position(|row| row.contains(&name));
    let mut wrong = Vec::new();
    let mut used = Vec::new();
    for (name, needs) in crates {
        let Some(own) = row(name) else {
            wrong.push(format!("{name} is in no row"));
            continue;
        };
        for (needed, tests) in needs {
            // What is not ours has no row. A crate may be a dependency of its own tests.
            let of = row(needed).filter(|_| name != needed);
            let pair = (name.as_str(), needed.as_str());
            match of {
                Some(of) if of >= own && *tests && of_tests.contains(&pair) => used.push(pair),
                Some(of) if of >= own => wrong.push(format!("{name} needs {needed}")),
                _ => {}
            }
        }
    }
    let unused = of_tests.iter().filter(|pair| !used.contains(pair));
    wrong.extend(unused.map(|(name, needed)| format!("{name} needs no {needed} any more")));
    let unknown = rows.iter().flat_map(|row| row.iter());
    let unknown = unknown.filter(|name| !crates.contains_key(**name));
    wrong.extend(unknown.map(|name| format!("there is no crate {name}")));
    wrong
}

#[test]
fn each_crate_uses_only_those_below_it() {
    let crates = crates();
    assert_eq!(wrong(&crates, &ROWS, &OF_TESTS), [""; 0]);
}

#[test]
fn an_arrow_that_goes_up_is_found() {
    let crates = |needs: &[(&str, &str, bool)]| {
        let mut all = BTreeMap::from([("a".to_owned(), vec![]), ("b".to_owned(), vec![])]);
        for (name, needed, tests) in needs {
            let of: &mut Vec<_> = all.entry((*name).to_owned()).or_default();
            of.push(((*needed).to_owned(), *tests));
        }
        all
    };
    let rows: [&[&str]; 2] = [&["a"], &["b"]];
    let down = [("b", "a", false), ("b", "serde", false), ("a", "a", true)];
    assert!(wrong(&crates(&down), &rows, &[]).is_empty());
    let up = crates(&[("a", "b", false)]);
    assert_eq!(wrong(&up, &rows, &[]), ["a needs b"]);
    // An exception is for tests only, and has to be needed.
    let exception = [("a", "b")];
    assert_eq!(wrong(&up, &rows, &exception).len(), 2);
    assert!(wrong(&crates(&[("a", "b", true)]), &rows, &exception).is_empty());
    assert_eq!(wrong(&crates(&[]), &rows, &exception).len(), 1);
    let beside = crates(&[("c", "a", false)]);
    assert_eq!(wrong(&beside, &rows, &[]), ["c is in no row"]);
}
