// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the administrator's QEMU command line says, and what is refused in it: all that can be
//! known before the guest is started. No I/O.

use std::fmt;

/// Something in the command line cannot survive an update, or is luo-qemu's to say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// The option, with its value.
    pub option: String,
    /// Why it is refused.
    pub why: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            option,
            why,
            remedy,
        } = self;
        write!(f, "`{option}`: {why}\n  -> {remedy}")
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The machine type, maybe an alias; `None` is QEMU's default.
    pub machine: Option<String>,
}

/// Options that are refused whatever their value is, with the reason and the remedy.
const NEVER: [(&str, &str, &str); 15] = [
    ("m", OURS, "say `luo-qemu run NAME --memory SIZE`"),
    ("mem-path", OURS, "leave it out: RAM is a memfd of luo-qemu"),
    ("mem-prealloc", OURS, "leave it out"),
    (
        "numa",
        "guest NUMA nodes have RAM of their own, which luo-qemu does not make yet",
        "leave it out",
    ),
    (
        "incoming",
        "luo-qemu gives it where the guest resumes",
        "leave it out",
    ),
    (
        "loadvm",
        "the guest would be taken back to an old state after each update",
        "leave it out; load the snapshot when the guest runs",
    ),
    (
        "daemonize",
        "luo-qemu waits for QEMU, and tells how it ends",
        "leave it out; run luo-qemu as a service",
    ),
    (
        "S",
        "nobody but luo-qemu starts the guest after an update",
        "leave it out",
    ),
    (
        "preconfig",
        "luo-qemu does not configure a machine by QMP",
        "leave it out",
    ),
    (
        "snapshot",
        "what the guest writes to its disks would be lost with QEMU",
        "leave it out; make an overlay with `qemu-img create -b`",
    ),
    (
        "readconfig",
        "luo-qemu does not look into that file, and it may name RAM",
        "write its options on the command line",
    ),
    (
        "nodefconfig",
        "QEMU has it no longer",
        "say -no-user-config",
    ),
    (
        "only-migratable",
        "luo-qemu asks for it when an update is prepared, and says what it is",
        "leave it out",
    ),
    (
        "xen-domid",
        "a guest of Xen has RAM of Xen's",
        "use kvm or tcg",
    ),
    (
        "icount",
        "instruction counting was not tried over an update",
        "leave it out",
    ),
];

const OURS: &str = "the guest's RAM is luo-qemu's to make, or it does not survive";

/// Looks through QEMU's arguments.
///
/// # Errors
/// The first that is refused.
pub fn judge(arguments: &[String]) -> Result<Given, Refusal> {
    let mut given = Given::default();
    let mut rest = arguments.iter().map(String::as_str).peekable();
    while let Some(argument) = rest.next() {
        let Some(option) = name(argument) else {
            continue;
        };
        let refuse = |value: &str, why, remedy| {
            let option = format!("{argument} {value}").trim_end().to_owned();
            Err(Refusal {
                option,
                why,
                remedy,
            })
        };
        // An option's value, but not the next option.
        let value = rest.peek().copied().unwrap_or_default();
        let value = if value.starts_with('-') { "" } else { value };
        if let Some((_, why, remedy)) = NEVER.iter().find(|(never, _, _)| *never == option) {
            return refuse(value, why, remedy);
        }
        match option {
            "machine" | "M" => {
                if part(value, "memory-backend").is_some() || part(value, "memory").is_some() {
                    return refuse(value, OURS, "leave `memory-backend` out");
                }
                if let Some(machine) = machine(value) {
                    given.machine = Some(machine.to_owned());
                }
            }
            "cpu" if ["host", "max"].contains(&first(value)) => {
                return refuse(
                    value,
                    "the next kernel may offer the guest another processor in the middle of its run",
                    "name a model, for example `-cpu Skylake-Server-v4`; `qemu-system-x86_64 -cpu help` lists them",
                );
            }
            "object"
                if first(value).starts_with("memory-backend-")
                    || is_json(value, "memory-backend-") =>
            {
                return refuse(value, OURS, "leave it out");
            }
            "device" if MEMORY.contains(&first(value)) => {
                return refuse(
                    value,
                    "it has memory of its own, which does not survive",
                    "leave it out; the guest's RAM is what --memory says",
                );
            }
            "device" if first(value).starts_with("vfio-") => {
                return refuse(
                    value,
                    "a device of the host is not kept over its kernel yet",
                    "give the guest a virtio device",
                );
            }
            _ => {}
        }
    }
    Ok(given)
}

