// SPDX-License-Identifier: MIT OR Apache-2.0
//! The examples, in Rust, C and Python, do what they say: under the simulator, over updates.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use luo_sim::{Program, Simulator};
use luo_varlink::client::{Method, Registered};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::fake::Fake;

fn simulate(program: Program, boots: usize) -> String {
    let outcome = Simulator::new()
        .each_boot(program)
        .at_most(boots)
        .capture()
        .run()
        .unwrap();
    let output = outcome.output();
    assert!(outcome.success(), "{:?}: {output}", outcome.ending);
    assert_eq!(outcome.boots.len(), boots);
    output
}

/// Takes the counting workload through two updates, with an agent.
#[track_caller]
fn counts(program: &Path) {
    assert!(program.exists(), "{} is not built", program.display());
    let guest = crate::guest();
    let program = program.to_str().unwrap();
    let output = simulate(Program::new(guest).args(["agent", "3", program]), 3);
    // Between the end of the agent and its own the simulator leaves a workload a moment
    // in which it may complain; a kernel does not.
    let starts: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("start"))
        .collect();
    assert_eq!(starts, ["start 1", "start 2", "start 3"], "{output}");
}

/// An example in C, compiled with all warnings as errors.
fn compile(name: &str, into: &TempDir, library: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../luo-client-c");
    let program = into.path().join(name);
    let done = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .arg("-I")
        .arg(folder.join("include"))
        .arg(folder.join("examples").join(name).with_extension("c"))
        .arg("-o")
        .arg(&program)
        .args(library)
        .output()
        .expect("a C compiler, which these tests take, runs as `cc`");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    program
}

/// The library for C is not made anew while its lock is held. One test has cargo build it, and cargo
/// removes what it writes again, which the linker of another one then does not find.
fn library(change: FlockOperation) -> fs::File {
    let lock = crate::built().join("libluo_client_c.lock");
    let lock = fs::File::create(lock).unwrap();
    flock(&lock, change).unwrap();
    lock
}

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
fn the_workload_in_c_counts_its_starts() {
    let folder = tempfile::tempdir().unwrap();
    let _there = library(FlockOperation::LockShared);
    // As it is installed: by the name that programs link, and by that they look for.
    let shared = crate::built().join("libluo_client_c.so");
    for name in ["libluo_client.so", "libluo_client.so.0"] {
        std::os::unix::fs::symlink(&shared, folder.path().join(name)).unwrap();
    }
    let path = folder.path().to_str().unwrap();
    let (search, find) = (format!("-L{path}"), format!("-Wl,-rpath,{path}"));
    let program = compile("workload", &folder, &[&search, &find, "-lluo_client"]);
    let needs = Command::new("ldd").arg(&program).output().unwrap();
    let needs = String::from_utf8_lossy(&needs.stdout).into_owned();
    assert!(needs.contains("libluo_client.so.0"), "{needs}");
    // The copy in the folder is found when the workload runs.
    assert!(fs::exists(folder.path().join("libluo_client.so.0")).unwrap());
    counts(&program);
}

/// As docs/integrate.md says it, from a checkout and a file to a program that runs.
#[test]
fn a_program_in_c_is_built_from_nothing() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let checkout = checkout.canonicalize().unwrap();
    let book = fs::read_to_string(checkout.join("docs/integrate.md")).unwrap();
    let fenced = |language: &str| {
        let (_, rest) = book.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0.to_owned()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("workload.c"), fenced("c")).unwrap();
    std::os::unix::fs::symlink(&checkout, path.join("luo-rust")).unwrap();
    // What is built for tests is there already.
    let script = fenced("sh").replace("install-c ", "install-c --debug ");
    assert!(script.contains("--debug"), "{script}");
    let making = library(FlockOperation::LockExclusive);
    let done = Command::new("sh")
        .args(["-e", "-c", &script])
        .current_dir(path)
        .env("HOME", path)
        .env("CARGO_HOME", cargo_home())
        .env("RUSTUP_HOME", rustup_home())
        .env_remove("PKG_CONFIG_PATH")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    drop(making);
    let needs = Command::new("ldd")
        .arg(path.join("workload"))
        .output()
        .unwrap();
    let needs = String::from_utf8_lossy(&needs.stdout).into_owned();
    assert!(needs.contains("luo/lib/libluo_client.so.0"), "{needs}");
    counts(&path.join("workload"));
}

/// Where cargo and rustup keep their things, unless their variables say it.
fn home(variable: &str, folder: &str) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(folder);
    named.unwrap_or_else(home)
}

fn cargo_home() -> PathBuf {
    home("CARGO_HOME", ".cargo")
}

fn rustup_home() -> PathBuf {
    home("RUSTUP_HOME", ".rustup")
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

#[test]
fn memory_goes_over_a_kexec_in_c() {
    let folder = tempfile::tempdir().unwrap();
    let _there = library(FlockOperation::LockShared);
    let library = crate::built().join("libluo_client_c.a");
    let library = [library.to_str().unwrap(), "-lpthread", "-ldl", "-lm"];
    let program = compile("kernel", &folder, &library);
    let program = program.to_str().unwrap();
    let output = simulate(Program::new(program).args([program]), 2);
    assert_eq!(output, "hello from guest-7\n");
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
