// SPDX-License-Identifier: MIT OR Apache-2.0
//! All that the checks look at, gathered for the thread that runs them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use luo_preflight::abi::{Abi, FAMILIES};
use luo_preflight::file::Facts;
use luo_preflight::initrd::{Archive, Stop, Unusable};
use luo_preflight::memfds::Memfds;
use luo_preflight::system::System;
use luo_preflight::update::{self, Update};
use luo_preflight::{addons, command_line as lines, image, initrd, memory, target};
use luo_sys::{ParticipantEntry, ParticipantKind};
use luo_varlink::{Check, Orchestrator, Target};

use super::words::handlers;
use crate::agent::OwnStrings;
use crate::kernel::{HandedOn, Probe, command_line, initrds};

/// A workload in its control group, which pays for what it takes back.
pub(super) struct Group {
    pub(super) workload: String,
    /// A path.
    pub(super) group: String,
    /// The files that it has declared.
    pub(super) files: Vec<Facts>,
}

/// The files that a workload takes back, and their limits.
struct Takes {
    /// At least, and at most.
    memory: (u64, u64),
    /// Huge pages, by their size, in bytes.
    huge: BTreeMap<u64, u64>,
}

impl Takes {
    fn of(group: &Group, huge_is_memory: bool, memfds: Memfds) -> Self {
        let mut huge: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut least, mut most): (u64, u64) = (0, 0);
        for facts in &group.files {
            let (at_least, at_most) = facts.charged(memfds);
            least = least.saturating_add(at_least);
            most = most.saturating_add(at_most);
            let pages = huge.entry(facts.page).or_default();
            *pages = pages.saturating_add(facts.huge());
        }
        if huge_is_memory {
            let all = huge.values().copied().fold(0, u64::saturating_add);
            least = least.saturating_add(all);
            most = most.saturating_add(all);
        }
        huge.retain(|_, takes| *takes > 0);
        Self {
            memory: (least, most),
            huge,
        }
    }
}

/// All that workloads take back below one limit.
struct Below<'a> {
    limit: u64,
    takes: (u64, u64),
    workloads: Vec<&'a str>,
}

/// The bytes that each control group with a limit would have to bear, of memory or (`page`) of
/// huge pages.
type Limits<'a> = BTreeMap<(Option<u64>, String), Below<'a>>;

/// The findings about workloads, and the limit that each is about.
type Found<'a> = BTreeMap<(Option<u64>, Vec<&'a str>), (u64, Check)>;

/// Judges whether workloads may have what they take back: each by itself, and all that are in one
/// control group with a limit together.
fn check_groups(groups: &[Group], system: &System, memfds: Memfds) -> Vec<Check> {
    let huge_is_memory = system.huge_pages_are_memory();
    let mut limits = Limits::new();
    let mut unread = None;
    let mut known = |limits: Result<Vec<(String, u64)>, String>| {
        limits.unwrap_or_else(|why| {
            unread.get_or_insert(why);
            Vec::new()
        })
    };
    for group in groups {
        let takes = Takes::of(group, huge_is_memory, memfds);
        let mut add = |page: Option<u64>, (least, most): (u64, u64), all: Vec<(String, u64)>| {
            for (folder, limit) in all.into_iter().filter(|_| most > 0) {
                let below = limits.entry((page, folder)).or_insert_with(|| Below {
                    limit,
                    takes: (0, 0),
                    workloads: Vec::new(),
                });
                let (at_least, at_most) = below.takes;
                below.takes = (at_least.saturating_add(least), at_most.saturating_add(most));
                below.workloads.push(group.workload.as_str());
            }
        };
        let all = known(system.memory_limits(&group.group));
        add(None, takes.memory, all);
        for (page, takes) in takes.huge {
            let all = known(system.huge_limits(&group.group, page));
            add(Some(page), (takes, takes), all);
        }
    }
    // One finding for the same workloads is enough: that of the least limit.
    let mut found = Found::new();
    for ((page, folder), below) in &limits {
        let (who, limit) = (below.workloads.as_slice(), Some(below.limit));
        let check = match page {
            None => memory::check_group(who, folder, below.takes, limit),
            Some(page) => memory::check_huge(who, folder, *page, below.takes.0, limit),
        };
        let Some(check) = check else { continue };
        let known = found.entry((*page, who.to_vec()));
        let known = known.or_insert_with(|| (below.limit, check.clone()));
        if below.limit < known.0 {
            *known = (below.limit, check);
        }
    }
    let unread = unread.map(|why| memory::unread_limit(&why));
    let found = found.into_values().map(|(_, check)| check);
    found.chain(unread).collect()
}

/// All that the checks look at, gathered for the thread that runs them.
pub(super) struct Subject {
    pub(super) system: System,
    /// The facts about guests' clocks that the target is told.
    pub(super) clock: HandedOn,
    pub(super) probe: Probe,
    pub(super) participants: Option<Vec<ParticipantEntry>>,
    pub(super) own: OwnStrings,
    pub(super) target: Target,
    pub(super) files: Vec<(String, Facts)>,
    /// Workloads with their control groups, and the files that they have declared.
    pub(super) groups: Vec<Group>,
    /// Ends the reading of initrds once nobody waits for it.
    pub(super) stop: Stop,
}

