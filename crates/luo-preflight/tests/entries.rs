// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boot entries as distributions have them.

mod tree;

use std::fs;

use luo_preflight::entry::{self, NoEntry};
use tempfile::TempDir;
use tree::put;

/// A machine with two entries of systemd-boot, on a boot partition.
fn with_entries() -> TempDir {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for version in ["6.9.4", "6.19.1"] {
        put(root, &format!("boot/id/{version}/linux"), "kernel");
        put(root, &format!("boot/id/{version}/initrd"), "initrd");
        let text = format!(
            "title Fedora\nsort-key fedora\nversion {version}\nlinux /id/{version}/linux\n\
             initrd /id/{version}/initrd\noptions root=LABEL=a liveupdate=on\n"
        );
        put(
            root,
            &format!("boot/loader/entries/id-{version}.conf"),
            text,
        );
    }
    folder
}

#[test]
fn an_entry_is_found_by_its_name() {
    let folder = with_entries();
    let root = folder.path();
    for name in ["id-6.9.4", "id-6.9.4.conf"] {
        let entry = entry::named(root, name).unwrap();
        assert_eq!(entry.kernel, root.join("boot/id/6.9.4/linux"));
        assert_eq!(entry.initrds, [root.join("boot/id/6.9.4/initrd")]);
        let line = entry.command_line.as_deref();
        assert_eq!(line, Some("root=LABEL=a liveupdate=on"));
    }
    let why = entry::named(root, "id-7").unwrap_err();
    assert_eq!(
        why.to_string(),
        "there is no boot entry \"id-7\"; there are id-6.19.1, id-6.9.4"
    );
}

/// Another profile's command line would be booted than the boot loader's.
#[test]
fn a_profile_that_is_not_read_is_refused() {
    let folder = with_entries();
    let root = folder.path();
    let entry = |profile: &str| {
        let text = format!("uki /id/6.9.4/linux\nprofile {profile}\n");
        put(root, "boot/loader/entries/uki.conf", text);
        entry::named(root, "uki")
    };
    assert_eq!(entry("0").unwrap().command_line, None);
    let why = entry("1").unwrap_err().to_string();
    assert!(
        why.contains("profile 1 of the image /id/6.9.4/linux") && why.contains("--command-line"),
        "{why}"
    );
}

#[test]
fn the_newest_is_the_default_unless_somebody_has_chosen() {
    let folder = with_entries();
    let root = folder.path();
    let name = || entry::default(root).unwrap().entry.name;
    assert_eq!(name(), "id-6.19.1");
    put(
        root,
        "boot/grub2/grubenv",
        "# GRUB Environment Block\nsaved_entry=id-6.9.4\n##",
    );
    assert_eq!(name(), "id-6.9.4");
    put(
        root,
        "boot/loader/loader.conf",
        "timeout 3\ndefault id-6.1*\n",
    );
    assert_eq!(name(), "id-6.19.1");
    let mut chosen = vec![7, 0, 0, 0];
    chosen.extend("id-6.9.4.conf\0".encode_utf16().flat_map(u16::to_le_bytes));
    put(
        root,
        "sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
        chosen,
    );
    assert_eq!(name(), "id-6.9.4");
}

#[test]
fn an_entry_without_attempts_left_comes_last() {
    let folder = with_entries();
    let entries = folder.path().join("boot/loader/entries");
    let newest = entries.join("id-6.19.1.conf");
    fs::rename(&newest, entries.join("id-6.19.1+0-3.conf")).unwrap();
    assert_eq!(
        entry::default(folder.path()).unwrap().entry.name,
        "id-6.9.4"
    );
    assert_eq!(
        entry::named(folder.path(), "id-6.19.1").unwrap().name,
        "id-6.19.1"
    );
}

