// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the next boot has the guest's disks. The QEMU that goes on opens them anew, by the names
//! of its command line: what is not there then, or is something else, costs the guest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::given;

/// What is wrong with disks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Why the guest cannot go on after a jump, each with what to do about it.
    pub obstacles: Vec<String>,
    /// What may go wrong then.
    pub warnings: Vec<String>,
}

/// A file or device that QEMU has open for a disk.
#[derive(Debug, PartialEq, Eq)]
struct Disk {
    path: PathBuf,
    is_written: bool,
}

/// What QEMU tells of its disks, looked at in this boot.
#[derive(Debug)]
pub struct Look<'a> {
    /// The answer of `query-named-block-nodes`.
    pub nodes: &'a Value,
    /// The folder in which QEMU runs.
    pub folder: &'a Path,
    /// QEMU's process.
    pub process: i32,
    /// QEMU's arguments.
    pub arguments: &'a [String],
    /// Each boot puts disks in memory where they are: the administrator says so.
    pub in_memory: bool,
}

/// Options whose value is a file that QEMU reads when it starts.
const READ: [&str; 4] = ["kernel", "initrd", "bios", "dtb"];

/// Options with a key whose value is one.
const NAMED: [(&str, &str); 6] = [
    ("fw_cfg", "file"),
    ("acpitable", "file"),
    ("acpitable", "data"),
    ("smbios", "file"),
    ("device", "romfile"),
    ("object", "file"),
];

/// Names of devices whose content is gone with the kernel.
const FLEETING: [&str; 4] = ["loop", "nbd", "ram", "zram"];

/// Folders whose names stay with a disk, whatever the kernel calls it.
const LASTING: [&str; 2] = ["/dev/disk/", "/dev/mapper/"];

/// Magic numbers of `linux/magic.h`: file systems whose files are memory.
const IN_MEMORY: [u64; 3] = [0x0102_1994, 0x8584_58f6, 0x9584_58f6];

/// Looks at each disk that QEMU has open.
#[must_use]
pub fn look(of: &Look<'_>) -> Found {
    let open = open_files(of.process);
    let mut found = Found::default();
    for disk in disks(of.nodes, of.folder) {
        match judge(&disk, open.as_ref(), of.in_memory) {
            Ok(None) => {}
            Ok(Some(warning)) => found.warnings.push(warning),
            Err(obstacle) => found.obstacles.push(obstacle),
        }
    }
    found.obstacles.extend(folders(of.nodes));
    for (option, value) in read_at_start(of.arguments) {
        let path = of.folder.join(&value);
        // QEMU looks for firmware that is named without a folder in its own.
        let is_firmware = option == "bios" || option == "device";
        let may_be_its_own = is_firmware && !value.contains('/');
        if let Err(why) = fs::metadata(&path)
            && !(may_be_its_own && why.kind() == io::ErrorKind::NotFound)
        {
            found.obstacles.push(format!(
                "-{option} {value}: {why}; the QEMU that goes on could not read it: put it back"
            ));
        }
    }
    found
}

/// The files that QEMU reads when it starts, with the options that name them.
fn read_at_start(arguments: &[String]) -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    for option in READ {
        let values = given::of_option(arguments, option);
        files.extend(values.map(|value| (option, value.to_owned())));
    }
    for (option, wanted) in NAMED {
        for value in given::of_option(arguments, option) {
            let parts = given::parts(value, "");
            let named = parts.into_iter().filter(|(key, _)| key == wanted);
            files.extend(named.map(|(_, value)| (option, value)));
        }
    }
    // An empty one says that there is none.
    files.retain(|(_, value)| !value.is_empty());
    files
}

/// Folders that the guest has as disks, and writes to: QEMU keeps what it has written in its own memory.
fn folders(nodes: &Value) -> Vec<String> {
    let nodes = nodes.as_array().into_iter().flatten();
    let written = nodes.filter(|node| {
        node.get("drv").and_then(Value::as_str) == Some("vvfat")
            && node.get("ro") != Some(&Value::Bool(true))
    });
    let told = written.map(|_| {
        "a disk is a folder that the guest writes to (fat:rw:), and QEMU keeps what it writes in its own \
         memory: give the guest an image, or the folder without `rw`"
            .to_owned()
    });
    told.collect()
}