impl Subject {
    pub(super) fn checks(&self) -> Vec<Check> {
        let running = self.system.running();
        let own = || self.own.get_or_init(|| self.system.own_strings(&FAMILIES));
        let abi = Abi::of(&self.told(), &running.strings, || own().clone());
        let Some(path) = self.target.image.as_deref().map(Path::new) else {
            return luo_preflight::running::checks(&running);
        };
        let (image, unpacked) = match image::unpack(path) {
            Ok(mut unpacked) => {
                let families = target::families(&abi.known);
                let image = image::read_unpacked(&mut unpacked, &families);
                (image, Some(unpacked))
            }
            Err(why) => (Err(why), None),
        };
        let unpacked = unpacked.as_ref();
        let own_initrd = unpacked.and_then(|unpacked| unpacked.initrd.as_ref());
        let initrd = self.initrd(own_initrd);
        let own_line = unpacked.and_then(|unpacked| unpacked.command_line.as_deref());
        let line = command_line(&self.target, own_line, self.clock.guests()).unwrap_or_default();
        // Command lines that are built into the target count, too.
        let counts = lines::of(&line, image.as_ref().ok());
        let handlers = self.participants.as_deref().map(handlers);
        let mut checks = update::checks(&Update {
            running: &running,
            abi: &abi,
            handlers: handlers.as_deref(),
            path,
            image: image.as_ref(),
            initrd: initrd.as_ref().map(Option::as_ref),
            command_line: &line,
            missing: &self.system.missing(&counts),
            shells: &self.system.shells(&counts),
            files: &self.files,
        });
        // Only a unified image has either.
        let is_unified = own_initrd.is_some() || own_line.is_some();
        checks.extend(is_unified.then(|| addons::check(path)).flatten());
        let contents = image.as_ref().ok().map(|image| &image.contents);
        let memfds = Memfds::of(handlers.as_deref(), contents);
        checks.extend(check_groups(&self.groups, &self.system, memfds));
        if !self.files.is_empty() && self.system.has_old_groups() {
            checks.push(memory::old_groups());
        }
        checks
    }

    /// The initrds that are named, or else the image's own.
    fn initrd(&self, own: Option<&fs::File>) -> Result<Option<Archive>, Unusable> {
        let named = initrd::read(&initrds(&self.target), &self.stop)?;
        let (None, Some(own)) = (&named, own) else {
            return Ok(named);
        };
        let read = initrd::read_file(own, &self.stop);
        read.map(Some).map_err(|why| Unusable {
            path: format!(
                "the one in {}",
                self.target.image.as_deref().unwrap_or_default()
            ),
            why,
        })
    }

    /// The formats that the orchestrator says it hands over, and those of its handlers that
    /// have a file to hand over.
    fn told(&self) -> Vec<&str> {
        let mut told: Vec<&str> = self.probe.handover_abi.as_deref().into_iter().collect();
        if self.probe.orchestrator == Orchestrator::Contract {
            told.extend(self.probe.supplement_abi.as_deref());
        }
        let handlers = self.participants.iter().flatten();
        let in_use = handlers.filter(|entry| {
            let is_handler = entry.kind == ParticipantKind::FileHandler;
            is_handler && (entry.files > 0 || entry.name.starts_with("memfd-v"))
        });
        told.extend(in_use.map(|entry| entry.name.as_str()));
        told
    }
}

#[cfg(test)]
mod tests {
    use luo_preflight::file::Kind;
    use luo_varlink::CheckStatus;

    use super::*;

    const MIB: u64 = 1 << 20;
    const OURS: Memfds = Memfds {
        here: true,
        there: Some(true),
    };

    fn file(kind: Kind, size: u64, holes: u64) -> Facts {
        Facts {
            holes,
            ..Facts::plain(kind, size)
        }
    }

    /// A machine with one control group, and what is found of a workload in it.
    fn found(
        limits: &[(&str, &str)],
        files: &[Facts],
        memfds: Memfds,
    ) -> Vec<(CheckStatus, String)> {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (name, text) in limits {
            match *name {
                "mounts" => put("proc/mounts", text),
                name => put(
                    &format!("sys/fs/cgroup/system.slice/vm.service/{name}"),
                    text,
                ),
            }
        }
        let group = Group {
            workload: "vm".to_owned(),
            group: "/system.slice/vm.service".to_owned(),
            files: files.to_vec(),
        };
        let checks = check_groups(&[group], &System::at(root.path()), memfds);
        let checks = checks.into_iter();
        checks.map(|check| (check.status, check.found)).collect()
    }

