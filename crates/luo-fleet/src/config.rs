// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server's configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::etcd::client::Etcd;
use crate::etcd::connect::{Member, connector};

/// Bytes of the file.
const MAX_TEXT: u64 = 1024 * 1024;

/// The configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens: `[::]:7443`.
    pub listen: Vec<String>,
    /// What its keys in etcd begin with. Two fleets have two.
    pub prefix: String,
    /// How many hosts are let in.
    pub max_hosts: usize,
    /// How many connections there may be. When there are as many, who is quiet for longest leaves.
    pub max_connections: usize,
    /// For how many seconds a host counts as present: more than the longest blackout, and than
    /// the time between two questions of it.
    pub presence: u64,
    /// etcd.
    pub etcd: EtcdConfig,
    /// TLS.
    pub tls: Option<Tls>,
    /// Who may what.
    pub access: Access,
}

/// etcd.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EtcdConfig {
    /// Its members.
    pub endpoints: Vec<String>,
    /// The certificates that theirs are signed by.
    pub ca: Option<PathBuf>,
    /// The server's own certificate for them.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// TLS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate, with those between it and the root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The certificates that clients' are signed by.
    pub client_ca: Option<PathBuf>,
}

/// Who may what.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Everybody may everything, without a certificate and without a token: for trials on one
    /// machine.
    pub open: bool,
    /// The file with the key that tokens are made with; several while one replaces another.
    pub token_keys: Vec<PathBuf>,
    /// Tokens that are not accepted any more: `host:NAME`, `admin:NAME`, `viewer:NAME`.
    pub revoked: Vec<String>,
    /// Names in certificates whose holders are administrators.
    pub admins: Vec<String>,
    /// Names in certificates whose holders may look.
    pub viewers: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec!["[::]:7443".to_owned()],
            prefix: "/luo-fleet/".to_owned(),
            max_hosts: 100_000,
            max_connections: 20_000,
            presence: 3_600,
            etcd: EtcdConfig::default(),
            tls: None,
            access: Access::default(),
        }
    }
}