/// Fedora with /boot on the root's file system, and GRUB's variables.
#[test]
fn grub_has_paths_of_the_root_and_variables() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    put(root, "boot/vmlinuz-1", "kernel");
    put(root, "boot/initramfs-1.img", "initrd");
    put(root, "boot/microcode.img", "initrd");
    put(root, "boot/grub2/grubenv", "kernelopts=root=/dev/vda1 ro\n");
    put(
        root,
        "boot/loader/entries/a.conf",
        "linux /boot/vmlinuz-1\ninitrd /boot/microcode.img $tuned_initrd\n\
         initrd /boot/initramfs-1.img\noptions $kernelopts $tuned_params quiet\n",
    );
    let entry = entry::default(root).unwrap().entry;
    assert_eq!(entry.kernel, root.join("boot/vmlinuz-1"));
    let initrds = ["boot/microcode.img", "boot/initramfs-1.img"].map(|path| root.join(path));
    assert_eq!(entry.initrds, initrds);
    assert_eq!(
        entry.command_line.as_deref(),
        Some("root=/dev/vda1 ro quiet")
    );
}

#[test]
fn a_unified_image_is_an_entry() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    put(root, "efi/EFI/Linux/arch-6.18.efi", "kernel");
    put(root, "efi/EFI/Linux/arch-6.19.efi", "kernel");
    let entry = entry::default(root).unwrap().entry;
    assert_eq!(entry.kernel, root.join("efi/EFI/Linux/arch-6.19.efi"));
    assert_eq!((entry.initrds.len(), entry.command_line), (0, None));
}

#[test]
fn without_entries_there_is_a_kernel_at_a_fixed_place() {
    for (kernel, initrd) in [
        ("boot/vmlinuz", "boot/initrd.img"),
        // openSUSE.
        ("boot/vmlinuz", "boot/initrd"),
        // Debian.
        ("vmlinuz", "initrd.img"),
    ] {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        assert_eq!(entry::default(root), Err(NoEntry::None));
        put(root, kernel, "kernel");
        let entry = entry::default(root).unwrap().entry;
        assert_eq!(entry.kernel, root.join(kernel));
        assert!(entry.initrds.is_empty(), "{entry:?}");
        put(root, initrd, "initrd");
        let entry = entry::default(root).unwrap().entry;
        assert_eq!(entry.initrds, [root.join(initrd)]);
    }
}

/// As Debian's packages leave it: links to the newest kernel, whose files may be gone.
#[test]
fn a_link_at_a_fixed_place_that_leads_nowhere_is_told() {
    use std::os::unix::fs::symlink;
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    put(root, "boot/vmlinuz-6.19", "kernel");
    put(root, "boot/initrd.img-6.19", "initrd");
    symlink("boot/vmlinuz-6.19", root.join("vmlinuz")).unwrap();
    symlink("boot/initrd.img-6.19", root.join("initrd.img")).unwrap();
    let entry = entry::default(root).unwrap().entry;
    assert_eq!(entry.kernel, root.join("vmlinuz"));
    assert_eq!(entry.initrds, [root.join("initrd.img")]);
    // A kernel without its initrd would find no root.
    fs::remove_file(root.join("boot/initrd.img-6.19")).unwrap();
    let why = entry::default(root).unwrap_err().to_string();
    assert!(
        why.contains("/initrd.img is a link to what is not there"),
        "{why}"
    );
    fs::remove_file(root.join("boot/vmlinuz-6.19")).unwrap();
    let why = entry::default(root).unwrap_err().to_string();
    assert!(
        why.contains("/vmlinuz is a link to what is not there"),
        "{why}"
    );
}

