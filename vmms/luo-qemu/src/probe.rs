// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a QEMU knows: its version, its machine types and how it migrates. It is asked without a
//! guest.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::exit::Error;
use crate::qmp::{self, Qmp};

/// How long a QEMU without a guest may take. Cold, on a busy machine, it takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a QEMU knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its version.
    pub version: String,
    /// Its machine types.
    pub machines: Vec<Machine>,
    /// Whether it has the migration mode `cpr-reboot`.
    pub has_cpr: bool,
}

/// A machine type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// The name that stands for it in this version of QEMU, and for another one in the next.
    pub alias: Option<String>,
    /// Whether it is taken where none is named.
    pub is_default: bool,
}

/// Asks a QEMU.
///
/// # Errors
/// [`Error::System`] if it cannot be started, [`Error::Unfit`] if it does not speak QMP.
pub fn ask(program: &Path) -> Result<Known, Error> {
    let name = program.display().to_string();
    let failed = || Error::system(name.clone());
    let (ours, theirs) = UnixStream::pair().map_err(failed())?;
    // A copy by dup(2) is inherited.
    let theirs = rustix::io::dup(theirs);
    let theirs = theirs.map_err(|why| failed()(why.into()))?;
    let chardev = format!("socket,id=q,fd={}", theirs.as_raw_fd());
    let child = Command::new(program)
        .args(["-machine", "none", "-nodefaults", "-no-user-config", "-S"])
        .args(["-display", "none", "-chardev", &chardev])
        .args(["-mon", "chardev=q,mode=control"])
        .stdin(Stdio::null())
        .spawn();
    drop(theirs);
    let mut child = child.map_err(failed())?;
    let known = talk(ours);
    end(&mut child);
    known.map_err(|why| Error::Unfit(format!("{name} is no QEMU that can be asked: {why}")))
}

fn end(child: &mut Child) {
    // It has been told to quit, or makes trouble; it has nothing to lose.
    let _ = child.kill();
    let _ = child.wait();
}

fn talk(socket: UnixStream) -> Result<Known, qmp::Error> {
    let end = Instant::now() + PATIENCE;
    let mut qmp = Qmp::greet(socket, end)?;
    let machines = qmp.call("query-machines", json!({}), end)?;
    let schema = qmp.call("query-qmp-schema", json!({}), end)?;
    Ok(Known {
        version: qmp.version().to_owned(),
        machines: each(&machines).filter_map(machine).collect(),
        has_cpr: each(&schema).any(is_cpr),
    })
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn machine(value: &Value) -> Option<Machine> {
    let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(Machine {
        name: text("name")?,
        alias: text("alias"),
        is_default: value.get("is-default") == Some(&Value::Bool(true)),
    })
}

/// Whether this part of the schema is the list of migration modes, with ours in it.
fn is_cpr(part: &Value) -> bool {
    let values = part.get("values").map(each).into_iter().flatten();
    values
        .filter_map(Value::as_str)
        .any(|value| value == "cpr-reboot")
}

impl Known {
    /// The machine type that a name, or none, stands for in this QEMU.
    ///
    /// # Errors
    /// [`Error::Unfit`]: it has none of that name, or this QEMU cannot do it.
    pub fn pin(&self, named: Option<&str>) -> Result<String, Error> {
        if !self.has_cpr {
            return Err(Error::Unfit(format!(
                "QEMU {} has no migration mode `cpr-reboot`, by which a guest's state is written \
                 without its RAM\n  -> use QEMU 8.2 or newer; in Debian 12: \
                 `apt install -t bookworm-backports qemu-system-x86`",
                self.version
            )));
        }
        let is = |machine: &&Machine| match named {
            Some(named) => machine.name == named || machine.alias.as_deref() == Some(named),
            None => machine.is_default,
        };
        match (self.machines.iter().find(is), named) {
            (Some(machine), _) if machine.name == "none" => Err(Error::Unfit(
                "the machine `none` has no RAM\n  -> name another: `-machine q35`".into(),
            )),
            (Some(machine), _) => Ok(machine.name.clone()),
            (None, Some(named)) => Err(Error::Unfit(format!(
                "QEMU {} has no machine `{named}`\n  -> `-machine help` lists those it has",
                self.version
            ))),
            (None, None) => Err(Error::Unfit(format!(
                "QEMU {} has no default machine\n  -> name one with -machine",
                self.version
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let machines = json!([
            {"name": "pc-q35-10.0", "alias": "q35"},
            {"name": "pc-i440fx-10.0", "alias": "pc", "is-default": true},
            {"name": "none"},
        ]);
        Known {
            version: "10.0.2".into(),
            machines: each(&machines).filter_map(machine).collect(),
            has_cpr: true,
        }
    }

    #[test]
    fn an_alias_becomes_the_name_that_the_next_qemu_knows_too() {
        let pinned = |named| known().pin(named).unwrap();
        assert_eq!(pinned(Some("q35")), "pc-q35-10.0");
        assert_eq!(pinned(Some("pc-q35-10.0")), "pc-q35-10.0");
        assert_eq!(pinned(None), "pc-i440fx-10.0");
        for named in ["none", "pc-q35-99.0"] {
            assert!(known().pin(Some(named)).is_err());
        }
    }

    #[test]
    fn a_qemu_that_cannot_do_it_is_refused_with_one_that_can() {
        let mut old = known();
        old.has_cpr = false;
        let why = old.pin(None).unwrap_err().to_string();
        assert!(why.contains("cpr-reboot") && why.contains("8.2"), "{why}");
        assert!(is_cpr(&json!({"values": ["normal", "cpr-reboot"]})));
        assert!(!is_cpr(&json!({"values": ["normal"]})));
        assert!(!is_cpr(&json!({"members": []})));
    }
}