impl Default for EtcdConfig {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            ca: None,
            certificate: None,
            key: None,
        }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// It cannot be used; the error says what to write.
    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text)?;
        if config.listen.is_empty() {
            bail!("listen: name an address, like \"[::]:7443\"");
        }
        for address in &config.listen {
            let port = address
                .rsplit_once(':')
                .filter(|(host, _)| !host.is_empty());
            if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                bail!("listen: {address:?} is no address with a port, like \"[::]:7443\"");
            }
        }
        if !config.prefix.starts_with('/') {
            bail!("prefix: it begins with a slash, like \"/luo-fleet/\"");
        }
        if !(10..=30 * 24 * 3_600).contains(&config.presence) {
            bail!("presence: 10 to 2592000 seconds");
        }
        if config.max_hosts == 0 || config.max_connections == 0 {
            bail!("max_hosts, max_connections: at least 1");
        }
        let access = &config.access;
        let has_ca = config
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_ca.is_some());
        if access.open == (has_ca || !access.token_keys.is_empty()) {
            bail!(
                "[access]: name token_keys, or client_ca in [tls]; or write open = true, for a \
                 trial on one machine, and neither"
            );
        }
        let has_names = !access.admins.is_empty() || !access.viewers.is_empty();
        if has_names && !has_ca {
            bail!(
                "[access]: admins and viewers are names in certificates: name client_ca in [tls], \
                 too, or make tokens in their place (luo-fleet token --admin NAME)"
            );
        }
        if !access.open && config.tls.is_none() {
            bail!("[tls]: tokens and names travel by TLS only; name certificate and key");
        }
        Ok(config)
    }

    /// Reads the configuration of a file.
    ///
    /// # Errors
    /// It cannot be read or used.
    pub fn read(path: &Path) -> Result<Self> {
        let place = || path.display().to_string();
        if std::fs::metadata(path).with_context(place)?.len() > MAX_TEXT {
            bail!("{}: it is too long", path.display());
        }
        let text = std::fs::read_to_string(path).with_context(place)?;
        Self::parse(&text).with_context(place)
    }

    /// The etcd that it names.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn etcd(&self) -> Result<Etcd> {
        let own = &self.etcd;
        let pair = match (&own.certificate, &own.key) {
            (Some(certificate), Some(key)) => Some((certificate.as_path(), key.as_path())),
            (None, None) => None,
            _ => bail!("[etcd]: certificate and key come together"),
        };
        let members = own.endpoints.iter().map(|text| Member::parse(text));
        let members = members.collect::<Result<Vec<_>>>()?;
        // What is not used is a mistake: it would be thought that etcd was asked by TLS.
        let has_tls = members.iter().any(Member::is_tls);
        let tls = match own.ca.as_deref() {
            Some(_) if !has_tls => bail!("[etcd]: with a ca, endpoints begin with https://"),
            None if has_tls => bail!("[etcd]: name ca, by which the members of https:// are known"),
            None if pair.is_some() => {
                bail!("[etcd]: certificate and key are for https:// and a ca")
            }
            ca => ca.map(|ca| connector(ca, pair)).transpose()?,
        };
        Etcd::new(members, tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_what_has_to_be_said() {
        assert!(Config::parse("").is_err());
        Config::parse("[access]\nopen = true").unwrap();
        let half = "[access]\ntoken_keys = [\"/k\"]\n";
        assert!(
            Config::parse(half)
                .unwrap_err()
                .to_string()
                .contains("[tls]")
        );
        let both = "[access]\nopen = true\ntoken_keys = [\"/k\"]\n";
        assert!(Config::parse(both).is_err());
        let whole = format!("{half}[tls]\ncertificate = \"/c\"\nkey = \"/d\"\n");
        Config::parse(&whole).unwrap();
        assert!(Config::parse("[access]\nopen = true\nopne = 1").is_err());
    }

    /// Each of these would do nothing, or something else than was meant.
    #[test]
    fn what_would_have_no_effect_is_refused() {
        let good = |listen: &str, tls: &str, access: &str| {
            format!(
                "{listen}\n[tls]\ncertificate = \"/c\"\nkey = \"/d\"\n{tls}\n[access]\n\
                 token_keys = [\"/k\"]\n{access}"
            )
        };
        let ca = "client_ca = \"/e\"";
        Config::parse(&good("", ca, "admins = [\"a\"]\nrevoked = [\"host:a.b\"]")).unwrap();
        for (listen, tls, access, says) in [
            ("", "", "admins = [\"mona\"]", "client_ca"),
            ("", "", "viewers = [\"mona\"]", "client_ca"),
            ("listen = [\"fleet-1\"]", ca, "", "[::]:7443"),
            ("listen = [\":7443\"]", ca, "", "[::]:7443"),
            ("listen = [\"[::]:74430\"]", ca, "", "[::]:7443"),
        ] {
            let why = Config::parse(&good(listen, tls, access)).unwrap_err();
            assert!(
                why.to_string().contains(says),
                "{listen} {tls} {access}: {why}"
            );
        }
        let etcd = |text: &str| {
            let text = format!("[access]\nopen = true\n[etcd]\n{text}");
            Config::parse(&text).unwrap().etcd()
        };
        assert!(etcd("endpoints = [\"http://[::1]:2379\", \"http://etcd-1\"]").is_ok());
        for (text, says) in [
            ("endpoints = [\"https://a:2379\"]", "name ca"),
            ("ca = \"/x\"", "https://"),
            ("certificate = \"/x\"\nkey = \"/y\"", "https://"),
            ("certificate = \"/x\"", "together"),
            ("endpoints = [\"a:2379\"]", "http://"),
            ("endpoints = [\"http://a b:1\"]", "http://"),
            ("endpoints = [\"http://:2379\"]", "http://"),
            ("endpoints = [\"http://a:99999\"]", "http://"),
            ("endpoints = [\"http://a/b:1\"]", "http://"),
        ] {
            let why = etcd(text).map(drop).unwrap_err();
            assert!(why.to_string().contains(says), "{text}: {why}");
        }
    }
}
