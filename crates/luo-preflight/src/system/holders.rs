// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which processes have the device or a session open.

use std::fs;
use std::path::{Path, PathBuf};

use super::{System, small_text};

impl System {
    /// The processes that have the device open, as far as this process may see that: their
    /// names and numbers.
    #[must_use]
    pub fn holders(&self) -> Vec<String> {
        self.processes(|process| {
            let mut files = fs::read_dir(process.join("fd")).ok()?.flatten();
            let is_device = |target: PathBuf| target == Path::new("/dev/liveupdate");
            files
                .any(|file| fs::read_link(file.path()).is_ok_and(is_device))
                .then_some(())
        })
    }

    /// The processes that have a session open, in the same way. Mainline's kernel does not tell
    /// the names of sessions, so none is found there.
    #[must_use]
    pub fn holders_of_session(&self, name: &str) -> Vec<String> {
        self.processes(|process| {
            let mut files = fs::read_dir(process.join("fdinfo")).ok()?.flatten();
            let is_it = |text: String| {
                let mut lines = text.lines();
                let named = lines.find_map(|line| line.strip_prefix("luo-name:"));
                named.is_some_and(|named| named.trim() == name)
            };
            files
                .any(|file| small_text(&file.path()).is_ok_and(is_it))
                .then_some(())
        })
    }

    /// The processes that have a session for the next kernel open, in the same way, but for some.
    #[must_use]
    pub fn holders_of_new_session(&self, name: &str, but: &[u32]) -> Vec<String> {
        self.processes(|process| {
            let number: u32 = process.file_name()?.to_str()?.parse().ok()?;
            if but.contains(&number) {
                return None;
            }
            let mut files = fs::read_dir(process.join("fdinfo")).ok()?.flatten();
            let is_it = |text: String| {
                let value = |key: &str| {
                    let mut lines = text.lines();
                    lines.find_map(|line| line.strip_prefix(key)).map(str::trim)
                };
                value("luo-name:") == Some(name) && value("luo-direction:") == Some("outgoing")
            };
            files
                .any(|file| small_text(&file.path()).is_ok_and(is_it))
                .then_some(())
        })
    }

    /// The names and numbers of processes of whose folder something is so.
    fn processes(&self, is_so: impl Fn(&Path) -> Option<()>) -> Vec<String> {
        let Ok(processes) = fs::read_dir(self.root.join("proc")) else {
            return Vec::new();
        };
        let named = |process: fs::DirEntry| {
            let number: u32 = process.file_name().to_str()?.parse().ok()?;
            is_so(&process.path())?;
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            Some(format!("{} ({number})", name.trim()))
        };
        processes.flatten().filter_map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_session_for_the_next_kernel_is_found() {
        let root = tempfile::tempdir().unwrap();
        for (process, name, direction) in [
            ("34", "box", "outgoing"),
            ("35", "box", "incoming"),
            ("36", "box.2", "outgoing"),
            ("37", "box", "outgoing"),
        ] {
            let process = root.path().join("proc").join(process);
            fs::create_dir_all(process.join("fdinfo")).unwrap();
            fs::write(process.join("comm"), "vmm\n").unwrap();
            let text = format!("pos:\t0\nluo-name:      {name}\nluo-direction: {direction}\n");
            fs::write(process.join("fdinfo/5"), text).unwrap();
        }
        let system = System::at(root.path());
        assert_eq!(system.holders_of_new_session("box", &[37]), ["vmm (34)"]);
        assert!(system.holders_of_new_session("other", &[]).is_empty());
    }

    #[test]
    fn who_has_the_device_is_found() {
        let root = tempfile::tempdir().unwrap();
        let fd = |process: &str, target: &str| {
            let folder = root.path().join("proc").join(process);
            fs::create_dir_all(folder.join("fd")).unwrap();
            fs::write(folder.join("comm"), "criu\n").unwrap();
            std::os::unix::fs::symlink(target, folder.join("fd/5")).unwrap();
        };
        fd("12", "/dev/null");
        fd("34", "/dev/liveupdate");
        fd("self", "/dev/liveupdate");
        assert_eq!(System::at(root.path()).holders(), ["criu (34)"]);
        assert!(System::at("/nonexistent").holders().is_empty());
    }
}
