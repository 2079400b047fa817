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
use crate::kernel::{Probe, command_line, initrds};

/// A workload in its control group, which pays for what it takes back.
pub(super) struct Group {
    pub(super) workload: String,
    /// A path.
    pub(super) group: String,
    /// The files that it has declared.
    pub(super) files: Vec<Facts>,
}

impl Group {
    fn checks(&self, system: &System, memfds: Memfds) -> Vec<Check> {
        let (workload, group) = (self.workload.as_str(), self.group.as_str());
        let mut huge: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut least, mut most): (u64, u64) = (0, 0);
        for facts in &self.files {
            let (at_least, at_most) = facts.charged(memfds);
            least = least.saturating_add(at_least);
            most = most.saturating_add(at_most);
            let pages = huge.entry(facts.page).or_default();
            *pages = pages.saturating_add(facts.huge());
        }
        if system.huge_pages_are_memory() {
            let all = huge.values().copied().fold(0, u64::saturating_add);
            least = least.saturating_add(all);
            most = most.saturating_add(all);
        }
        let limit = system.memory_limit(group);
        let memory = memory::check_group(workload, group, (least, most), limit);
        let huge = huge.into_iter().filter(|(_, takes)| *takes > 0);
        let huge = huge.filter_map(|(page, takes)| {
            let limit = system.huge_limit(group, page);
            memory::check_huge(workload, group, page, takes, limit)
        });
        memory.into_iter().chain(huge).collect()
    }
}

/// All that the checks look at, gathered for the thread that runs them.
pub(super) struct Subject {
    pub(super) system: System,
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
        let line = command_line(&self.target, own_line).unwrap_or_default();
        // What is built into the target counts, too.
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
        let groups = self.groups.iter();
        checks.extend(groups.flat_map(|group| group.checks(&self.system, memfds)));
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
        let checks = group.checks(&System::at(root.path()), memfds);
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
