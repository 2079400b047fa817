// SPDX-License-Identifier: MIT OR Apache-2.0
//! No two files of a crate need each other, not even through others: who reads a file reads
//! those below it, and never the same one again. ARCHITECTURE.md
//! shows the rooms in that order.
//!
//! A file needs another if it names something of it, in a `use` or by its whole path. A
//! name that a file only passes on (`pub use`) belongs to the file that it comes from. In the engine it
//! also needs one whose method it calls of a type that several files give methods (`impl Engine`),
//! if only that one has a method of that name. (In luod all files are about one `Agent`.)
//! Tests may need what they like. The root of a crate defines nothing, so that no file needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{
    ExprMethodCall, ImplItem, Item, ItemImpl, ItemUse, Macro, Path, Type, UseTree, Visibility,
};

/// A module by its path in the crate: `["update", "carry"]`.
type Module = Vec<String>;

/// The modules of a crate that are files of their own.
struct Crate {
    files: BTreeMap<Module, syn::File>,
    /// What a module passes on: the name, and where it says that it is.
    passed_on: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Crate {
    /// Reads the sources below a folder of the project.
    fn read(folder: &str) -> Self {
        let mut files = BTreeMap::new();
        for path in super::files(folder, &["rs"]) {
            let inside = path.strip_prefix(folder).unwrap().trim_start_matches('/');
            let inside = inside.strip_suffix(".rs").unwrap();
            let mut module: Module = inside.split('/').map(str::to_owned).collect();
            if matches!(
                module.last().map(String::as_str),
                Some("mod" | "lib" | "main")
            ) {
                module.pop();
            }
            if module.iter().any(|part| part == "tests" || part == "fake") {
                continue;
            }
            let text = fs::read_to_string(super::root().join(&path)).unwrap();
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            files.insert(module, file);
        }
        Self::of(files)
    }

    fn of(files: BTreeMap<Module, syn::File>) -> Self {
        let passed_on = files
            .iter()
            .map(|(module, file)| (module.clone(), passed_on(file)))
            .collect();
        Self { files, passed_on }
    }

    /// The file that a path leads to which stands in a module, if it is one of the crate's.
    fn resolve(&self, from: &[String], path: &[String]) -> Option<Module> {
        self.follow(from, path, 0)
    }

    fn follow(&self, from: &[String], path: &[String], depth: usize) -> Option<Module> {
        // A file that passes a name on to one that passes it on comes to an end, or to nothing.
        if depth > 8 {
            return None;
        }
        let mut at = from.to_vec();
        let mut rest = path;
        let (first, behind) = rest.split_first()?;
        match first.as_str() {
            "crate" => (at, rest) = (Module::new(), behind),
            "self" => rest = behind,
            "super" => {
                while let Some(("super", behind)) = rest
                    .split_first()
                    .map(|(part, behind)| (part.as_str(), behind))
                {
                    at.pop()?;
                    rest = behind;
                }
            }
            _ => {
                let mut child = at.clone();
                child.push(first.clone());
                if !self.files.contains_key(&child) {
                    return None;
                }
            }
        }
        while let Some((part, behind)) = rest.split_first() {
            at.push(part.clone());
            if !self.files.contains_key(&at) {
                at.pop();
                break;
            }
            rest = behind;
        }
        let name = rest.first().filter(|_| at != from);
        let passed = name.and_then(|name| self.passed_on.get(&at)?.get(name));
        match passed {
            Some(path) => self.follow(&at, path, depth + 1).or(Some(at)),
            None => Some(at),
        }
    }

    /// The methods that one file alone has, of types that several files give methods.
    fn shared_methods(&self) -> BTreeMap<String, Module> {
        let mut files_of: BTreeMap<String, BTreeSet<&Module>> = BTreeMap::new();
        let mut of: BTreeMap<String, BTreeSet<(&Module, String)>> = BTreeMap::new();
        for (module, file) in &self.files {
            let mut methods = Methods::default();
            methods.visit_file(file);
            for (own, name) in methods.found {
                files_of.entry(own.clone()).or_default().insert(module);
                of.entry(name).or_default().insert((module, own));
            }
        }
        let is_shared = |own: &String| files_of.get(own).is_some_and(|files| files.len() > 1);
        of.into_iter()
            .filter(|(_, of)| of.len() == 1)
            .filter_map(|(name, of)| {
                of.into_iter()
                    .next()
                    .map(|(module, own)| (name, module, own))
            })
            .filter(|(_, _, own)| is_shared(own))
            .map(|(name, module, _)| (name, module.clone()))
            .collect()
    }

    /// The groups of files that need each other by what they name.
    fn circles(&self) -> Vec<Vec<String>> {
        self.circles_with(&BTreeMap::new())
    }

    /// Those by what they name, and by what they call.
    fn circles_of_methods_too(&self) -> Vec<Vec<String>> {
        self.circles_with(&self.shared_methods())
    }

    fn circles_with(&self, shared: &BTreeMap<String, Module>) -> Vec<Vec<String>> {
        let modules: Vec<&Module> = self.files.keys().collect();
        let place = |module: &Module| modules.binary_search(&module).ok();
        let mut graph = DiGraphMap::<usize, ()>::new();
        for (at, module) in modules.iter().enumerate() {
            graph.add_node(at);
            let mut named = Named::default();
            named.visit_file(&self.files[*module]);
            for path in &named.paths {
                // The root of a crate passes names on and defines nothing itself.
                let needed = self.resolve(module, path).filter(|to| !to.is_empty());
                if let Some(to) = needed.and_then(|to| place(&to)).filter(|&to| to != at) {
                    graph.add_edge(at, to, ());
                }
            }
            let needed = named.called.iter().filter_map(|name| shared.get(name));
            for to in needed.filter_map(place).filter(|&to| to != at) {
                graph.add_edge(at, to, ());
            }
        }
        let mut circles: Vec<Vec<String>> = tarjan_scc(&graph)
            .into_iter()
            .filter(|group| group.len() > 1)
            .map(|group| group.into_iter().map(|at| modules[at].join("::")).collect())
            .collect();
        circles.iter_mut().for_each(|circle| circle.sort());
        circles
    }
}

/// The methods that a file has outside of its tests: the type, and the name.
#[derive(Default)]
struct Methods {
    found: Vec<(String, String)>,
}

impl<'ast> Visit<'ast> for Methods {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let Type::Path(own) = &*item.self_ty else {
            return;
        };
        let Some(own) = own.path.segments.last().map(|part| part.ident.to_string()) else {
            return;
        };
        for item in &item.items {
            if let ImplItem::Fn(method) = item {
                self.found.push((own.clone(), method.sig.ident.to_string()));
            }
        }
    }
}

