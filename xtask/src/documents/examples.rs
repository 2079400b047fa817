// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that readers copy fail by a sentence: an error that `main` returns is written as
//! its structure, with a stack where RUST_BACKTRACE is set.

use super::{documents, files, read};

/// The line with a `main` that returns an error, counted from one.
fn returns_error(text: &str) -> Option<usize> {
    let is_one = |line: &str| {
        let main = line.trim_start().trim_start_matches("async ");
        let returned = main.strip_prefix("fn main()").map(str::trim_start);
        returned.is_some_and(|rest| rest.starts_with("->") && rest.contains("Result"))
    };
    text.lines().position(is_one).map(|at| at + 1)
}

#[test]
fn examples_fail_by_a_sentence() {
    let mut seen = 0;
    for path in files("", &["rs"]) {
        if !path.contains("/examples/") {
            continue;
        }
        let line = returns_error(&read(&path));
        assert_eq!(line, None, "{path}: main returns its error");
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} examples are found");
    for document in documents() {
        for snippet in document.fenced() {
            let line = returns_error(&snippet.body).map(|line| snippet.line + line - 1);
            assert_eq!(line, None, "{}: main returns its error", document.path);
        }
    }
}

/// A traceback is for whoever wrote the program, and not for whoever runs it.
#[test]
fn examples_in_python_fail_by_a_sentence() {
    let is_caught = |text: &str| {
        text.contains("\n    main()\nexcept (OSError, CallFailed) as why:\n    sys.exit(")
    };
    let mut seen = 0;
    for path in files("python/examples", &["py"]) {
        assert!(is_caught(&read(&path)), "{path}: its errors are tracebacks");
        seen += 1;
    }
    assert!(seen >= 2, "only {seen} examples are found");
    for document in documents() {
        for snippet in document.fenced() {
            let is_program = snippet.body.contains("Workload.register(");
            let is_python = snippet.body.contains("import luo_client");
            if is_program && is_python {
                assert!(
                    is_caught(&snippet.body),
                    "{}:{}",
                    document.path,
                    snippet.line
                );
            }
        }
    }
}

#[test]
fn a_main_that_returns_an_error_is_found() {
    assert_eq!(
        returns_error("\nfn main() -> io::Result<ExitCode> {"),
        Some(2)
    );
    assert_eq!(returns_error("fn main() -> anyhow::Result<()> {}"), Some(1));
    for good in [
        "fn main() -> ExitCode {",
        "fn main() {",
        "fn run() -> Result {",
    ] {
        assert_eq!(returns_error(good), None, "{good}");
    }
}
