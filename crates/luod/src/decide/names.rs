// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of workloads and sessions: which are possible, and which are an identity's own.
//!
//! The kernel takes any bytes. The agent's names go into files, units and the service
//! manager's descriptor store, so they are plain: letters, digits, `.`, `_`, `@`, `-`, and `\`,
//! with which `systemd-escape` writes other characters in the names of units.

use luo_varlink::Identity;
use luo_varlink::limits::MAX_WORKLOAD_NAME;

/// The agent's own session.
pub const OWN_SESSION: &str = "luod";

/// Names that nobody may have: the service manager's session, and the agent's own.
const RESERVED: [&str; 2] = ["systemd", OWN_SESSION];

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// It is empty.
    #[error("a name must not be empty")]
    Empty,
    /// It is too long.
    #[error("a name has at most {MAX_WORKLOAD_NAME} bytes")]
    TooLong,
    /// It has a character that no name may have.
    #[error(
        "a name consists of letters, digits and . _ @ - \\, and begins with a letter or a digit"
    )]
    Character,
    /// It is reserved.
    #[error("the names 'systemd' and 'luod', and what begins with 'luod.', are reserved")]
    Reserved,
}

/// Checks a name of a workload or of a session.
///
/// # Errors
/// [`BadName`]
pub fn check(name: &str) -> Result<(), BadName> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-\\".contains(&byte);
    match name.bytes().next() {
        None => return Err(BadName::Empty),
        Some(_) if name.len() > MAX_WORKLOAD_NAME => return Err(BadName::TooLong),
        Some(first) if !first.is_ascii_alphanumeric() => return Err(BadName::Character),
        Some(_) if !name.bytes().all(plain) => return Err(BadName::Character),
        Some(_) => {}
    }
    if RESERVED.contains(&name) || name.starts_with("luod.") {
        return Err(BadName::Reserved);
    }
    Ok(())
}

/// Checks a pattern of names, with `*` and `?`: whether any name could fit it.
///
/// # Errors
/// As [`check`].
pub fn check_pattern(pattern: &str) -> Result<(), BadName> {
    // The shortest that fits.
    let mut name = pattern.replace('*', "").replace('?', "a");
    let begins = name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    if pattern.starts_with('*') && !begins {
        name.insert(0, 'a');
    }
    match check(&name) {
        // A longer one is not.
        Err(BadName::Reserved) if pattern.contains('*') && !name.starts_with("luod.") => Ok(()),
        checked => checked,
    }
}

/// The name that an identity owns without any policy: a service's is that of its unit,
/// a user's is `uid-` and the number. Names that begin with it and a dot are its own too.
#[must_use]
pub fn own(identity: &Identity) -> String {
    match &identity.unit {
        Some(unit) => unit.strip_suffix(".service").unwrap_or(unit).to_owned(),
        None => format!("uid-{}", identity.uid),
    }
}

/// Whether an identity is a scope: processes that a container's or a guest's manager has put
/// together. A scope has another name each time, so it owns what a rule gives it, and nothing
/// by its name.
#[must_use]
pub fn is_scope(identity: &Identity) -> bool {
    let unit = identity.unit.as_deref();
    unit.is_some_and(|unit| unit.ends_with(".scope"))
}

/// Whether what one identity has left may be another's: it is the same, or both are scopes of
/// the same user. That such a one may own the name is asked of the policy besides.
#[must_use]
pub fn is_same(left: &Identity, now: &Identity) -> bool {
    let is_user = (left.uid, left.gid) == (now.uid, now.gid);
    is_user && (left.unit == now.unit || is_scope(left) && is_scope(now))
}

/// Whether a name is an identity's own. Root, if it is no unit, owns all names.
#[must_use]
pub fn is_own(identity: &Identity, name: &str) -> bool {
    if is_scope(identity) {
        return false;
    }
    if identity.uid == 0 && identity.unit.is_none() {
        return true;
    }
    let own = own(identity);
    match name.strip_prefix(own.as_str()) {
        Some(rest) => rest.is_empty() || rest.starts_with('.'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(uid: u32, unit: Option<&str>) -> Identity {
        Identity {
            uid,
            gid: uid,
            unit: unit.map(str::to_owned),
        }
    }

    #[test]
    fn a_pattern_is_one_if_a_name_can_fit() {
        let longest = "a".repeat(MAX_WORKLOAD_NAME);
        let good = ["*", "?", "vm-*", "*-vm", "a", "systemd*", "luo?", &longest];
        let longest = [format!("{longest}*"), format!("*{longest}")];
        for pattern in good.into_iter().chain(longest.iter().map(String::as_str)) {
            assert_eq!(check_pattern(pattern), Ok(()), "{pattern}");
        }
        for pattern in ["", "[a-", "a b*", "luod", "luod.*", "-", "-*", "*/"] {
            assert!(check_pattern(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn names_are_plain() {
        for good in ["a", "vm-7", "vmm@1.ram", "x_y", "7", "luodx", "systemd2"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check(""), Err(BadName::Empty));
        assert_eq!(check(&"x".repeat(63)), Ok(()));
        assert_eq!(check(&"x".repeat(64)), Err(BadName::TooLong));
        for bad in ["-a", ".a", "a b", "a/b", "ä", "a:b", "a\n", "\0"] {
            assert_eq!(check(bad), Err(BadName::Character), "{bad:?}");
        }
        for reserved in ["systemd", "luod", "luod.record"] {
            assert_eq!(check(reserved), Err(BadName::Reserved), "{reserved}");
        }
    }

    #[test]
    fn a_service_owns_what_is_named_after_it() {
        let cache = identity(990, Some("cache.service"));
        assert!(is_own(&cache, "cache"));
        assert!(is_own(&cache, "cache.index"));
        for other in ["cache2", "cach", "other", "cache-index", "uid-990", ""] {
            assert!(!is_own(&cache, other), "{other}");
        }
        // Root or not: it is confined to its own.
        assert!(!is_own(&identity(0, Some("cache.service")), "other"));
    }

    #[test]
    fn a_service_can_have_its_own_name_however_it_is_escaped() {
        let vmm = identity(0, Some("vmm@g\\x2d1.service"));
        let own = own(&vmm);
        assert_eq!(check(&own), Ok(()));
        assert!(is_own(&vmm, &own) && is_own(&vmm, &format!("{own}.ram")));
        // Two units never own the same name.
        assert!(!is_own(&vmm, "vmm@g-1"));
    }

    #[test]
    fn a_scope_owns_nothing_by_its_name() {
        let scope = identity(0, Some("machine-qemu\\x2d1\\x2dguest.scope"));
        for name in ["anything", "machine-qemu\\x2d1\\x2dguest", "uid-0"] {
            assert!(!is_own(&scope, name), "{name}");
        }
        let later = identity(0, Some("machine-qemu\\x2d2\\x2dguest.scope"));
        assert!(is_same(&scope, &later) && is_same(&scope, &scope));
        assert!(!is_same(&scope, &identity(7, later.unit.as_deref())));
        for other in [None, Some("cache.service")] {
            assert!(!is_same(&scope, &identity(0, other)));
            assert!(!is_same(&identity(0, other), &scope));
        }
    }

    #[test]
    fn a_user_owns_its_number_and_root_owns_all() {
        let user = identity(1000, None);
        assert!(is_own(&user, "uid-1000") && is_own(&user, "uid-1000.vm"));
        assert!(!is_own(&user, "uid-10001") && !is_own(&user, "uid-100"));
        assert!(is_own(&identity(0, None), "anything"));
    }
}
