// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who speaks: by a client's certificate, or by a token. A host speaks for itself only.
//!
//! A token is `luo1.ROLE.NAME.PROOF`, the name and the proof in base64; the proof is an
//! HMAC-SHA-256 of the rest under the servers' key. So there is no list of tokens, any server
//! with the key can tell, and one that is lost is revoked by its name or by a new key.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use luo_fleetlock::lock::check_id;
use rustls::pki_types::CertificateDer;
use sha2::Sha256;

use crate::config::Access;

/// Bytes of a key, at least.
pub const KEY: usize = 32;

/// What somebody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Take and give back its own slot.
    Host,
    /// Look.
    Viewer,
    /// Look, and act by hand.
    Admin,
}

impl Role {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }

    fn of(word: &str) -> Option<Self> {
        let all = [Self::Host, Self::Viewer, Self::Admin];
        all.into_iter().find(|role| role.word() == word)
    }
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What it may.
    pub role: Role,
    /// Its names; none stands for all of them.
    pub names: Vec<String>,
}

impl Caller {
    /// Somebody who is not asked for a name.
    #[must_use]
    pub const fn anybody() -> Self {
        Self {
            role: Role::Admin,
            names: Vec::new(),
        }
    }

    /// Whether it may speak for a host.
    #[must_use]
    pub fn is(&self, id: &str) -> bool {
        match self.role {
            Role::Host => self.names.iter().any(|name| name == id),
            Role::Admin => self.names.is_empty(),
            Role::Viewer => false,
        }
    }

    /// Whether it may look at all hosts.
    #[must_use]
    pub fn may_look(&self) -> bool {
        matches!(self.role, Role::Viewer | Role::Admin)
    }

    /// Its name, for the log.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or("somebody", String::as_str)
    }
}

/// Whose a connection is.
#[derive(Clone, Debug)]
pub enum Certified {
    /// Nobody has shown a certificate.
    No,
    /// Somebody who is known by it.
    By(Caller),
    /// It has no name, or is revoked.
    Nobody,
}