/// The files of the disks, each once: one that is written somewhere is written.
fn disks(nodes: &Value, folder: &Path) -> Vec<Disk> {
    let nodes = nodes.as_array().into_iter().flatten();
    let all = nodes.filter_map(|node| {
        let text = |key| node.get(key).and_then(Value::as_str);
        // What is behind a network needs no file of this machine.
        let is_file = ["file", "host_device", "host_cdrom"].contains(&text("drv")?);
        let path = text("file").filter(|path| is_file && !path.starts_with("json:"))?;
        let is_written = node.get("ro") != Some(&Value::Bool(true));
        Some((folder.join(path), is_written))
    });
    let mut found = BTreeMap::new();
    for (path, is_written) in all {
        *found.entry(path).or_insert(false) |= is_written;
    }
    let found = found.into_iter();
    found
        .map(|(path, is_written)| Disk { path, is_written })
        .collect()
}

/// Device and inode of each file that a process has open; none if that cannot be seen.
fn open_files(process: i32) -> Option<BTreeSet<(u64, u64)>> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    let files = entries.flatten().filter_map(|entry| {
        let about = fs::metadata(entry.path()).ok()?;
        Some((about.dev(), about.ino()))
    });
    Some(files.collect())
}

/// A warning, if there is one; the error is an obstacle.
fn judge(
    disk: &Disk,
    open: Option<&BTreeSet<(u64, u64)>>,
    in_memory: bool,
) -> Result<Option<String>, String> {
    let path = disk.path.display();
    let is_given = |folder| disk.path.starts_with(folder);
    if ["/dev/fdset", "/dev/fd", "/proc"].iter().any(is_given) {
        return Err(format!(
            "the disk {path} was given to QEMU as a descriptor, which the next QEMU does not get: name \
             its file on the command line"
        ));
    }
    let about = fs::metadata(&disk.path).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => format!(
            "the disk {path} is not there any more, and the QEMU that goes on could not open it: put it \
             back, or take it out of the guest"
        ),
        _ => format!("the disk {path} cannot be looked at: {why}"),
    })?;
    if open.is_some_and(|open| !open.contains(&(about.dev(), about.ino()))) {
        return Err(format!(
            "{path} is another file by now than the disk that the guest has: put that one back"
        ));
    }
    if about.file_type().is_block_device() {
        return device(disk);
    }
    if disk.is_written && !in_memory && is_in_memory(&disk.path)? {
        return Err(format!(
            "the disk {path} is in memory, and lost with this kernel: move it to a disk, or say \
             --disks-in-memory if each boot puts it there as it was"
        ));
    }
    Ok(None)
}

/// What becomes of the name of a block device.
fn device(disk: &Disk) -> Result<Option<String>, String> {
    let path = disk.path.display();
    let name = disk.path.file_name().unwrap_or_default().to_string_lossy();
    let kind = name.split(|c: char| c.is_ascii_digit()).next();
    let kind = kind.unwrap_or_default();
    if disk.path.parent() == Some(Path::new("/dev")) && FLEETING.contains(&kind) {
        return Err(format!(
            "the disk {path} is gone with this kernel: give the guest the file behind it"
        ));
    }
    let lasts = LASTING.iter().any(|folder| disk.path.starts_with(folder));
    // A folder of its own is that of a volume group, whose names are its own.
    if lasts || disk.path.parent() != Some(Path::new("/dev")) {
        return Ok(None);
    }
    let what = if disk.is_written { "write to" } else { "read" };
    Ok(Some(format!(
        "the next kernel may give the name {path} to another disk, which the guest would {what} then: \
         name it by /dev/disk/by-id"
    )))
}

