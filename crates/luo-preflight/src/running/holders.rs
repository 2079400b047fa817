// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who has the device, or a session, that an update wants: checks that say so, and to which
//! whoever may look at other programs adds which.

use luo_varlink::{Check, CheckStatus};

use crate::check::{failed, warning};

/// The check of sessions for the next kernel, and what stands before and behind the name of one
/// that is open where nobody expects it.
const SESSIONS: &str = "running-sessions";
const SESSION: &str = "session '";
const ELSEWHERE: &str = "' is open, and luod does not have it: ";

/// The check of a session that some program has, and that a workload has had, or would have.
#[must_use]
pub fn session_elsewhere(name: &str, workload: &str, holders: &[String]) -> Check {
    let mut check = warning(
        SESSIONS,
        format!(
            "{SESSION}{name}{ELSEWHERE}'{workload}' cannot make one of that name, and an update \
             takes this one along as nobody's"
        ),
        "end the program that has it, mostly a child that the workload has left behind: \
         `luoctl check` says to root which that is",
    );
    name_holders_of_session(&mut check, holders);
    check
}

/// The name of the session, of a check that says that a program has it, and not which: whoever
/// has made it may not look at other programs.
#[must_use]
pub fn session_of_unknown_holder(check: &Check) -> Option<&str> {
    if check.name != SESSIONS || check.found.contains(OPEN_IN) {
        return None;
    }
    let (name, _) = check.found.strip_prefix(SESSION)?.split_once(ELSEWHERE)?;
    Some(name)
}

/// Adds to such a check who has the session.
pub fn name_holders_of_session(check: &mut Check, holders: &[String]) {
    if !holders.is_empty() {
        check.found.push_str(OPEN_IN);
        check.found.push_str(&holders.join(", "));
        check.remedy = Some("end that program, mostly a child of the workload".to_owned());
    }
}

/// The check of the device, when somebody has it.
const DEVICE: &str = "running-device";

/// What comes before the names of those who have it.
const OPEN_IN: &str = "; it is open in ";

/// The check of a device that cannot be had, and why.
#[must_use]
pub fn device(why: &str, holders: &[String]) -> Check {
    let mut check = failed(
        DEVICE,
        format!("/dev/liveupdate cannot be had: {why}"),
        "`fuser /dev/liveupdate` says who has it; end that program",
    );
    name_holders(&mut check, holders);
    check
}

/// Whether a check says that somebody has the device, and not who: whoever has made it may not
/// look at other programs.
#[must_use]
pub fn is_of_unknown_holder(check: &Check) -> bool {
    check.name == DEVICE
        && check.status == CheckStatus::Failed
        && check.found.starts_with("/dev/liveupdate cannot be had")
        && !check.found.contains(OPEN_IN)
}

/// Adds to a check of the device who has it.
pub fn name_holders(check: &mut Check, holders: &[String]) {
    if holders.is_empty() {
        return;
    }
    check.found.push_str(OPEN_IN);
    check.found.push_str(&holders.join(", "));
    check.remedy = Some("wait for that program, or end it".to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_device_can_be_named_by_another_who_sees_more() {
        let mut check = device("EBUSY", &[]);
        assert!(is_of_unknown_holder(&check));
        name_holders(&mut check, &[]);
        assert!(check.remedy.as_ref().unwrap().contains("fuser"));
        name_holders(&mut check, &["criu (34)".to_owned()]);
        assert!(!is_of_unknown_holder(&check));
        assert_eq!(check, device("EBUSY", &["criu (34)".to_owned()]));
        assert!(
            check.found.ends_with("EBUSY; it is open in criu (34)"),
            "{check:?}"
        );
    }
}
