// SPDX-License-Identifier: MIT OR Apache-2.0
//! What control groups limit.

use super::{System, if_there, small_text};
use crate::check::Known;

impl System {
    /// The limits of memory of a control group and of those that it is in, each with whose it is,
    /// the outermost first.
    ///
    /// # Errors
    /// In words: one of them cannot be read.
    pub fn memory_limits(&self, group: &str) -> Known<Vec<(String, u64)>> {
        self.limits(group, "memory.max")
    }

    /// The same of huge pages of a size.
    ///
    /// # Errors
    /// As of [`Self::memory_limits`].
    pub fn huge_limits(&self, group: &str, page: u64) -> Known<Vec<(String, u64)>> {
        self.limits(group, &crate::memory::huge_limit(page))
    }

    /// Whether control groups of version 1 limit memory.
    #[must_use]
    pub fn has_old_groups(&self) -> bool {
        let text = self.text("proc/self/cgroup").unwrap_or_default();
        text.lines().any(|line| {
            let controllers = line.split(':').nth(1).unwrap_or_default();
            controllers.split(',').any(|name| name == "memory")
        })
    }

    /// Whether huge pages count as memory of control groups, too.
    #[must_use]
    pub fn huge_pages_are_memory(&self) -> bool {
        let mounts = self.text("proc/mounts").unwrap_or_default();
        mounts.lines().any(|line| {
            let mut words = line.split(' ');
            let is_groups = words.nth(2) == Some("cgroup2");
            let options = words.next().unwrap_or_default();
            let mut options = options.split(',');
            is_groups && options.any(|option| option == "memory_hugetlb_accounting")
        })
    }

    fn limits(&self, whole: &str, file: &str) -> Known<Vec<(String, u64)>> {
        let mut limits = Vec::new();
        if whole.split('/').any(|part| part == "..") {
            return Ok(limits);
        }
        let mut group = String::new();
        for part in whole.split('/').filter(|part| !part.is_empty()) {
            group = format!("{group}/{part}");
            let path = format!("sys/fs/cgroup{group}/{file}");
            // Where nothing is counted there is no such file.
            let text = if_there(small_text(&self.path(&path)));
            let text = text.map_err(|why| format!("/{path}: {why}"))?;
            // That there is none is a word.
            if let Some(Ok(limit)) = text.map(|text| text.trim_end().parse()) {
                limits.push((group.clone(), limit));
            }
        }
        Ok(limits)
    }
}
