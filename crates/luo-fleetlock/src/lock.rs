// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a host says, and how it is refused.

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_GROUP, MAX_ID};
use crate::report::{Asking, Report};

/// The header that each call has, so that a request which was sent here by mistake does nothing.
pub const HEADER: &str = "fleet-lock-protocol";

/// The value of [`HEADER`].
pub const HEADER_VALUE: &str = "true";

/// The path of the call that takes a slot, behind the server's base.
pub const PRE_REBOOT: &str = "/v1/pre-reboot";

/// The path of the call that gives a slot back.
pub const STEADY_STATE: &str = "/v1/steady-state";

/// The path of the call that tells of a host which keeps its slot. It is this project's own;
/// another server says 404, and then nobody is told.
pub const REPORT: &str = "/v1/liveupdate/report";

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
pub struct ClientParams {
    /// The host's name.
    pub id: String,
    /// Its group.
    pub group: String,
}

/// The body of each call.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Body {
    /// Who speaks.
    pub client_params: ClientParams,
    /// With `pre-reboot`: what the host runs, and would run. Other servers ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveupdate: Option<Asking>,
    /// With `steady-state` and a report: what came of the update. Other servers ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveupdate_outcome: Option<Report>,
}

/// How a call is refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Refusal {
    /// A word for programs; a server has a few of them.
    pub kind: String,
    /// In words.
    pub value: String,
}

impl ClientParams {
    /// Looks at what came from outside.
    ///
    /// # Errors
    /// What is wrong about it.
    pub fn check(&self) -> Result<(), &'static str> {
        check_id(&self.id)?;
        check_group(&self.group)
    }
}

/// Whether a text may be a host's name.
///
/// # Errors
/// What is wrong about it.
pub fn check_id(id: &str) -> Result<(), &'static str> {
    if id.is_empty() || id.len() > MAX_ID {
        return Err("an id has 1 to 128 bytes");
    }
    if id.chars().any(char::is_control) {
        return Err("an id has no control characters");
    }
    Ok(())
}

/// Whether a text may be a group's name: `^[a-zA-Z0-9.-]+$`, as the protocol has it.
///
/// # Errors
/// What is wrong about it.
pub fn check_group(group: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    if group.is_empty() || group.len() > MAX_GROUP || !group.bytes().all(fits) {
        return Err("a group is 1 to 64 letters, digits, dots and hyphens");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocols_own_example_is_read() {
        let text = r#"{"client_params": {"group": "default",
                       "id": "c988d2509fdf5cdcbed39037c56406fb"}}"#;
        let body: Body = serde_json::from_str(text).unwrap();
        assert_eq!(body.client_params.group, "default");
        body.client_params.check().unwrap();
        // What others would not know is left out.
        let written = serde_json::to_value(&body).unwrap();
        assert_eq!(written.as_object().unwrap().len(), 1);
    }

    #[test]
    fn names_have_rules() {
        for bad in ["", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(check_group(bad).is_err(), "{bad}");
        }
        for bad in ["", "a\nb", &"x".repeat(129)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
        check_id("host 7/ä").unwrap();
        check_group("rack-7.a").unwrap();
    }
}
