// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine with an agent, under the simulator.

use std::path::{Path, PathBuf};

use luo_sim::system::System;
use luo_sim::{Fault, Outcome, Program, Simulator};
use luo_varlink::paths;
use tempfile::TempDir;

pub(crate) const LUOCTL: &str = env!("CARGO_BIN_EXE_luoctl");

/// Another program of the machine: `luod`, `luo-sim` or `workload`. They are built with
/// the tests: by `cargo test -p luoctl`, not by `--test luoctl` alone.
pub(crate) fn program(name: &str) -> PathBuf {
    built(&format!("luoctl-test-{name}"))
}

fn built(name: &str) -> PathBuf {
    let folder = Path::new(LUOCTL).parent().unwrap().join("examples");
    let program = folder.join(name);
    assert!(program.exists(), "{} is not built", program.display());
    program
}

/// A machine that is being put together.
pub(crate) struct Machine {
    folder: TempDir,
    boots: Vec<String>,
    fault: Option<Fault>,
    parameters: String,
}

impl Machine {
    /// A machine whose agent has this configuration beside what the tests need.
    pub(crate) fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let system = path.join("system");
        System::default().write(&system).unwrap();
        let uid = rustix::process::getuid().as_raw();
        let policy = format!("[[allow]]\nuid = {uid}\nnames = [\"*\"]\n");
        std::fs::write(path.join("policy.toml"), policy).unwrap();
        let image = System::image(&system);
        let config = format!(
            "state_directory = {:?}\n{config}\n[checks]\nroot = {system:?}\n\
             [target]\nimage = {image:?}\ncommand_line = \"liveupdate=on kho=on\"\n",
            path.join("state")
        );
        std::fs::write(path.join("luod.toml"), config).unwrap();
        Self {
            folder,
            boots: Vec::new(),
            fault: None,
            parameters: String::new(),
        }
    }

    /// The script of one more boot.
    pub(crate) fn boot(mut self, script: &str) -> Self {
        self.boots.push(script.to_owned());
        self
    }

    /// A boot in which a workload is there and the machine jumps.
    pub(crate) fn jumps_with(self, workload: &str) -> Self {
        self.boot(&format!("luod\nworkload {workload}\njump luoctl update"))
    }

    /// Something goes wrong.
    pub(crate) fn fault(mut self, text: &str) -> Self {
        self.fault = Some(text.parse().unwrap());
        self
    }

    /// The command line of its first kernel.
    pub(crate) fn parameters(mut self, line: &str) -> Self {
        line.clone_into(&mut self.parameters);
        self
    }

    /// Runs it, and gives all that was written.
    pub(crate) fn run(self) -> String {
        let (outcome, log) = self.run_to_the_end();
        assert!(
            outcome.success(),
            "{:?}\n{}\n{log}",
            outcome.ending,
            outcome.output()
        );
        outcome.output()
    }

    /// Where its luod has the history.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn run_to_the_end(self) -> (Outcome, String) {
        self.run_once()
    }

    /// Runs it, and leaves what it has written where it is.
    pub(crate) fn run_once(&self) -> (Outcome, String) {
        let folder = self.folder.path();
        let mut simulator = Simulator::new()
            .capture()
            .parameters(self.parameters.clone());
        if let Some(fault) = self.fault {
            simulator = simulator.fault(fault);
        }
        for (number, script) in self.boots.iter().enumerate() {
            // A folder of a boot's own, as on a machine.
            let runtime = folder.join(format!("run-{number}"));
            let program = Program::new(built("luoctl-guest"))
                .arg(script)
                .env("LUOCTL_TEST_FOLDER", folder)
                .env("LUOCTL_TEST_LUOD", program("luod"))
                .env("LUOCTL_TEST_LUOCTL", LUOCTL)
                .env("LUOCTL_TEST_SIMULATOR", program("luo-sim"))
                .env(paths::RUNTIME_VARIABLE, runtime);
            simulator = simulator.boot(program);
        }
        let outcome = simulator.run().unwrap();
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        (outcome, log)
    }
}

/// Compares with what is known, but for what is another one each time.
macro_rules! compare {
    ($name:literal, $output:expr) => {
        settings().bind(|| insta::assert_snapshot!($name, $output));
    };
}

pub(crate) use compare;

/// A cache that one other workload needs.
pub(crate) const TWO: &str = "
    luod
    workload cache
    workload web needs=cache
";

pub(crate) fn two(script: &str) -> String {
    Machine::new("").boot(&format!("{TWO}{script}")).run()
}

/// Takes out of a snapshot what is another one each time.
pub(crate) fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    settings.add_filter(&regex_of(&release), "RELEASE");
    for (pattern, text) in [
        // How wide a column is follows from what stands in it.
        (r"(\S) {2,}", "$1  "),
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "ID",
        ),
        (r"\b[0-9a-f]{8}\b", "ID8"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "DATE"),
        (r"\d\d:\d\d:\d\d\.\d{3}", "TIME"),
        (r" *[+-]\d+\.\d{3} s", " SECONDS"),
        (
            r#""(time_us|began_us|took_us|blackout_us)": ?\d+"#,
            r#""$1": 0"#,
        ),
        (r" *\b\d+(\.\d+)? (us|ms|s)\b", " TIME"),
        (
            r"\d+ checks, \d+ failed(, warnings: [a-z-]+(, [a-z-]+)*)?",
            "CHECKS",
        ),
        // The agent decides which checks there are.
        (
            r"(?m)(^(ok|warning|unknown|failed) .*\n( +.*\n)*)+",
            "CHECKS\n",
        ),
        (r#"(?s)"checks": \[.*?\n    \]"#, r#""checks": []"#),
        (r"uid \d+, gid \d+(, [^ \n]+\.service)?", "WHO"),
        (r#""(uid|gid)": \d+"#, r#""$1": 0"#),
        (r#""unit": ("[^"]*"|null)"#, r#""unit": null"#),
        (r"/[^ ]*/luoctl-guest", "GUEST"),
        (r"/tmp/[.\w]+/", "FOLDER/"),
    ] {
        settings.add_filter(pattern, text);
    }
    settings
}

/// A text as a pattern.
fn regex_of(text: &str) -> String {
    let escape = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_string(),
        letter => format!("\\{letter}"),
    };
    text.chars().map(escape).collect()
}
