// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[fleet]` of the configuration: by whose leave this machine is updated. luod itself talks to
//! nobody outside of the machine; `luoctl update --fleet` and `luoctl fleet keep` do.

use std::path::PathBuf;

use serde::Deserialize;

use super::seconds::Seconds;

/// By whose leave this machine is updated.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// The servers' bases: `https://fleet.example.org:7443`. Any of them will do.
    pub server: Servers,
    /// The machine's name in the fleet; its host name if there is none.
    pub id: Option<String>,
    /// Its group.
    #[serde(default = "default_group")]
    pub group: String,
    /// The file with the certificates that the servers' are signed by (PEM).
    pub ca: Option<PathBuf>,
    /// The file with the machine's own certificate (PEM).
    pub certificate: Option<PathBuf>,
    /// The file with its key.
    pub key: Option<PathBuf>,
    /// The file with its token.
    pub token: Option<PathBuf>,
    /// How long a server may take.
    #[serde(default = "default_timeout")]
    pub timeout: Seconds,
    /// The command that says by its exit status whether the machine is healthy after an update.
    #[serde(default)]
    pub health: Vec<String>,
    /// How long it may take.
    #[serde(default = "default_health_timeout")]
    pub health_timeout: Seconds,
    /// The time between two of its runs.
    #[serde(default = "default_health_interval")]
    pub health_interval: Seconds,
    /// For how long it has to say so without a break, before the slot is given back.
    pub soak: Option<Seconds>,
}

/// One server, or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMore")]
pub struct Servers(pub Vec<String>);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a server, or a list of servers, is expected here"
)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Servers {
    fn from(servers: OneOrMore) -> Self {
        Self(match servers {
            OneOrMore::One(server) => vec![server],
            OneOrMore::More(servers) => servers,
        })
    }
}

fn default_group() -> String {
    // As Zincati has it.
    "default".to_owned()
}

const fn seconds(seconds: u64) -> Seconds {
    Seconds(core::time::Duration::from_secs(seconds))
}

const fn default_timeout() -> Seconds {
    seconds(20)
}

const fn default_health_timeout() -> Seconds {
    seconds(60)
}

const fn default_health_interval() -> Seconds {
    seconds(10)
}

/// Servers that may be named.
const MAX_SERVERS: usize = 16;

impl Fleet {
    /// Looks for values that nobody means. Says the key, and what to write.
    ///
    /// # Errors
    /// There is one.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let servers = &self.server.0;
        let good =
            |server: &String| server.starts_with("https://") || server.starts_with("http://");
        if servers.is_empty() || servers.len() > MAX_SERVERS || !servers.iter().all(good) {
            let why = "a server begins with https:// (or http://, for trials); 1 to 16 of them";
            return Err(("server", why.to_owned()));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if self.group.is_empty() || self.group.len() > 64 || !self.group.bytes().all(fits) {
            let why = "a group is 1 to 64 letters, digits, dots and hyphens";
            return Err(("group", why.to_owned()));
        }
        if let Some(id) = &self.id
            && (id.is_empty() || id.len() > 128 || id.chars().any(char::is_control))
        {
            let why = "a name is 1 to 128 bytes without control characters";
            return Err(("id", why.to_owned()));
        }
        if self.certificate.is_some() != self.key.is_some() {
            let key = if self.key.is_some() {
                "key"
            } else {
                "certificate"
            };
            return Err((key, "certificate and key come together".to_owned()));
        }
        let files = [
            ("ca", &self.ca),
            ("certificate", &self.certificate),
            ("key", &self.key),
            ("token", &self.token),
        ];
        for (key, path) in files {
            if path.as_ref().is_some_and(|path| !path.is_absolute()) {
                return Err((key, "a path begins with /".to_owned()));
            }
        }
        match self.health.first() {
            Some(program) if !program.starts_with('/') => {
                let why = "the command's program is a path that begins with /";
                Err(("health", why.to_owned()))
            }
            _ => Ok(()),
        }
    }
}
