// SPDX-License-Identifier: MIT OR Apache-2.0
//! What systemd-stub adds to a unified kernel image when a boot loader starts it: parts of the
//! command line, credentials, extensions. They lie beside the image and on its partition, each with
//! a signature of its own. kexec knows nothing of them.

use std::fs;
use std::path::{Path, PathBuf};

use luo_varlink::Check;

use crate::check::{unknown, warning};
use crate::system::if_there;

const NAME: &str = "target-image";

/// How far above the image the partition's root may be: `EFI/Linux/IMAGE.efi`.
const LEVELS: usize = 4;

/// Files that are named.
const MOST: usize = 5;

/// The folders that systemd-stub looks into.
fn folders(image: &Path) -> Vec<PathBuf> {
    let mut beside = image.as_os_str().to_owned();
    beside.push(".extra.d");
    let above = image.ancestors().skip(1).take(LEVELS);
    let shared = above.flat_map(|root| {
        ["addons", "credentials", "extensions"].map(|name| root.join("loader").join(name))
    });
    std::iter::once(beside.into()).chain(shared).collect()
}

/// Whether systemd-stub takes a file of that name.
fn is_taken(name: &str) -> bool {
    let ends = [".addon.efi", ".cred", ".raw"];
    ends.into_iter().any(|end| name.ends_with(end))
}

/// Says what of that is there: `target-image`.
#[must_use]
pub fn check(image: &Path) -> Option<Check> {
    let mut found = Vec::new();
    for folder in folders(image) {
        let entries = match if_there(fs::read_dir(&folder)) {
            Ok(entries) => entries.into_iter().flatten().flatten(),
            Err(why) => {
                return Some(unknown(
                    NAME,
                    format!(
                        "whether systemd-stub would add something to the image is not known: {}: \
                         {why}",
                        folder.display()
                    ),
                    "see to it that this folder can be read",
                ));
            }
        };
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| is_taken(name)).collect();
        names.sort();
        found.extend(names.into_iter().map(|name| folder.join(name)));
    }
    if found.is_empty() {
        return None;
    }
    let named = found
        .iter()
        .take(MOST)
        .map(|path| path.display().to_string());
    let mut named = named.collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = found.len().checked_sub(MOST) {
        named.push_str(&format!(", and {more} more"));
    }
    Some(warning(
        NAME,
        format!(
            "systemd-stub would add this to the image, and kexec does not: {named}. The target has \
             neither these words of the command line nor these credentials"
        ),
        "write what it needs into command_line of [target] in luod.toml (or --command-line), or \
         into the image itself",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_boot_loader_would_add_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("EFI/Linux/a.efi");
        let put = |path: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        put("EFI/Linux/a.efi");
        put("EFI/Linux/a.efi.extra.d/README");
        put("EFI/Linux/b.efi.extra.d/b.addon.efi");
        assert_eq!(check(&image), None);
        put("EFI/Linux/a.efi.extra.d/kho.addon.efi");
        let told = check(&image).unwrap();
        assert!(
            told.found.contains("a.efi.extra.d/kho.addon.efi"),
            "{told:?}"
        );
        put("loader/addons/root.addon.efi");
        put("loader/credentials/network.cred");
        let told = check(&image).unwrap().found;
        assert!(told.contains("loader/addons/root.addon.efi"), "{told}");
        assert!(told.contains("loader/credentials/network.cred"), "{told}");
    }
}
