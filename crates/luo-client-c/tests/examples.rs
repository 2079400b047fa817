// SPDX-License-Identifier: MIT OR Apache-2.0
//! The examples in C do what they say: under the simulator, over updates.

#[path = "../../luo-client/tests/simulated.rs"]
mod simulated;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use luo_sim::Program;
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use simulated::{counts, simulate};

/// The folder of this program, in which cargo has put what it has built.
fn built() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().into()
}

/// The program that runs under the simulator. It is built with the tests: by `cargo test
/// -p luo-client-c`, not by `--test examples` alone.
fn guest() -> PathBuf {
    let program = built().join("../examples/luo-client-c-guest");
    assert!(program.exists(), "{} is not built", program.display());
    program
}

/// An example in C, compiled with all warnings as errors.
fn compile(name: &str, into: &TempDir, library: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
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
    let lock = built().join("libluo_client_c.lock");
    let lock = fs::File::create(lock).unwrap();
    flock(&lock, change).unwrap();
    lock
}

#[test]
fn the_workload_in_c_counts_its_starts() {
    let folder = tempfile::tempdir().unwrap();
    let _there = library(FlockOperation::LockShared);
    // As it is installed: by the name that programs link, and by that they look for.
    let shared = built().join("libluo_client_c.so");
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

#[test]
fn memory_goes_over_a_kexec_in_c() {
    let folder = tempfile::tempdir().unwrap();
    let _there = library(FlockOperation::LockShared);
    let library = built().join("libluo_client_c.a");
    let library = [library.to_str().unwrap(), "-lpthread", "-ldl", "-lm"];
    let program = compile("kernel", &folder, &library);
    let program = program.to_str().unwrap();
    let output = simulate(Program::new(program).args([program]), 2);
    assert_eq!(output, "hello from guest-7\n");
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
