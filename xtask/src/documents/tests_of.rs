// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tests of a folder by name, read from its sources.

use super::{files, read};

/// The names of all tests in the Rust files below a folder: the modules by file and by
/// `mod`, and the function, with `::` between.
pub(super) fn tests_of(folder: &str) -> Vec<String> {
    let mut names = Vec::new();
    for path in files(folder, &["rs"]) {
        let inside = path.strip_prefix(folder).unwrap_or(&path);
        let inside = inside.trim_start_matches('/').trim_end_matches(".rs");
        let modules = inside.split('/');
        let modules = modules.filter(|name| !["main", "lib", "mod"].contains(name));
        let modules: Vec<_> = modules.map(str::to_owned).collect();
        names.extend(in_file(&modules, &read(&path)));
    }
    names
}

/// The tests of one file, which rustfmt has formatted.
pub(super) fn in_file(modules: &[String], text: &str) -> Vec<String> {
    let mut names = Vec::new();
    // Inline modules that are open, with how far they are indented.
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut is_test = false;
    for line in text.lines() {
        let code = line.trim_start();
        let indented = line.len() - code.len();
        if code == "}" && open.last().is_some_and(|(at, _)| *at == indented) {
            open.pop();
        } else if let Some(name) = module(code) {
            open.push((indented, name));
        } else if code.starts_with("#[") {
            let attribute = code.trim_start_matches("#[");
            is_test |= attribute.starts_with("test]")
                || attribute.starts_with("tokio::test")
                || attribute.starts_with("apply(test");
        } else if let Some(name) = function(code) {
            if is_test {
                let inline = open.iter().map(|(_, name)| (*name).to_owned());
                let path = modules.iter().cloned().chain(inline);
                let path: Vec<_> = path.chain([name.to_owned()]).collect();
                names.push(path.join("::"));
            }
            is_test = false;
        }
    }
    names
}

/// The name of an inline module that begins in a line.
fn module(code: &str) -> Option<&str> {
    let code = code.strip_suffix(" {")?;
    let code = code.strip_prefix("pub ").unwrap_or(code);
    let code = code.strip_prefix("pub(crate) ").unwrap_or(code);
    code.strip_prefix("mod ")
}

/// The name of a function that begins in a line.
fn function(code: &str) -> Option<&str> {
    let code = code.strip_prefix("async ").unwrap_or(code);
    code.strip_prefix("fn ")?.split(['(', '<']).next()
}

#[test]
fn tests_are_found_by_name() {
    let text = "fn helper() {}\n\n#[cfg(test)]\nmod tests {\n    mod inner {\n        #[test]\n        \
                #[ignore]\n        fn one() {\n        }\n    }\n\n    #[tokio::test(x)]\n    async fn two() {\n    }\n\n    \
                proptest! {\n        #[test]\n        fn three(x in 0..1) {\n        }\n    }\n}\n\n#[test]\nfn four() {}\n";
    let names = in_file(&["a".to_owned()], text);
    assert_eq!(
        names,
        [
            "a::tests::inner::one",
            "a::tests::two",
            "a::tests::three",
            "a::four"
        ]
    );
}