/// The token in an `Authorization` header: `Bearer TOKEN`, or the password of a browser, whatever
/// the name beside it.
#[must_use]
pub fn presented(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = STANDARD.decode(rest.trim()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    pair.split_once(':')
        .map(|(_, password)| password.to_owned())
}

/// Whether each entry of `revoked` may be somebody's.
///
/// # Errors
/// One would revoke nobody, and what to write.
pub fn check_revoked(access: &Access) -> Result<(), String> {
    let is_somebodys = |entry: &&String| {
        let parts = entry.split_once(':');
        parts.is_some_and(|(role, name)| {
            Role::of(role).is_some() && check_id(name).is_ok() && name.trim() == name
        })
    };
    let bad = access.revoked.iter().find(|entry| !is_somebodys(entry));
    match bad {
        None => Ok(()),
        Some(entry) => Err(format!(
            "[access] revoked: {entry:?} revokes nobody; write \"host:NAME\", \"admin:NAME\" or \
             \"viewer:NAME\""
        )),
    }
}

/// Tells who speaks.
#[derive(Debug)]
pub struct Identities {
    access: Access,
    keys: Vec<Vec<u8>>,
}

fn proof(key: &[u8], role: Role, name: &str) -> Option<Hmac<Sha256>> {
    let mut proof = Hmac::<Sha256>::new_from_slice(key).ok()?;
    proof.update(b"luo-fleet token 1\0");
    proof.update(role.word().as_bytes());
    proof.update(b"\0");
    proof.update(name.as_bytes());
    Some(proof)
}

/// A token.
#[must_use]
pub fn token(key: &[u8], role: Role, name: &str) -> Option<String> {
    let proof = proof(key, role, name)?.finalize().into_bytes();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let name = encode(name.as_bytes());
    Some(format!("luo1.{}.{name}.{}", role.word(), encode(&proof)))
}

impl Identities {
    /// What tells by these rules and keys.
    #[must_use]
    pub const fn new(access: Access, keys: Vec<Vec<u8>>) -> Self {
        Self { access, keys }
    }

    fn is_revoked(&self, role: Role, name: &str) -> bool {
        let revoked = format!("{}:{name}", role.word());
        self.access.revoked.contains(&revoked)
    }

    /// Whose a token is.
    #[must_use]
    pub fn by_token(&self, token: &str) -> Option<Caller> {
        let mut parts = token.strip_prefix("luo1.")?.splitn(3, '.');
        let role = Role::of(parts.next()?)?;
        let name = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let name = String::from_utf8(name).ok()?;
        let given = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        check_id(&name).ok()?;
        let fits = |key: &Vec<u8>| {
            let proof = proof(key, role, &name);
            // In a time that tells nothing.
            proof.is_some_and(|proof| proof.verify_slice(&given).is_ok())
        };
        if !self.keys.iter().any(fits) || self.is_revoked(role, &name) {
            return None;
        }
        Some(Caller {
            role,
            names: vec![name],
        })
    }

    /// Whose a certificate is that TLS has accepted. Its names are those for DNS in it.
    #[must_use]
    pub fn by_certificate(&self, certificate: &CertificateDer<'_>) -> Option<Caller> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        let names: Vec<_> = certificate.valid_dns_names().map(str::to_owned).collect();
        if names.is_empty() {
            return None;
        }
        let listed = |list: &[String]| names.iter().any(|name| list.contains(name));
        let role = if listed(&self.access.admins) {
            Role::Admin
        } else if listed(&self.access.viewers) {
            Role::Viewer
        } else {
            Role::Host
        };
        let names: Vec<_> = names
            .into_iter()
            .filter(|name| !self.is_revoked(role, name))
            .collect();
        (!names.is_empty()).then_some(Caller { role, names })
    }

    /// Who speaks, if nobody has to say.
    #[must_use]
    pub fn anybody(&self) -> Option<Caller> {
        self.access.open.then(Caller::anybody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_bound_to_its_role_and_name() {
        let key = [7; KEY];
        let access = Access {
            revoked: vec!["host:gone".to_owned()],
            ..Access::default()
        };
        let known = Identities::new(access, vec![vec![1; KEY], key.to_vec()]);
        let own = token(&key, Role::Host, "a.b/c").unwrap();
        let caller = known.by_token(&own).unwrap();
        assert!(caller.is("a.b/c") && !caller.is("a") && !caller.may_look());
        let admin = known.by_token(&token(&key, Role::Admin, "eve").unwrap());
        assert!(admin.is_some_and(|admin| admin.may_look() && !admin.is("eve")));
        // Another role, another name, another key, one that is revoked, and none.
        let other = own.replace("host", "admin");
        let named = own.replacen(&URL_SAFE_NO_PAD.encode("a.b/c"), "ZXZl", 1);
        let foreign = token(&[8; KEY], Role::Host, "a.b/c").unwrap();
        let gone = token(&key, Role::Host, "gone").unwrap();
        for bad in [
            &other,
            &named,
            &foreign,
            &gone,
            "",
            "luo1.host..",
            "luo1.x.YQ.YQ",
        ] {
            assert_eq!(known.by_token(bad), None, "{bad}");
        }
        assert_eq!(known.anybody(), None);
    }

    #[test]
    fn what_revokes_nobody_is_refused() {
        let check = |entry: &str| {
            check_revoked(&Access {
                revoked: vec!["host:a.b".to_owned(), entry.to_owned()],
                ..Access::default()
            })
        };
        check("viewer:mona").unwrap();
        for bad in ["host-7", "hosts:host-7", "host:host-7 ", "host:", ""] {
            assert!(check(bad).unwrap_err().contains("host:NAME"), "{bad}");
        }
    }

    #[test]
    fn a_browser_presents_a_token_as_a_password() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for header in [
            "Bearer luo1.a.b.c",
            "bearer luo1.a.b.c",
            &basic("mona:luo1.a.b.c"),
            &basic(":luo1.a.b.c"),
        ] {
            assert_eq!(presented(header).as_deref(), Some("luo1.a.b.c"), "{header}");
        }
        for header in [
            "",
            "luo1.a.b.c",
            "Digest luo1.a.b.c",
            "Basic !",
            &basic("luo1.a.b.c"),
        ] {
            assert_eq!(presented(header), None, "{header}");
        }
    }
}