/// The paths that a file names outside of its tests, and the methods that it calls.
#[derive(Default)]
struct Named {
    paths: Vec<Vec<String>>,
    called: BTreeSet<String>,
    /// Modules within the file that are being looked at.
    depth: usize,
}

impl Named {
    /// Takes a path in as it would read outside of the modules within the file.
    fn add(&mut self, mut path: Vec<String>) {
        if path[0] != "crate" && self.depth > 0 {
            let up = path.iter().take_while(|part| *part == "super").count();
            if up <= self.depth {
                return; // It leads into the file itself.
            }
            path.drain(..self.depth);
        }
        self.paths.push(path);
    }
}

impl<'ast> Visit<'ast> for Named {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item) {
            let depth = usize::from(matches!(item, Item::Mod(_)));
            self.depth += depth;
            visit::visit_item(self, item);
            self.depth -= depth;
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if matches!(item.vis, Visibility::Inherited) {
            let mut paths = Vec::new();
            leaves(&item.tree, &mut Vec::new(), &mut paths);
            paths.into_iter().for_each(|path| self.add(path));
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.called.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    /// What stands in a macro's brackets is no syntax that is known: `.name(` is a call.
    fn visit_macro(&mut self, mac: &'ast Macro) {
        calls_in(&mac.tokens, &mut self.called);
        visit::visit_macro(self, mac);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let parts: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if parts.len() > 1 {
            self.add(parts);
        }
        visit::visit_path(self, path);
    }

    // `pub(crate)` and `pub(in …)` have paths that name nothing which is needed.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// The names behind a dot and before a bracket.
fn calls_in(tokens: &TokenStream, into: &mut BTreeSet<String>) {
    let tokens: Vec<_> = tokens.clone().into_iter().collect();
    for part in tokens.windows(3) {
        if let [
            TokenTree::Punct(dot),
            TokenTree::Ident(name),
            TokenTree::Group(_),
        ] = part
            && dot.as_char() == '.'
        {
            into.insert(name.to_string());
        }
    }
    for token in tokens {
        if let TokenTree::Group(group) = token {
            calls_in(&group.stream(), into);
        }
    }
}

fn is_for_tests(item: &Item) -> bool {
    let attributes = match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<Path>()
                .is_ok_and(|what| what.is_ident("test"))
    })
}

/// The names that a file passes on.
fn passed_on(file: &syn::File) -> BTreeMap<String, Vec<String>> {
    let mut paths = Vec::new();
    for item in &file.items {
        if let Item::Use(item) = item
            && !matches!(item.vis, Visibility::Inherited)
        {
            leaves(&item.tree, &mut Vec::new(), &mut paths);
        }
    }
    let named = paths.into_iter();
    named
        .filter_map(|path| Some((path.last()?.clone(), path)))
        .collect()
}

/// The paths of a `use`, one for each name.
fn leaves(tree: &UseTree, before: &mut Vec<String>, into: &mut Vec<Vec<String>>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves(&path.tree, before, into);
            before.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                leaves(tree, before, into);
            }
        }
        UseTree::Name(name) => one(name.ident.to_string(), before, into),
        UseTree::Rename(name) => one(name.ident.to_string(), before, into),
        UseTree::Glob(_) => into.push(before.clone()),
    }
}

fn one(name: String, before: &[String], into: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    // `use a::{self}` names `a`.
    if name != "self" || path.is_empty() {
        path.push(name);
    }
    into.push(path);
}

#[test]
fn no_two_files_of_the_engine_need_each_other() {
    let engine = Crate::read("crates/luo-core/src");
    assert!(engine.files.len() > 50);
    assert_eq!(engine.circles_of_methods_too(), [[""; 0]; 0]);
}

#[test]
fn no_two_files_of_the_rest_need_each_other() {
    for (folder, least) in [
        ("crates/luod/src", 50),
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
        ("vmms/luo-vmm/src", 18),
        ("xtask/src", 20),
    ] {
        let of = Crate::read(folder);
        assert!(of.files.len() >= least, "{folder}: {}", of.files.len());
        assert_eq!(of.circles(), [[""; 0]; 0], "{folder}");
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
        "handlers::memfd::pools",
        "host",
    ];
    assert_eq!(host.circles(), [ring]);
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
        Crate::of(files).circles_of_methods_too()
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
