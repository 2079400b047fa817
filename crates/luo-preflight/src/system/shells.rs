// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the files lead to that a command line names.

use std::path::{Path, PathBuf};

use super::System;

impl System {
    /// The files that a command line names and that are not there.
    #[must_use]
    pub fn missing(&self, command_line: &str) -> Vec<String> {
        let paths = crate::dangers::paths(command_line).into_iter();
        let missing = paths.filter(|(_, path)| {
            let path = self.path(path.trim_start_matches('/'));
            // A link counts: it may lead out of this tree.
            path.symlink_metadata()
                .is_err_and(|why| why.kind() == std::io::ErrorKind::NotFound)
        });
        missing.map(|(_, path)| path.to_owned()).collect()
    }

    /// The files that a command line names and that lead to a shell.
    #[must_use]
    pub fn shells(&self, command_line: &str) -> Vec<String> {
        let paths = crate::dangers::paths(command_line).into_iter();
        let shells = paths.filter(|(_, path)| self.leads_to_shell(path));
        shells.map(|(_, path)| path.to_owned()).collect()
    }

    fn leads_to_shell(&self, path: &str) -> bool {
        /// As the kernel follows at most.
        const MOST_LINKS: usize = 40;
        let mut path = PathBuf::from(path);
        for _ in 0..MOST_LINKS {
            let inside = path.strip_prefix("/").unwrap_or(&path);
            let Ok(link) = std::fs::read_link(self.root.join(inside)) else {
                return path.to_str().is_some_and(crate::dangers::is_shell);
            };
            // An absolute one takes the place of all.
            path = path.parent().unwrap_or(Path::new("/")).join(link);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn where_init_leads_is_looked_up() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        for folder in ["sbin", "usr/bin"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for name in ["zsh", "busybox", "systemd"] {
            fs::write(root.path().join("usr/bin").join(name), "").unwrap();
        }
        let links = [
            ("recover", "../usr/bin/zsh"),
            ("absolute", "/sbin/recover"),
            ("box", "/usr/bin/busybox"),
            ("init", "/usr/bin/systemd"),
            ("ring", "ring"),
        ];
        for (name, target) in links {
            symlink(target, root.path().join("sbin").join(name)).unwrap();
        }
        let system = System::at(root.path());
        let shells = |name: &str| system.shells(&format!("quiet init=/sbin/{name}"));
        assert_eq!(shells("recover"), ["/sbin/recover"]);
        assert_eq!(shells("absolute"), ["/sbin/absolute"]);
        for name in ["box", "init", "ring", "gone"] {
            assert!(shells(name).is_empty(), "{name}");
        }
    }
}
