// SPDX-License-Identifier: MIT OR Apache-2.0
//! The suite under the simulator. What the next boot has to know stands on its kernel's command
//! line.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::case::Machine;
use crate::child;
use crate::drive::{Vehicle, drive};
use crate::implementation::Implementation;
use crate::journey::Onward;

/// The word of the command line with the journey's log.
const LOG: &str = "conformance.log";

/// The word that is there if a kexec took place that had to be refused.
const STRAYED: &str = "conformance.strayed";

/// Runs the suite on the simulated machine that this program is in, or is one of its children.
///
/// # Errors
/// There is no simulator, or the suite could not go on.
pub fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(child::ARGUMENT) {
        child::run(arguments);
    }
    // Elsewhere this would load a kernel and jump into it for real.
    ensure!(
        std::env::var_os("LUO_SIM_BOOT").is_some(),
        "this is for 'luo-sim run --test-driver -- luo-conformance'"
    );
    let line = fs::read_to_string("/proc/cmdline").context("/proc/cmdline")?;
    let machine = Simulated { line };
    drive(Implementation::Simulator, &machine, &mut |report| {
        println!("{report}");
    })
}

/// The simulated machine, which has booted with a command line.
struct Simulated {
    line: String,
}

impl Simulated {
    fn word(&self, name: &str) -> Option<String> {
        let mut words = self.line.split_ascii_whitespace();
        let word = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word.map(str::to_owned)
    }
}

/// Has the next kernel boot with a command line: which one it is does not matter.
fn load(line: &str) -> Result<()> {
    let kernel = File::open("/proc/self/exe")?;
    luo_sys::kexec::load(&kernel, None::<File>, &CString::new(line)?)?;
    Ok(())
}

impl Machine for Simulated {
    fn refused_kexec(&self, case: &str) -> Result<luo_sys::Error> {
        load(&format!("{STRAYED}={case}"))?;
        Ok(luo_sys::kexec::execute())
    }

    fn module(&self, _: &str) -> Option<PathBuf> {
        None
    }
}

impl Vehicle for Simulated {
    fn log(&self) -> Option<String> {
        self.word(LOG)
    }

    fn strayed(&self) -> Option<String> {
        self.word(STRAYED)
    }

    fn jump(&self, onward: &Onward) -> Result<luo_sys::Error> {
        let mut line = format!("{LOG}={}", onward.log);
        for (name, value) in &onward.parameters {
            line += &format!(" {name}={value}");
        }
        load(&line)?;
        Ok(luo_sys::kexec::execute())
    }
}
