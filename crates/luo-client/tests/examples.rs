// SPDX-License-Identifier: MIT OR Apache-2.0
//! The examples, in Rust, Go and Python, do what they say: under the simulator, over updates.
//! Those in C are run by the tests of luo-client-c.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use luo_varlink::client::{Method, Registered};
use tempfile::TempDir;

use crate::fake::Fake;
use crate::simulated::counts;

/// Where there is no agent a reader's first run fails: by a sentence, not by a structure.
#[test]
fn the_workload_in_rust_fails_by_a_sentence() {
    let folder = TempDir::new().unwrap();
    // Whoever has asked for stacks of panics gets none of these.
    for backtrace in ["0", "1"] {
        let done = Command::new(crate::built().join("../examples/workload"))
            .env("LUOD_RUNTIME_DIRECTORY", folder.path())
            .env("RUST_BACKTRACE", backtrace)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            !done.status.success() && said.starts_with("Error: "),
            "{said}"
        );
        assert!(!said.contains(['{', '}', '"']), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn the_workload_in_rust_counts_its_starts() {
    // Built with the tests: `cargo test -p luo-client`, not `--test client` alone.
    counts(&crate::built().join("../examples/workload"));
}

#[test]
#[ignore = "takes go"]
fn the_workload_in_go_counts_its_starts() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("workload");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/go");
    let done = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", folder.path().join("cache"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    ends_by_a_sentence_where_files_may_not_grow(&program);
    counts(&program);
}

/// The kernel tells of a file that may not become so long by an error, and by a signal that ends
/// who has no handler for it.
#[track_caller]
fn ends_by_a_sentence_where_files_may_not_grow(program: &Path) {
    let agent = Fake::client(|mut peer| {
        let (call, _) = peer.next::<Method>().expect("a call");
        assert!(matches!(call.method(), Method::Register { .. }), "{call:?}");
        peer.reply(Registered {
            claimable: vec![],
            phase: luo_varlink::Phase::Normal,
        });
        peer.expect_end();
    });
    let done = Command::new("/bin/sh")
        .args(["-c", "ulimit -f 0; exec \"$0\""])
        .arg(program)
        .env("LUOD_RUNTIME_DIRECTORY", agent.folder())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{:?}: {said}", done.status);
    assert!(said.contains("file too large"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    agent.done();
}

/// Where memfds are not executable unless their makers ask for it, what the examples preserve
/// comes back writable all the same. The setting is that of a namespace of processes, so these
/// tests run once more in one of their own.
#[test]
#[ignore = "takes root"]
fn the_workloads_count_where_memfds_are_not_executable() {
    let mut names = vec!["python"];
    names.extend(
        Command::new("go")
            .arg("version")
            .output()
            .is_ok()
            .then_some("go"),
    );
    let names = names
        .iter()
        .map(|language| format!("examples::the_workload_in_{language}_counts_its_starts"));
    let script = "echo 1 > /proc/sys/vm/memfd_noexec && exec \"$@\" --include-ignored --exact";
    let done = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .args(["sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(names.clone())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let complained = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}{complained}");
    assert!(said.contains(&format!("{} passed", names.len())), "{said}");
}

/// The folder of the Python package.
fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python")
}

#[test]
fn the_workload_in_python_counts_its_starts() {
    let folder = tempfile::tempdir().unwrap();
    // Programs are started with the environment of the machine's first process, so the
    // example is told by a script where the package is.
    let script = folder.path().join("workload");
    let text = format!(
        "#!/bin/sh\nPYTHONPATH='{0}/src' PYTHONDONTWRITEBYTECODE=1 exec python3 '{0}/examples/workload.py'\n",
        python().display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    counts(&script);
}

/// docs/trouble.md quotes each of them once.
#[test]
fn errors_read_the_same_in_python() {
    use luo_varlink::client::Error;
    let text = || "a \"quoted\" {text}".to_owned();
    let errors = [
        Error::Denied { reason: text() },
        Error::BadName { reason: text() },
        Error::WorkloadTaken { workload: text() },
        Error::NotRegistered,
        Error::UpdateUnderWay {
            phase: luo_varlink::Phase::Preparing,
        },
        Error::NotExpected { reason: text() },
        Error::NoSuchSession { session: text() },
        Error::BadDescriptor { reason: text() },
        Error::Kernel {
            call: text(),
            errno: 16,
            message: text(),
        },
        Error::TooMany { limit: text() },
    ];
    let sentences = errors.iter().map(|error| format!("{error}\n"));
    let sentences = sentences.collect::<String>();
    let program = "import json, sys\n\
                   from luo_client import CallFailed\n\
                   for error in json.loads(sys.argv[1]):\n\
                   \x20   name = error['error'].rpartition('.')[2]\n\
                   \x20   print(CallFailed(name, error.get('parameters', {})))\n";
    let done = Command::new("python3")
        .args(["-c", program])
        .arg(serde_json::to_string(&errors).unwrap())
        .env("PYTHONPATH", python().join("src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let complained = String::from_utf8_lossy(&done.stderr);
    assert_eq!(said, sentences, "{complained}");
}

#[test]
fn the_python_package_keeps_to_the_wire() {
    let done = Command::new("python3")
        .args(["-m", "unittest", "discover", "--start-directory", "tests"])
        .env("PYTHONPATH", "src")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(python())
        .output()
        .expect("Python 3.9 or newer, which these tests take, runs as `python3`");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("Ran 19 tests"), "{said}");
}
