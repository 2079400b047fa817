// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a command line of cloud-hypervisor may have. Where something of it cannot survive an
//! update this is said before the guest is started, and not when the machine is to jump.

/// A command line that can survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The program.
    pub program: String,
    /// Its arguments for a first start.
    pub first: Vec<String>,
    /// Those of them that are of the process and not of the guest: a guest that comes over
    /// brings the rest of them with it.
    pub again: Vec<String>,
}

/// Options of the process, and whether a value follows.
const OF_THE_PROCESS: &[(&str, bool)] = &[
    ("--log-file", true),
    ("--seccomp", true),
    ("--event-monitor", true),
    ("-v", false),
    ("-vv", false),
    ("-vvv", false),
];

/// Options that cannot survive, or that are ours, and why.
const NEVER: &[(&str, &str)] = &[
    ("--api-socket", "luo-ch makes that socket itself"),
    (
        "--restore",
        "luo-ch brings the guest back itself: leave it out",
    ),
    (
        "--device",
        "a device of the host (VFIO) does not go over an update yet",
    ),
    (
        "--user-device",
        "a device of another process does not go over an update",
    ),
    (
        "--fs",
        "a file system that another process serves does not go over an update",
    ),
    ("--gdb", "a debugger keeps the guest where it is"),
];

/// Words within a value that cannot survive, by option, and why.
const NEVER_WITHIN: &[(&str, &str, &str)] = &[
    (
        "--net",
        "fd=",
        "descriptors of network devices are not handed over by an offload: name a tap",
    ),
    (
        "--net",
        "vhost_user=true",
        "a network device that another process serves does not go over an update",
    ),
    (
        "--disk",
        "vhost_user=true",
        "a disk that another process serves does not go over an update",
    ),
    (
        "--platform",
        "tdx=on",
        "a confidential guest cannot be handed over",
    ),
    (
        "--platform",
        "sev_snp=on",
        "a confidential guest cannot be handed over",
    ),
    (
        "--memory",
        "hotplug_method=virtio-mem",
        "which blocks of virtio-mem are plugged is not handed over: leave it out",
    ),
];

/// Looks at a command line.
///
/// # Errors
/// What cannot be, with what to do.
pub fn look(program: &str, arguments: &[String]) -> Result<Given, String> {
    let mut again = Vec::new();
    let mut is_shared = None;
    let mut option = String::new();
    for argument in arguments {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (argument.as_str(), None),
        };
        if argument.starts_with('-') {
            option = name.to_owned();
            if let Some((_, why)) = NEVER.iter().find(|(never, _)| *never == name) {
                return Err(format!("{name}: {why}"));
            }
        }
        // Options may have several values: each is looked at.
        let value = match argument.starts_with('-') {
            true => value,
            false => Some(argument.as_str()),
        };
        let of_process = OF_THE_PROCESS.iter().find(|(known, _)| *known == option);
        if let Some((_, takes)) = of_process
            && (argument.starts_with('-') || *takes)
        {
            again.push(argument.clone());
        }
        let Some(value) = value else { continue };
        for (_, word, why) in NEVER_WITHIN.iter().filter(|(known, ..)| *known == option) {
            if value.split(',').any(|part| part.starts_with(word)) {
                return Err(format!("{option} {value}: {why}"));
            }
        }
        let is_empty = value.split(',').any(|part| part == "size=0");
        if matches!(option.as_str(), "--memory" | "--memory-zone") && !is_empty {
            let shared = value
                .split(',')
                .any(|part| part == "shared=on" || part == "shared=true");
            is_shared = Some(is_shared.unwrap_or(true) && shared);
        }
    }
    match is_shared {
        Some(true) => Ok(Given {
            program: program.to_owned(),
            first: arguments.to_vec(),
            again,
        }),
        _ => Err(
            "the guest's memory has to be shared to stay where it is: say \
             --memory size=...,shared=on (and shared=on for each --memory-zone)"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: &str) -> Result<Given, String> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        look("cloud-hypervisor", &words)
    }

    #[test]
    fn what_is_of_the_process_is_given_again_and_the_guest_is_not() {
        let line = "--kernel vmlinux --memory size=1G,shared=on --log-file=/log -v --seccomp log \
                    --disk path=a path=b --cpus boot=2";
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let given = at(&line).unwrap();
        assert_eq!(given.first.join(" "), line);
        assert_eq!(given.again.join(" "), "--log-file=/log -v --seccomp log");
    }

    #[test]
    fn memory_has_to_be_shared() {
        assert!(at("--memory size=1G,shared=on").is_ok());
        assert!(at("--memory=size=1G,shared=on").is_ok());
        assert!(at("--memory size=0 --memory-zone id=a,size=1G,shared=on").is_ok());
        for wrong in [
            "--kernel vmlinux",
            "--memory size=1G",
            "--memory size=1G,shared=off",
            "--memory size=0 --memory-zone id=a,size=1G,shared=on id=b,size=1G",
        ] {
            let why = at(wrong).unwrap_err();
            assert!(why.contains("shared=on"), "{wrong}: {why}");
        }
    }

    #[test]
    fn what_cannot_survive_is_refused_by_name() {
        let with = |more: &str| at(&format!("--memory size=1G,shared=on {more}"));
        for (wrong, named) in [
            ("--api-socket /x", "--api-socket"),
            ("--api-socket=/x", "--api-socket"),
            ("--restore source_url=file:///x", "--restore"),
            ("--device path=/sys/x", "--device"),
            ("--net tap=t fd=3", "fd=3"),
            ("--net tap=t,vhost_user=true", "vhost_user=true"),
            ("--platform num_pci_segments=2,tdx=on", "tdx=on"),
        ] {
            let why = with(wrong).unwrap_err();
            assert!(why.contains(named), "{wrong}: {why}");
        }
        assert!(with("--net tap=tap0,mac=aa:bb:cc:dd:ee:ff").is_ok());
        let mem = at("--memory size=1G,shared=on,hotplug_method=virtio-mem");
        assert!(mem.unwrap_err().contains("virtio-mem"));
    }
}
