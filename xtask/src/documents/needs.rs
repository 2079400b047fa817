// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which files of a crate need which others.
//!
//! A file needs another if it names something of it, in a `use` or by its whole path. A
//! name that a file only passes on (`pub use`) belongs to the file that it comes from. Where many
//! files give methods to one type (`impl Engine`, `impl Agent`), a file also needs another whose
//! method of such a type it calls. Types are not inferred: a call counts if its receiver is `self`
//! in an `impl` of that type, or a variable or field of its name (`agent`, `self.graph`); with
//! [`Crate::needs_by_all_calls`] any call counts, if only one file has a method of that name.
//! Tests may need what they like. The root of a crate defines nothing, so that no file needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{
    Expr, ExprMethodCall, ImplItem, Item, ItemImpl, ItemUse, Macro, Member, Path, Type, UseTree,
    Visibility,
};

/// A module by its path in the crate: `["update", "carry"]`.
pub(super) type Module = Vec<String>;

/// What each file needs.
pub(super) type Needs = BTreeMap<Module, BTreeSet<Module>>;

/// The modules of a crate that are files of their own.
pub(super) struct Crate {
    pub(super) files: BTreeMap<Module, syn::File>,
    /// What a module passes on: the name, and where it says that it is.
    passed_on: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Crate {
    /// Reads the sources below a folder of the project.
    pub(super) fn read(folder: &str) -> Self {
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

    pub(super) fn of(files: BTreeMap<Module, syn::File>) -> Self {
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

    /// The files by type and method, where one type has methods in several files.
    fn methods_by_type(&self) -> BTreeMap<(String, String), Module> {
        let mut files_of: BTreeMap<String, BTreeSet<&Module>> = BTreeMap::new();
        let mut of = BTreeMap::new();
        for (module, file) in &self.files {
            let mut methods = Methods::default();
            methods.visit_file(file);
            for (own, name) in methods.found {
                files_of.entry(own.clone()).or_default().insert(module);
                of.insert((own, name), module.clone());
            }
        }
        of.retain(|(own, _), _| files_of.get(own).is_some_and(|files| files.len() > 1));
        of
    }

    /// The other files that each file needs, by what it names.
    pub(super) fn needs(&self) -> Needs {
        self.needs_with(|_| Vec::new())
    }

    /// The other files that each file needs, by what it names and by the methods that it calls.
    pub(super) fn needs_by_methods_too(&self) -> Needs {
        let methods = self.methods_by_type();
        self.needs_with(|named| {
            let called = named.called_on.iter();
            called
                .filter_map(|call| methods.get(call).cloned())
                .collect()
        })
    }

    /// The same, whatever a method is called on.
    pub(super) fn needs_by_all_calls(&self) -> Needs {
        let methods = self.shared_methods();
        self.needs_with(|named| {
            let called = named.called.iter();
            called
                .filter_map(|name| methods.get(name).cloned())
                .collect()
        })
    }

    fn needs_with(&self, by_method: impl Fn(&Named) -> Vec<Module>) -> Needs {
        let of = |(module, file): (&Module, &syn::File)| {
            let mut named = Named::default();
            named.visit_file(file);
            let paths = named.paths.iter();
            let by_name = paths.filter_map(|path| self.resolve(module, path));
            let by_method = by_method(&named);
            let all = by_name.chain(by_method);
            // The root of a crate passes names on and defines nothing itself.
            let others = all.filter(|to| !to.is_empty() && to != module);
            let others = others.filter(|to| self.files.contains_key(to));
            (module.clone(), others.collect())
        };
        self.files.iter().map(of).collect()
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
        let Some(own) = own_type(item) else {
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
    /// The names of methods.
    called: BTreeSet<String>,
    /// The names of types, as far as they are known, and of methods.
    called_on: BTreeSet<(String, String)>,
    /// The type that methods are given to.
    own: Option<String>,
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

    /// Takes in the call of a method on a variable or a field of some name.
    fn add_call(&mut self, of: &str, method: &str) {
        let own = self.own.clone().filter(|_| of == "self");
        // `unclaimed_session` is none of `Session`, as far as anybody knows.
        let of = own.unwrap_or_else(|| of.split('_').map(capital).collect());
        self.called_on.insert((of, method.to_owned()));
    }
}

/// A word with a capital.
fn capital(word: &str) -> String {
    let mut rest = word.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}

/// The name of the variable or field that a method is called on, if it has one. What is borrowed
/// from a cell is that of the cell.
fn receiver(of: &Expr) -> Option<String> {
    match of {
        Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
        Expr::Field(field) => match &field.member {
            Member::Named(name) => Some(name.to_string()),
            Member::Unnamed(_) => None,
        },
        Expr::Paren(inner) => receiver(&inner.expr),
        Expr::Reference(inner) => receiver(&inner.expr),
        Expr::Unary(inner) => receiver(&inner.expr),
        Expr::MethodCall(call) => {
            let is_passed_on = ["borrow", "borrow_mut", "as_ref", "as_mut"]
                .iter()
                .any(|name| call.method == name);
            is_passed_on.then(|| receiver(&call.receiver))?
        }
        _ => None,
    }
}

/// The name of the type that an `impl` is of.
fn own_type(item: &ItemImpl) -> Option<String> {
    let Type::Path(own) = &*item.self_ty else {
        return None;
    };
    own.path.segments.last().map(|part| part.ident.to_string())
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
        let method = call.method.to_string();
        if let Some(of) = receiver(&call.receiver) {
            self.add_call(&of, &method);
        }
        self.called.insert(method);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let own = self.own.replace(own_type(item).unwrap_or_default());
        visit::visit_item_impl(self, item);
        self.own = own;
    }

    /// What stands in a macro's brackets is no syntax that is known: `.name(` is a call.
    fn visit_macro(&mut self, mac: &'ast Macro) {
        let mut calls = Vec::new();
        calls_in(&mac.tokens, &mut calls);
        for (of, method) in calls {
            self.add_call(&of, &method);
            self.called.insert(method);
        }
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

/// The names before a dot, and behind it and before a bracket.
fn calls_in(tokens: &TokenStream, into: &mut Vec<(String, String)>) {
    let tokens: Vec<_> = tokens.clone().into_iter().collect();
    for part in tokens.windows(4) {
        if let [
            of,
            TokenTree::Punct(dot),
            TokenTree::Ident(name),
            TokenTree::Group(_),
        ] = part
            && dot.as_char() == '.'
        {
            into.push((of.to_string(), name.to_string()));
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
