// SPDX-License-Identifier: MIT OR Apache-2.0
//! No two files of a crate need each other, not even through others: a reader of a file reads
//! those below it, and never the same one again. ARCHITECTURE.md shows the rooms in that order.
//! In the engine and in luod, most files of which give methods to one type, a file needs another
//! by such methods, too (`needs`).

use std::collections::BTreeMap;
use std::fs;

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use syn::Item;

use super::needs::{Crate, Module, Needs};

/// The groups of files that need each other.
fn circles(needs: &Needs) -> Vec<Vec<String>> {
    let modules: Vec<&Module> = needs.keys().collect();
    let place = |module: &Module| modules.binary_search(&module).ok();
    let mut graph = DiGraphMap::<usize, ()>::new();
    for (at, needed) in needs.values().enumerate() {
        graph.add_node(at);
        for to in needed.iter().filter_map(place) {
            graph.add_edge(at, to, ());
        }
    }
    let groups = tarjan_scc(&graph).into_iter();
    let mut circles: Vec<Vec<String>> = groups
        .filter(|group| group.len() > 1)
        .map(|group| group.into_iter().map(|at| modules[at].join("::")).collect())
        .collect();
    circles.iter_mut().for_each(|circle| circle.sort());
    circles
}

#[test]
fn no_two_files_of_the_engine_need_each_other() {
    let engine = Crate::read("crates/luo-core/src");
    assert!(engine.files.len() > 50);
    assert_eq!(circles(&engine.needs_by_all_calls()), [[""; 0]; 0]);
}

#[test]
fn no_two_files_of_luod_need_each_other() {
    let luod = Crate::read("crates/luod/src");
    assert!(luod.files.len() > 50);
    assert_eq!(circles(&luod.needs_by_methods_too()), [[""; 0]; 0]);
}

#[test]
fn no_two_files_of_the_rest_need_each_other() {
    for (folder, least) in [
        ("crates/luoctl/src", 10),
        ("crates/luo-abi/src", 5),
        ("crates/luo-calls/src", 8),
        ("crates/luo-memfd/src", 4),
        ("crates/luo-client/src", 5),
        ("crates/luo-client-c/src", 6),
        ("crates/luo-fleet/src", 10),
        ("crates/luo-fleetlock/src", 3),
        ("crates/luo-preflight/src", 20),
        ("crates/luo-sim/src", 20),
        ("crates/luo-sys/src", 5),
        ("crates/luo-timeline/src", 2),
        ("crates/luo-varlink/src", 3),
        ("conformance/src", 20),
        ("lab/src", 20),
        ("lab/guest/src", 20),
        ("lab-protocol/src", 1),
        ("scenes/src", 3),
        ("scenes/guests/src", 10),
        ("demo/src", 5),
        ("fuzz/src", 15),
        ("vmms/luo-qemu/src", 14),
        ("vmms/luo-ch/src", 12),
        ("vmms/luo-monitor/src", 7),
        ("vmms/luo-vmm/src", 20),
        ("xtask/src", 20),
    ] {
        let of = Crate::read(folder);
        assert!(of.files.len() >= least, "{folder}: {}", of.files.len());
        assert_eq!(circles(&of.needs()), [[""; 0]; 0], "{folder}");
    }
}

/// The kernel's host, without `sys/`, whose entry points C calls: its host names what it is made
/// of, which acts through it. ARCHITECTURE.md says so; nothing is to be added.
#[test]
fn the_kernels_host_has_one_ring() {
    let mut host = Crate::read("kernel/overlay/kernel/liveupdate/rust");
    host.files
        .retain(|module, _| module.first().is_some_and(|first| first != "sys"));
    assert!(host.files.len() >= 20, "{}", host.files.len());
    let ring = [
        "handler",
        "handlers::memfd",
        "handlers::memfd::half",
        "host",
    ];
    assert_eq!(circles(&host.needs()), [ring]);
}

/// How many things a root defines.
fn defined_in(root: &syn::File) -> usize {
    let defines = |item: &&Item| match item {
        Item::Use(_) | Item::ExternCrate(_) => false,
        Item::Mod(module) => module.content.is_some(),
        _ => true,
    };
    root.items.iter().filter(defines).count()
}

/// The root of a library says what there is. That of `lab-protocol` is all of it.
#[test]
fn no_root_defines_anything() {
    let roots = super::files("", &["rs"]).into_iter();
    let roots: Vec<_> = roots.filter(|path| path.ends_with("src/lib.rs")).collect();
    assert!(roots.len() > 20, "{roots:?}");
    let defining = roots.into_iter().filter(|path| {
        let text = fs::read_to_string(super::root().join(path)).unwrap();
        defined_in(&syn::parse_file(&text).unwrap()) > 0
    });
    assert_eq!(defining.collect::<Vec<_>>(), ["lab-protocol/src/lib.rs"]);
}

/// The test finds what it looks for: in a crate of three files, by a `use`, a path and a
/// name that is passed on.
#[test]
fn a_circle_is_found() {
    let of = |files: &[(&str, &str)]| {
        let files: BTreeMap<Module, syn::File> = files
            .iter()
            .map(|(module, text)| {
                let module = module.split("::").map(str::to_owned).collect();
                (module, syn::parse_file(text).unwrap())
            })
            .collect();
        circles(&Crate::of(files).needs_by_methods_too())
    };
    let found = of(&[
        ("a", "pub use b::Thing; mod b; fn f() {}"),
        ("a::b", "use crate::c::Other; pub struct Thing;"),
        ("c", "pub struct Other; fn g(_: crate::a::Thing) {}"),
        // By a path from where it stands.
        ("d", "mod e; pub struct Five; fn h(_: e::Four) {}"),
        ("d::e", "pub struct Four(super::Five);"),
    ]);
    assert_eq!(found, [vec!["a::b", "c"], vec!["d", "d::e"]]);
    // By methods of a type that both give some, one of them called in a macro.
    let found = of(&[
        ("state", "pub struct State;"),
        ("a", "impl State { fn one(&self) { self.two(); } }"),
        ("b", "impl State { fn two(&self) { ready!(self.one()); } }"),
    ]);
    assert_eq!(found, [["a", "b"]]);
    let none = of(&[
        (
            "a",
            "pub struct One; #[cfg(test)] mod tests { use crate::b::Two; }",
        ),
        ("b", "use crate::a::One; pub(in crate::b) struct Two;"),
    ]);
    assert!(none.is_empty());
    let root = syn::parse_file("extern crate std; mod a; pub use a::One; const TWO: u8 = 2;");
    assert_eq!(defined_in(&root.unwrap()), 1);
}