    #[test]
    fn what_does_not_count_for_a_group_is_not_counted() {
        let files = [
            file(Kind::HugeTlb, 64 << 30, 0),
            file(Kind::Memfd, 64 << 30, 63 << 30),
            file(Kind::Object("a device"), 64 << 30, 0),
        ];
        let limits = [("memory.max", "4294967296")];
        assert_eq!(found(&limits, &files, OURS), []);
        // Mainline's handler fills holes; which one it will be may not be known.
        let [(status, text)] = &*found(&limits, &files, Memfds::default()) else {
            panic!();
        };
        assert_eq!(*status, CheckStatus::Failed);
        assert!(text.contains("65536 MiB"), "{text}");
        let unknown = Memfds {
            there: None,
            ..OURS
        };
        assert_eq!(found(&limits, &files, unknown)[0].0, CheckStatus::Unknown);
        // They do count where the machine says so.
        let counts = "cgroup2 /sys/fs/cgroup cgroup2 rw,memory_hugetlb_accounting 0 0\n";
        let limits = [limits[0], ("mounts", counts)];
        assert_eq!(found(&limits, &files, OURS)[0].0, CheckStatus::Failed);
    }

    /// A folder stands for a file that cannot be read.
    #[test]
    fn a_limit_that_cannot_be_read_is_not_taken_for_none() {
        let root = tempfile::tempdir().unwrap();
        let path = "sys/fs/cgroup/vms.slice/memory.max";
        fs::create_dir_all(root.path().join(path)).unwrap();
        let group = Group {
            workload: "vm".to_owned(),
            group: "/vms.slice/vm.service".to_owned(),
            files: vec![file(Kind::Memfd, MIB, 0)],
        };
        let checks = check_groups(&[group], &System::at(root.path()), OURS);
        let [check] = &*checks else {
            panic!("{checks:?}")
        };
        assert_eq!(check.status, CheckStatus::Unknown);
        assert!(check.found.contains(path), "{}", check.found);
    }

    /// Ten guests in a slice, and two workloads in a unit: each alone has room.
    #[test]
    fn all_that_have_one_limit_are_counted_together() {
        let root = tempfile::tempdir().unwrap();
        let limit = |group: &str, bytes: u64| {
            let folder = root.path().join("sys/fs/cgroup").join(group);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("memory.max"), format!("{bytes}\n")).unwrap();
        };
        let group = |workload: &str, group: &str, size: u64| Group {
            workload: workload.to_owned(),
            group: format!("/vms.slice/{group}"),
            files: vec![file(Kind::Memfd, size, 0)],
        };
        let groups = [
            group("a", "a.service", 60 * MIB),
            group("b", "b.service", 60 * MIB),
            group("c", "b.service", 60 * MIB),
        ];
        let found = |groups: &[Group]| {
            let checks = check_groups(groups, &System::at(root.path()), OURS);
            let found = checks.into_iter().map(|check| check.found);
            found.collect::<Vec<_>>()
        };
        limit("vms.slice", 180 * MIB);
        assert_eq!(found(&groups), [] as [&str; 0]);
        limit("vms.slice", 150 * MIB);
        let [all] = &*found(&groups) else { panic!() };
        assert!(
            all.contains("workloads 'a', 'b', 'c' together take 180 MiB")
                && all.contains("group /vms.slice may have 150 MiB"),
            "{all}"
        );
        limit("vms.slice/b.service", 100 * MIB);
        let both = found(&groups);
        assert!(
            both.iter()
                .any(|text| text.contains("workloads 'b', 'c' together"))
        );
        // Of one alone the least limit counts.
        limit("vms.slice/a.service", 40 * MIB);
        limit("vms.slice", 50 * MIB);
        let [one] = &*found(&groups[..1]) else {
            panic!()
        };
        assert!(
            one.contains("group /vms.slice/a.service may have 40 MiB"),
            "{one}"
        );
        // Those of version 1 are not looked at, and that is said.
        let system = System::at(root.path());
        assert!(!system.has_old_groups());
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        let text = "5:cpu,cpuacct:/\n4:memory:/system.slice/luod.service\n0::/luod.service\n";
        fs::write(root.path().join("proc/self/cgroup"), text).unwrap();
        assert!(system.has_old_groups());
        assert_eq!(memory::old_groups().status, CheckStatus::Unknown);
    }

    #[test]
    fn huge_pages_count_for_their_own_limit() {
        let files = [file(Kind::HugeTlb, 64 * MIB, 32 * MIB)];
        let limit = |bytes: u64| {
            let text = bytes.to_string();
            found(&[("hugetlb.2MB.max", &text)], &files, OURS)
        };
        assert_eq!(limit(32 * MIB), []);
        let short = limit(30 * MIB);
        assert_eq!(short[0].0, CheckStatus::Failed);
        assert!(
            short[0].1.contains("32 MiB of huge pages of 2048 KiB"),
            "{short:?}"
        );
        assert_eq!(found(&[("hugetlb.2MB.max", "max\n")], &files, OURS), []);
    }
}
