// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[fleet]` of luod's configuration, as the client takes it.

use std::path::Path;

use luo_fleetlock::client::{Client, Error, Settings};
use luo_fleetlock::lock::ClientParams;
use luod::decide::config::Config;
use luod::decide::fleet::Fleet;

use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// Luod's configuration, and what it says of a fleet.
///
/// # Errors
/// It cannot be used, or says nothing of a fleet.
pub fn read(path: &Path) -> Result<(Config, Fleet)> {
    let config = luod::command::config(path).map_err(|why| {
        let message = format!("{why:#}");
        Failure::new(Exit::Config, "config", message).next("luod does not start with it, either")
    })?;
    let Some(fleet) = config.fleet.clone() else {
        let message = format!("{}: there is no [fleet] in it", path.display());
        return Err(Failure::new(Exit::Config, "no-fleet", message)
            .next("write [fleet] and server = \"https://...\" there: luod.toml(5)"));
    };
    Ok((config, fleet))
}

/// Who the machine is in its fleet.
#[must_use]
pub fn who(fleet: &Fleet) -> ClientParams {
    let host = || {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
        name.unwrap_or_default().trim().to_owned()
    };
    ClientParams {
        id: fleet.id.clone().unwrap_or_else(host),
        group: fleet.group.clone(),
    }
}

/// A client. Its files are read anew each time, for a token may be another one by now.
///
/// # Errors
/// A file cannot be used.
pub fn client(fleet: &Fleet) -> core::result::Result<Client, Error> {
    let certificate = fleet.certificate.clone().zip(fleet.key.clone());
    Client::new(&Settings {
        servers: fleet.server.0.clone(),
        ca: fleet.ca.clone(),
        certificate,
        token: fleet.token.clone(),
        timeout: Some(fleet.timeout.0),
    })
}

/// A failure of a call.
#[must_use]
pub fn failed(why: &Error) -> Failure {
    let message = why.to_string();
    match why {
        Error::Refused {
            status: 401 | 403, ..
        } => Failure::new(Exit::Permission, "fleet-permission", message)
            .next("see whose token or certificate is named, and whether it was revoked"),
        Error::Refused { status: 404, .. } => {
            Failure::new(Exit::NotFound, "fleet-not-found", message)
        }
        Error::Refused { .. } => Failure::new(Exit::Refused, "fleet-refused", message),
        Error::Unreachable { why } if why.contains("invalid peer certificate") => {
            Failure::new(Exit::Unavailable, "fleet-unreachable", message).next(
                "nothing was changed; a server is there, and its certificate is not accepted: `ca` \
                 of [fleet], or --ca, is the file with those that it is signed by, and `server` \
                 names it as its certificate does",
            )
        }
        Error::Unreachable { why } if why.contains("received fatal alert") => {
            Failure::new(Exit::Unavailable, "fleet-unreachable", message).next(
                "nothing was changed; a server is there, and does not accept this machine's \
                 certificate: its log says why, and its `client_ca` which ones it takes",
            )
        }
        Error::Unreachable { .. } => Failure::new(Exit::Unavailable, "fleet-unreachable", message)
            .next("nothing was changed; see whether the server runs and can be reached from here"),
        Error::Settings { .. } => Failure::new(Exit::Config, "fleet-settings", message)
            .next("see [fleet] in luod.toml, or the options"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each names what to look at: the server that is there is not what is missing.
    #[test]
    fn why_a_server_is_not_reached_says_what_to_see_to() {
        for (why, says) in [
            (
                "https://a:1: io: invalid peer certificate: UnknownIssuer",
                "--ca",
            ),
            (
                "https://a:1: io: received fatal alert: UnknownCA",
                "client_ca",
            ),
            ("https://a:1: io: Connection refused (os error 111)", "runs"),
        ] {
            let why = Error::Unreachable {
                why: why.to_owned(),
            };
            let Failure::Told(told) = failed(&why) else {
                panic!("{why}");
            };
            let next = told.next.unwrap();
            assert!(next.contains(says), "{next}");
        }
    }
}