#[test]
fn an_entry_that_cannot_be_used_says_why() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    put(root, "boot/loader/entries/a.conf", "title x\n");
    let why = entry::named(root, "a").unwrap_err().to_string();
    assert!(why.contains("it names no kernel"), "{why}");
    put(root, "boot/loader/entries/a.conf", "linux /gone\n");
    let why = entry::default(root).unwrap_err().to_string();
    assert!(why.contains("/gone is not there"), "{why}");
    // A good one is taken in its place where nobody has named it, and that is said.
    put(root, "boot/here", "kernel");
    put(root, "boot/loader/entries/0.conf", "linux /here\n");
    let taken = entry::default(root).unwrap();
    assert_eq!((&*taken.entry.name, taken.passed_over.len()), ("0", 1));
    assert!(taken.passed_over[0].contains("/gone is not there"));
    // What comes behind it is no matter.
    put(root, "boot/loader/entries/b.conf", "linux /here\n");
    let taken = entry::default(root).unwrap();
    assert_eq!((&*taken.entry.name, taken.passed_over.len()), ("b", 0));
}

/// The boot loader would start the one that is named, or fail: another kernel is none that
/// anybody has asked for.
#[test]
fn a_default_that_is_named_is_replaced_by_no_other() {
    let folder = with_entries();
    let root = folder.path();
    put(root, "boot/loader/loader.conf", "default new\n");
    let taken = entry::default(root).unwrap();
    assert_eq!(taken.entry.name, "id-6.19.1");
    assert!(taken.passed_over[0].contains("\"new\""), "{taken:?}");
    let text = "linux /id/6.9.4/linux\ninitrd /gone.img\n";
    put(root, "boot/loader/entries/new.conf", text);
    for default in ["new", "new.conf", "ne*"] {
        put(
            root,
            "boot/loader/loader.conf",
            format!("default {default}\n"),
        );
        let why = entry::default(root).unwrap_err().to_string();
        assert!(why.contains("\"new\""), "{why}");
        assert!(why.contains("/gone.img is not there"), "{why}");
    }
    // Without its name it comes last.
    put(root, "boot/loader/loader.conf", "timeout 3\n");
    assert!(entry::default(root).unwrap().passed_over.is_empty());
    put(root, "boot/loader/loader.conf", "default @saved\n");
    assert!(entry::default(root).unwrap().passed_over.is_empty());
    let mut last = vec![7, 0, 0, 0];
    last.extend("id-6.9.4.conf\0".encode_utf16().flat_map(u16::to_le_bytes));
    put(
        root,
        "sys/firmware/efi/efivars/LoaderEntryLastBooted-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
        last,
    );
    assert_eq!(entry::default(root).unwrap().entry.name, "id-6.9.4");
}

/// A link to itself stands for what cannot be looked at: an error of a disk, or a right that is
/// missing.
#[test]
fn what_cannot_be_read_is_not_taken_for_missing() {
    use std::os::unix::fs::symlink;
    let default = |root: &std::path::Path| entry::default(root).unwrap_err().to_string();
    for place in [
        "boot/loader/loader.conf",
        "boot/loader/entries",
        "efi/EFI/Linux",
        "boot/grub2/grubenv",
        "sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
    ] {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        put(root, "boot/vmlinuz", "kernel");
        assert_eq!(entry::default(root).unwrap().entry.name, "boot/vmlinuz");
        let path = root.join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(&path, &path).unwrap();
        let why = default(root);
        assert!(
            why.contains(place) && why.contains("not known"),
            "{place}: {why}"
        );
    }
    let folder = with_entries();
    let root = folder.path();
    let path = root.join("efi/EFI/Linux");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(&path, &path).unwrap();
    // One that is found is the one that is meant.
    assert!(entry::named(root, "id-6.9.4").is_ok());
    let why = entry::named(root, "id-7").unwrap_err();
    assert!(matches!(why, NoEntry::Unread(_)), "{why}");
    for place in ["boot/id/6.9.4/initrd", "boot/id/6.9.4/linux"] {
        let path = root.join(place);
        fs::remove_file(&path).unwrap();
        symlink(&path, &path).unwrap();
        let why = entry::named(root, "id-6.9.4").unwrap_err().to_string();
        assert!(why.contains("os error 40"), "{why}");
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("boot/vmlinuz");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(&path, &path).unwrap();
    let why = default(folder.path());
    assert!(why.contains("os error 40"), "{why}");
}
