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
        "NUMA nodes have RAM of their own, which is luo-qemu's to make",
        "leave it out, and say for two nodes `luo-qemu run NAME --memory 2G,2G`",
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
    ("snapshot", LOST, OVERLAY),
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

const LOST: &str = "what the guest writes to its disks would be lost with QEMU";
const OVERLAY: &str = "leave it out; make an overlay with `qemu-img create -b`";

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
            "object" => {
                let parts = parts(value, "qom-type");
                if is(&parts, "qom-type", |kind| {
                    kind.starts_with("memory-backend-")
                }) {
                    return refuse(value, OURS, "leave it out");
                }
            }
            "device" => {
                let parts = parts(value, "driver");
                if is(&parts, "driver", |kind| MEMORY.contains(&kind)) {
                    return refuse(
                        value,
                        "it has memory of its own, which does not survive",
                        "leave it out; the guest's RAM is what --memory says",
                    );
                }
                if is(&parts, "driver", |kind| kind.starts_with("vfio-")) {
                    return refuse(
                        value,
                        "a device of the host is not kept over its kernel yet",
                        "give the guest a virtio device",
                    );
                }
                if is(&parts, "driver", |kind| kind.starts_with("vhost-")) {
                    return refuse(
                        value,
                        ELSEWHERE,
                        "give the guest the virtio device of QEMU's own",
                    );
                }
            }
            "drive" => {
                let parts = parts(value, "file");
                if is(&parts, "snapshot", |value| !is_no(value)) {
                    return refuse(value, LOST, OVERLAY);
                }
            }
            "netdev" | "nic" | "net" => {
                let parts = parts(value, "type");
                if is(&parts, "type", |kind| kind.starts_with("vhost-")) {
                    return refuse(value, ELSEWHERE, "use `-netdev tap` or `-netdev user`");
                }
                let is_asked_for = VHOST
                    .iter()
                    .any(|key| is(&parts, key, |value| !is_no(value)));
                if is_asked_for {
                    return refuse(value, ELSEWHERE, "leave it out, or say `vhost=off`");
                }
            }
            _ => {}
        }
    }
    Ok(given)
}

/// Why what is known as vhost is refused.
const ELSEWHERE: &str = "a part of the device would run in the host's kernel, or in another program, which \
                         writes to the guest's RAM beside QEMU and has a state that QEMU does not hand over";

/// Keys of a network's that have the host's kernel serve it.
const VHOST: [&str; 4] = ["vhost", "vhostforce", "vhostfd", "vhostfds"];

/// Devices that are memory.
const MEMORY: [&str; 6] = [
    "pc-dimm",
    "nvdimm",
    "virtio-mem-pci",
    "virtio-pmem-pci",
    "ivshmem-plain",
    "ivshmem-doorbell",
];

/// The values of an option, in their order.
pub(crate) fn of_option<'a>(
    arguments: &'a [String],
    wanted: &'a str,
) -> impl Iterator<Item = &'a str> {
    let pairs = arguments.iter().zip(arguments.iter().skip(1));
    pairs
        .filter(move |(option, _)| name(option) == Some(wanted))
        .map(|(_, value)| value.as_str())
}

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

/// What an option's value says, key by key: `kind,key=value,flag`, or JSON. The first part need not
/// name its key, which is `implied` then.
pub(crate) fn parts(value: &str, implied: &str) -> Vec<(String, String)> {
    if value.trim_start().starts_with('{') {
        // QEMU itself refuses what is no JSON.
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(value).unwrap_or_default();
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            serde_json::Value::Bool(is_on) => if is_on { "on" } else { "off" }.to_owned(),
            other => other.to_string(),
        };
        return object
            .into_iter()
            .map(|(key, value)| (key, text(value)))
            .collect();
    }
    let each = value.split(',').enumerate();
    let each = each.map(|(place, part)| match part.split_once('=') {
        Some((key, value)) => (key, value),
        None if place == 0 => (implied, part),
        None => (part, "on"),
    });
    each.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Whether a key is given with such a value.
pub(crate) fn is(parts: &[(String, String)], key: &str, wanted: impl Fn(&str) -> bool) -> bool {
    let mut of_key = parts.iter().filter(|(name, _)| name == key);
    of_key.any(|(_, value)| wanted(value))
}

/// QEMU's words for no.
pub(crate) fn is_no(value: &str) -> bool {
    ["off", "no", "false", "n"].contains(&value)
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
            ("-netdev tap,id=n,ifname=t0,script=no,vhost=off", None),
            ("-nic user,model=virtio-net-pci", None),
            ("-drive file=a,format=raw,snapshot=off", None),
            (r#"-netdev {"type":"tap","id":"n","vhost":false}"#, None),
            (r#"-device {"driver":"virtio-net-pci","netdev":"n"}"#, None),
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
            ("-device id=m,driver=pc-dimm", "-device id=m,driver=pc-dimm"),
            (
                r#"-device {"id":"m","driver":"pc-dimm"}"#,
                r#"-device {"id":"m","driver":"pc-dimm"}"#,
            ),
            (
                r#"-device {"driver":"vfio-pci","host":"1"}"#,
                r#"-device {"driver":"vfio-pci","host":"1"}"#,
            ),
            (
                "-object id=x,qom-type=memory-backend-ram",
                "-object id=x,qom-type=memory-backend-ram",
            ),
            (
                "-device vhost-vsock-pci,guest-cid=3",
                "-device vhost-vsock-pci,guest-cid=3",
            ),
            ("-netdev tap,id=n,vhost=on", "-netdev tap,id=n,vhost=on"),
            ("-netdev tap,id=n,vhost", "-netdev tap,id=n,vhost"),
            ("-netdev tap,id=n,vhostfd=7", "-netdev tap,id=n,vhostfd=7"),
            (
                "-netdev id=n,type=vhost-user,chardev=c",
                "-netdev id=n,type=vhost-user,chardev=c",
            ),
            (
                r#"-netdev {"type":"tap","id":"n","vhost":true}"#,
                r#"-netdev {"type":"tap","id":"n","vhost":true}"#,
            ),
            ("-nic tap,vhost=yes", "-nic tap,vhost=yes"),
            ("-snapshot", "-snapshot"),
            ("-drive file=a,snapshot=on", "-drive file=a,snapshot=on"),
            ("-drive file=a,snapshot", "-drive file=a,snapshot"),
        ] {
            let refusal = judge(&words(line)).unwrap_err();
            assert_eq!(refusal.option, option, "{line}");
            assert!(refusal.to_string().contains("\n  -> "), "{refusal}");
        }
    }
}
