// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a kernel has allocated and nobody refers to any more, as its own checker says.

use std::fs;
use std::path::Path;
use std::time::Duration;

use luo_lab_protocol::Outcome;

use crate::port;

/// There is none in kernels without the checker.
const CHECKER: &str = "/sys/kernel/debug/kmemleak";

/// The checker leaves out what is younger than five seconds: its address may be in a
/// register still.
const AGE: Duration = Duration::from_secs(6);

/// How much of a report goes into a case.
const MOST: usize = 4000;

/// Looks for leaks if this kernel can; a case if there are any, or if this is the last
/// kernel of the scenario.
pub(crate) fn look(last: bool) {
    if !Path::new(CHECKER).exists() {
        return;
    }
    std::thread::sleep(AGE);
    // One scan takes what has changed since the one before for something in use.
    let scans = (0..2).try_for_each(|_| fs::write(CHECKER, "scan"));
    let report = scans.and_then(|()| fs::read(CHECKER));
    match report {
        Ok(found) if found.is_empty() => {
            if last {
                port::case("guest::no-leaks", Outcome::Passed, String::new());
            }
        }
        Ok(found) => {
            let text = String::from_utf8_lossy(&found);
            let text: String = text.chars().take(MOST).collect();
            port::case("guest::no-leaks", Outcome::Failed, text);
        }
        Err(error) => port::case("guest::no-leaks", Outcome::Failed, error.to_string()),
    }
}