/// Devices that are memory.
const MEMORY: [&str; 6] = [
    "pc-dimm",
    "nvdimm",
    "virtio-mem-pci",
    "virtio-pmem-pci",
    "ivshmem-plain",
    "ivshmem-doorbell",
];

/// The name of an option: QEMU takes one dash or two.
fn name(argument: &str) -> Option<&str> {
    let name = argument.strip_prefix('-')?;
    let name = name.strip_prefix('-').unwrap_or(name);
    (!name.is_empty()).then_some(name)
}

/// The value's first part, up to a comma.
fn first(value: &str) -> &str {
    value.split(',').next().unwrap_or_default()
}

/// The value of a key in `key=value,...`.
fn part<'a>(value: &'a str, key: &str) -> Option<&'a str> {
    let mut parts = value.split(',').filter_map(|part| part.split_once('='));
    parts.find_map(|(name, value)| {
        (name == key || name.starts_with(&format!("{key}."))).then_some(value)
    })
}

/// The machine type in the value of `-machine`.
fn machine(value: &str) -> Option<&str> {
    let named = part(value, "type");
    let first = first(value);
    named.or_else(|| (!first.is_empty() && !first.contains('=')).then_some(first))
}

/// Whether an object in JSON is of a type that begins so.
fn is_json(value: &str, prefix: &str) -> bool {
    let object: Option<serde_json::Value> = serde_json::from_str(value).ok();
    let kind = object.as_ref().and_then(|object| object.get("qom-type"));
    kind.and_then(serde_json::Value::as_str)
        .is_some_and(|kind| kind.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_says_nothing_of_ram_passes_and_the_machine_is_found() {
        for (line, machine) in [
            ("", None),
            ("-nographic -drive file=a,format=raw", None),
            ("-machine q35", Some("q35")),
            ("-M pc,accel=tcg", Some("pc")),
            ("-machine accel=kvm", None),
            (
                "--machine accel=kvm,type=pc-q35-10.0 -cpu qemu64",
                Some("pc-q35-10.0"),
            ),
            ("-machine pc -machine smm=off", Some("pc")),
            ("-machine pc -machine q35", Some("q35")),
            ("-device virtio-rng-pci -object rng-random,id=r", None),
            // The value of another option, not an option.
            ("-name m", None),
        ] {
            let given = judge(&words(line)).unwrap();
            assert_eq!(given.machine.as_deref(), machine, "{line}");
        }
    }

    #[test]
    fn each_refusal_names_the_option_and_what_to_do() {
        for (line, option) in [
            ("-m 512", "-m 512"),
            ("--m 512", "--m 512"),
            ("-cpu host", "-cpu host"),
            ("-cpu host,-xsave", "-cpu host,-xsave"),
            ("-cpu max", "-cpu max"),
            (
                "-machine q35,memory-backend=x",
                "-machine q35,memory-backend=x",
            ),
            ("-machine q35,memory.size=1G", "-machine q35,memory.size=1G"),
            (
                "-object memory-backend-ram,id=x,size=1G",
                "-object memory-backend-ram,id=x,size=1G",
            ),
            (
                r#"-object {"qom-type":"memory-backend-ram"}"#,
                r#"-object {"qom-type":"memory-backend-ram"}"#,
            ),
            ("-nographic -S -m 1", "-S"),
            ("-daemonize", "-daemonize"),
            ("-incoming defer", "-incoming defer"),
            ("-numa node", "-numa node"),
            ("-device pc-dimm,memdev=m", "-device pc-dimm,memdev=m"),
            ("-device vfio-pci,host=1", "-device vfio-pci,host=1"),
            ("-snapshot", "-snapshot"),
        ] {
            let refusal = judge(&words(line)).unwrap_err();
            assert_eq!(refusal.option, option, "{line}");
            assert!(refusal.to_string().contains("\n  -> "), "{refusal}");
        }
    }
}
