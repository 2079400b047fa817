// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the guest's network is there again after the jump, where it is a tap device of this machine.
//! A tap that a service has made is made by it in the next boot, too, and QEMU finds it by its name. One
//! that QEMU has made is gone with QEMU, and somebody has to connect the next one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::disks::Found;
use crate::given::{is, is_no, of_option, parts};

/// A tap stays when nobody has it open: a flag of `linux/if_tun.h`.
const PERSISTENT: u32 = 0x0800;

/// What QEMU runs for a tap whose script is not named.
const SCRIPT: &str = "/etc/qemu-ifup";

/// A tap that the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
struct Tap {
    /// Its name, if that is not left to the kernel.
    name: Option<String>,
    /// What connects it when QEMU has made it.
    connected: Connected,
}

#[derive(Debug, PartialEq, Eq)]
enum Connected {
    /// Nothing.
    No,
    /// A script.
    By(String),
    /// A program of QEMU's that makes it, too.
    Helper,
    /// Whoever has given it to QEMU as a descriptor.
    Given(String),
}

/// Looks at each tap that a process has open, or that its arguments ask for. `root` is where `proc` and
/// `sys` are.
#[must_use]
pub fn look(arguments: &[String], folder: &Path, process: i32, root: &Path) -> Found {
    let taps = taps(arguments);
    let mut found = Found::default();
    for tap in &taps {
        match &tap.connected {
            Connected::By(script) if !folder.join(script).exists() => {
                found.obstacles.push(format!(
                    "{script} is not there, which connects the guest's network: the QEMU that goes on would \
                     not start; put it back"
                ));
            }
            Connected::Given(number) => found.warnings.push(format!(
                "QEMU was given the guest's network as the descriptor {number}: whoever starts luo-qemu \
                 after the jump has to give it again, under this number"
            )),
            _ => {}
        }
    }
    for name in open_taps(process, root) {
        let mut asked = taps.iter().filter(|tap| match &tap.name {
            Some(own) => *own == name,
            None => true,
        });
        if asked.all(|tap| tap.connected == Connected::No) && !is_persistent(&name, root) {
            found.warnings.push(format!(
                "the guest's network {name} was made by QEMU and is gone with it: the QEMU that goes on \
                 makes a new one, which nothing connects. Have a service make it at each boot \
                 (`ip tuntap add dev {name} mode tap`, or systemd-networkd)"
            ));
        }
    }
    found
}

/// The taps that arguments ask for.
fn taps(arguments: &[String]) -> Vec<Tap> {
    let options = ["netdev", "nic", "net"].into_iter();
    let values = options.flat_map(|option| of_option(arguments, option));
    let taps = values.filter_map(|value| {
        let parts = parts(value, "type");
        let of = |key| {
            let mut parts = parts.iter().filter(|(name, _)| name == key);
            parts.next_back().map(|(_, value)| value.clone())
        };
        let connected = if is(&parts, "type", |kind| kind == "bridge") || of("helper").is_some() {
            Connected::Helper
        } else if !is(&parts, "type", |kind| kind == "tap") {
            return None;
        } else if let Some(number) = of("fd").or_else(|| of("fds")) {
            Connected::Given(number)
        } else {
            match of("script") {
                Some(script) if is_no(&script) || script.is_empty() => Connected::No,
                script => Connected::By(script.unwrap_or_else(|| SCRIPT.to_owned())),
            }
        };
        let name = of("ifname");
        Some(Tap { name, connected })
    });
    taps.collect()
}

/// The names of the taps that a process has open.
fn open_taps(process: i32, root: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(root.join(format!("proc/{process}/fdinfo")));
    let texts = entries.into_iter().flatten().flatten();
    let texts = texts.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let names = texts.filter_map(|text| {
        let name = text.lines().find_map(|line| line.strip_prefix("iff:"))?;
        Some(name.trim().to_owned())
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// Whether a tap stays where QEMU has closed it. Where that cannot be seen nobody is warned.
fn is_persistent(name: &str, root: &Path) -> bool {
    let flags = fs::read_to_string(root.join(format!("sys/class/net/{name}/tun_flags")));
    let Ok(flags) = flags else {
        return true;
    };
    let digits = flags.trim().trim_start_matches("0x");
    u32::from_str_radix(digits, 16).is_ok_and(|flags| flags & PERSISTENT != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: i32 = 7;

    /// What is said of a QEMU that has a tap open.
    fn look_at(line: &str, name: &str, flags: &str) -> Found {
        let root = tempfile::tempdir().unwrap();
        let write = |path: String, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(format!("proc/{PROCESS}/fdinfo/3"), "pos:\t0\nflags:\t02\n");
        let info = format!("pos:\t0\nflags:\t0104002\niff:\t{name}\n");
        write(format!("proc/{PROCESS}/fdinfo/4"), &info);
        write(format!("sys/class/net/{name}/tun_flags"), flags);
        write("ifup".into(), "");
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        look(&words, root.path(), PROCESS, root.path())
    }

    #[test]
    fn a_tap_that_is_there_again_is_not_told_of() {
        for (line, flags) in [
            (
                "-netdev tap,id=n,ifname=web,script=no,downscript=no",
                "0x1802\n",
            ),
            ("-nic tap,ifname=web,script=no", "0x1802\n"),
            (
                r#"-netdev {"type":"tap","id":"n","ifname":"web","script":"no"}"#,
                "0x1802\n",
            ),
            // QEMU makes it at each start, and something connects it.
            ("-netdev tap,id=n,ifname=web,script=ifup", "0x1002\n"),
            ("-netdev tap,id=n,script=ifup", "0x1002\n"),
            ("-netdev bridge,id=n,br=br0", "0x1002\n"),
            ("-netdev tap,id=n,helper=/usr/lib/helper", "0x1002\n"),
        ] {
            assert_eq!(look_at(line, "web", flags), Found::default(), "{line}");
        }
    }

    #[test]
    fn a_tap_that_nothing_connects_and_one_that_was_given_are_warned_of() {
        for (line, words) in [
            (
                "-netdev tap,id=n,ifname=web,script=no",
                "the guest's network web was made by QEMU",
            ),
            (
                "-netdev tap,id=n,script=no",
                "the guest's network web was made by QEMU",
            ),
            (
                "-netdev tap,id=n,ifname=web,script=no -netdev tap,id=m,ifname=x,script=ifup",
                "web",
            ),
            ("-netdev tap,id=n,fd=9", "as the descriptor 9"),
        ] {
            let found = look_at(line, "web", "0x1002\n");
            assert_eq!(found.obstacles, Vec::<String>::new(), "{line}");
            assert_eq!(found.warnings.len(), 1, "{line}: {found:?}");
            assert!(found.warnings[0].contains(words), "{line}: {found:?}");
        }
    }

    #[test]
    fn a_script_that_is_gone_is_an_obstacle() {
        for line in [
            "-netdev tap,id=n,script=gone",
            "-nic tap,ifname=web,script=/nowhere/up",
        ] {
            let found = look_at(line, "web", "0x1002\n");
            assert_eq!(found.obstacles.len(), 1, "{line}");
            assert!(found.obstacles[0].contains("put it back"), "{found:?}");
        }
    }

    #[test]
    fn a_process_without_taps_is_not_told_of() {
        let none = look(
            &[],
            Path::new("/"),
            std::process::id().cast_signed(),
            Path::new("/"),
        );
        assert_eq!(none, Found::default());
    }
}