/// Whether a file's file system is memory of this kernel.
fn is_in_memory(path: &Path) -> Result<bool, String> {
    let about = rustix::fs::statfs(path)
        .map_err(|why| format!("the disk {} cannot be looked at: {why}", path.display()))?;
    let kind = u64::try_from(about.f_type).unwrap_or_default();
    Ok(IN_MEMORY.contains(&kind))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use serde_json::json;

    use super::*;

    fn look_at(nodes: &Value, folder: &Path, in_memory: bool) -> Found {
        look(&Look {
            nodes,
            folder,
            process: std::process::id().cast_signed(),
            arguments: &[],
            in_memory,
        })
    }

    fn file(path: &str, ro: bool) -> Value {
        json!({"drv": "file", "file": path, "ro": ro, "node-name": "n"})
    }

    #[test]
    fn a_file_is_one_disk_whatever_has_it() {
        let nodes = json!([
            {"drv": "qcow2", "file": "/a", "ro": false},
            file("/a", false),
            file("/a", true),
            file("b", true),
            {"drv": "nbd", "file": "nbd://host:1", "ro": false},
            {"drv": "file", "file": "json:{\"driver\":\"x\"}", "ro": false},
            {"drv": "file"},
            {},
        ]);
        let found = disks(&nodes, Path::new("/srv"));
        let disk = |path: &str, is_written| Disk {
            path: path.into(),
            is_written,
        };
        assert_eq!(found, [disk("/a", true), disk("/srv/b", false)]);
        assert!(disks(&Value::Null, Path::new("/")).is_empty());
    }

    #[test]
    fn a_disk_that_is_gone_or_was_replaced_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let open = File::create(&path).unwrap();
        let nodes = json!([file("disk", true)]);
        let look = || look_at(&nodes, folder.path(), false);
        assert_eq!(look(), Found::default());
        fs::rename(&path, folder.path().join("old")).unwrap();
        let said = look().obstacles;
        assert!(said[0].contains("is not there any more"), "{said:?}");
        File::create(&path).unwrap();
        let said = look().obstacles;
        assert!(said[0].contains("is another file by now"), "{said:?}");
        drop(open);
    }

    #[test]
    fn a_disk_in_memory_that_is_written_is_an_obstacle() {
        let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let path = folder.path().join("disk");
        let _open = File::create(&path).unwrap();
        let written = json!([file("disk", false)]);
        let said = look_at(&written, folder.path(), false).obstacles;
        assert!(said[0].contains("--disks-in-memory"), "{said:?}");
        assert_eq!(look_at(&written, folder.path(), true), Found::default());
        let read = json!([file("disk", true)]);
        assert_eq!(look_at(&read, folder.path(), false), Found::default());
    }

    #[test]
    fn a_kernel_that_is_gone_is_told() {
        let said = |line: &str| {
            let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let found = look(&Look {
                nodes: &Value::Null,
                folder: Path::new("/"),
                process: 1,
                arguments: &arguments,
                in_memory: false,
            });
            found.obstacles
        };
        let gone = said("-kernel /nowhere/bzImage -initrd /proc/self/exe");
        assert!(
            gone[0].starts_with("-kernel /nowhere/bzImage: "),
            "{gone:?}"
        );
        assert_eq!(gone.len(), 1);
        for line in [
            "-fw_cfg name=opt/x,file=/nowhere/x",
            "-device virtio-net-pci,romfile=/nowhere/rom",
            "-smbios file=/nowhere/table",
            "-object secret,id=s,file=/nowhere/secret",
        ] {
            assert_eq!(said(line).len(), 1, "{line}");
        }
        // In QEMU's own folder; none at all.
        for line in [
            "-bios bios-256k.bin",
            "-device virtio-net-pci,romfile=efi-virtio.rom",
            "-device virtio-net-pci,romfile=",
            "-smbios type=0,vendor=x",
            "-fw_cfg name=opt/x,file=/proc/self/exe",
        ] {
            assert_eq!(said(line), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn a_folder_that_is_written_is_an_obstacle() {
        let node = |ro| json!([{"drv": "vvfat", "file": "json:{}", "ro": ro}]);
        let said = look_at(&node(false), Path::new("/"), true).obstacles;
        assert!(
            said[0].contains("is a folder that the guest writes to"),
            "{said:?}"
        );
        assert_eq!(look_at(&node(true), Path::new("/"), true), Found::default());
    }

    #[test]
    fn what_came_as_a_descriptor_is_an_obstacle() {
        for path in ["/dev/fdset/3", "/proc/self/fd/7"] {
            let said = look_at(&json!([file(path, false)]), Path::new("/"), true).obstacles;
            assert!(said[0].contains("as a descriptor"), "{said:?}");
        }
    }

    #[test]
    fn the_name_of_a_device_may_become_anothers() {
        let judged = |path: &str| {
            device(&Disk {
                path: path.into(),
                is_written: true,
            })
        };
        for path in [
            "/dev/loop0",
            "/dev/nbd12",
            "/dev/zram1",
            "/dev/ram0",
            "/dev/loop3p1",
        ] {
            assert!(judged(path).unwrap_err().contains("gone with"), "{path}");
        }
        for path in ["/dev/sda", "/dev/nvme0n1p3", "/dev/vdb", "/dev/dm-3"] {
            let said = judged(path).unwrap().unwrap();
            assert!(said.contains("/dev/disk/by-id"), "{path}");
        }
        for path in [
            "/dev/disk/by-id/ata-x",
            "/dev/mapper/vg-guest",
            "/dev/vg/guest",
        ] {
            assert_eq!(judged(path), Ok(None), "{path}");
        }
    }
}
