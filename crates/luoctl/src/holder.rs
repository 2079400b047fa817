// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who has the device open, or a session that luod has let go of.
//!
//! Under its unit luod has few capabilities, and may not look at the files of programs that have
//! more, which is who can open the device. It does not get CAP_SYS_PTRACE for that: it reads what
//! all kinds of peers send, and with it could read the memory of each program of the machine.
//! Whoever runs luoctl as an administrator has it anyhow, so luoctl looks.

use luo_preflight::running::holders;
use luo_preflight::system::System;
use luo_varlink::Report;
use luo_varlink::admin::Error as Refusal;

/// What a call of an administrator may end with.
type Error = luo_client::agent::Error<Refusal>;

/// Adds to a report of luod's who has the device or a session, where that is what stands in the way
/// and luod does not know it.
pub(crate) fn name(report: &mut Report) {
    name_of(report, &System::default());
}

/// The same for a refusal that has a report.
pub(crate) fn named(mut error: Error) -> Error {
    if let Error::Refused(Refusal::CheckFailed { report }) = &mut error {
        name(report);
    }
    error
}

fn name_of(report: &mut Report, system: &System) {
    let mut checks = report.checks.iter_mut();
    if let Some(check) = checks.find(|check| holders::is_of_unknown_holder(check)) {
        holders::name_holders(check, &system.holders());
    }
    for check in &mut report.checks {
        if let Some(name) = holders::session_of_unknown_holder(check) {
            let holders = system.holders_of_new_session(name, &[]);
            holders::name_holders_of_session(check, &holders);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn who_has_a_session_that_luod_has_let_go_of_is_named() {
        let root = tempfile::tempdir().unwrap();
        let process = root.path().join("proc/34");
        fs::create_dir_all(process.join("fdinfo")).unwrap();
        fs::write(process.join("comm"), "sleep\n").unwrap();
        let text = "luo-name: box's\nluo-direction: outgoing\n";
        fs::write(process.join("fdinfo/5"), text).unwrap();
        let report = |holders: &[String]| Report {
            ok: true,
            checks: vec![holders::session_elsewhere("box's", "vmm", holders)],
        };
        let mut seen = report(&[]);
        name_of(&mut seen, &System::at(root.path()));
        assert_eq!(seen, report(&["sleep (34)".to_owned()]));
        let again = seen.clone();
        name_of(&mut seen, &System::at(root.path()));
        assert_eq!(seen, again);
    }

    #[test]
    fn whoever_luod_does_not_see_is_named() {
        let root = tempfile::tempdir().unwrap();
        let process = root.path().join("proc/34");
        fs::create_dir_all(process.join("fd")).unwrap();
        fs::write(process.join("comm"), "criu\n").unwrap();
        std::os::unix::fs::symlink("/dev/liveupdate", process.join("fd/5")).unwrap();
        let report = |holders: &[String]| Report {
            ok: false,
            checks: vec![holders::device("EBUSY", holders)],
        };
        let system = System::at(root.path());
        let mut seen = report(&[]);
        name_of(&mut seen, &system);
        assert_eq!(seen, report(&["criu (34)".to_owned()]));
        // What luod knows stands.
        let known = report(&["vmm (7)".to_owned()]);
        let mut seen = known.clone();
        name_of(&mut seen, &system);
        assert_eq!(seen, known);
    }
}
