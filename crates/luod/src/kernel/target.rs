// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel to jump into, with what the boot loader's entry says of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use luo_preflight::entry::{self, NoEntry};
use luo_varlink::Target;

/// A target that is completed, and what was passed over for it, in sentences.
pub type Resolved = Result<(Target, Vec<String>), NoEntry>;

/// Completes a target: [`resolve`], or what stands for it in tests. It may hang in a disk.
pub type Resolve = Arc<dyn Fn(Target, &Path) -> Resolved + Send + Sync>;

/// A target whose image is known: if none is named, that of the entry which is named, or
/// which the boot loader would start; and what was passed over to find it, in sentences.
/// `root` is where `/boot` is looked for.
///
/// # Errors
/// There is no such entry.
pub fn resolve(target: Target, root: &Path) -> Resolved {
    if target.image.is_some() {
        return Ok((target, Vec::new()));
    }
    let (found, mut passed_over) = match &target.entry {
        Some(name) => (entry::named(root, name)?, Vec::new()),
        None => {
            let chosen = entry::default(root)?;
            (chosen.entry, chosen.passed_over)
        }
    };
    if !found.extras.is_empty() {
        passed_over.push(format!(
            "what the boot loader adds to it is left out, for kexec cannot hand it over: {} \
             (command_line of [target], or --command-line, is the place for what the target needs \
             of it)",
            found.extras.join(", ")
        ));
    }
    let text = |path: PathBuf| {
        let text = path.into_os_string().into_string();
        text.map_err(|path| NoEntry::Unusable {
            name: found.name.clone(),
            why: format!(
                "{}: only paths in UTF-8 are taken",
                Path::new(&path).display()
            ),
        })
    };
    let mut initrds = Vec::new();
    for initrd in found.initrds.clone() {
        initrds.push(text(initrd)?);
    }
    let image = text(found.kernel.clone())?;
    let (initrd, more_initrds) = match target.initrd {
        Some(named) => (Some(named), target.more_initrds),
        None => {
            let mut initrds = initrds.into_iter();
            let first = initrds.next();
            let more: Vec<_> = initrds.collect();
            (first, Some(more).filter(|more| !more.is_empty()))
        }
    };
    let target = Target {
        image: Some(image),
        initrd,
        more_initrds,
        command_line: target.command_line.or(found.command_line),
        entry: Some(found.name),
    };
    Ok((target, passed_over))
}

/// The initrds of a target, in order.
#[must_use]
pub fn initrds(target: &Target) -> Vec<&Path> {
    let more = target.more_initrds.iter().flatten();
    let all = target.initrd.iter().chain(more);
    all.map(Path::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_comes_before_what_the_entry_says() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(resolve(Target::default(), root), Err(NoEntry::None));
        put("boot/linux", "kernel");
        put("boot/a.img", "initrd");
        put("boot/b.img", "initrd");
        let text = "linux /linux\ninitrd /a.img\ninitrd /b.img\noptions liveupdate=on\n";
        put("boot/loader/entries/x.conf", text);
        let here = |path: &str| Some(root.join(path).display().to_string());
        let (all, _) = resolve(Target::default(), root).unwrap();
        assert_eq!(
            (&all.image, &all.initrd),
            (&here("boot/linux"), &here("boot/a.img"))
        );
        assert_eq!(initrds(&all).len(), 2);
        assert_eq!(all.command_line.as_deref(), Some("liveupdate=on"));
        assert_eq!(all.entry.as_deref(), Some("x"));
        put(
            "boot/loader/entries/y.conf",
            "linux /linux\nextra /y.addon.efi\n",
        );
        let extra = Target {
            entry: Some("y".into()),
            ..Target::default()
        };
        let (_, told) = resolve(extra, root).unwrap();
        assert!(told[0].contains("is left out") && told[0].contains("/y.addon.efi"));
        std::fs::remove_file(root.join("boot/loader/entries/y.conf")).unwrap();
        let named = Target {
            initrd: Some("/c.img".into()),
            command_line: Some("quiet".into()),
            entry: Some("x.conf".into()),
            ..Target::default()
        };
        let (all, _) = resolve(named, root).unwrap();
        assert_eq!(initrds(&all), [Path::new("/c.img")]);
        assert_eq!(all.command_line.as_deref(), Some("quiet"));
        let image = Target {
            image: Some("/other".into()),
            ..Target::default()
        };
        assert_eq!(resolve(image.clone(), root), Ok((image, Vec::new())));
    }
}
