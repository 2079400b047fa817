// SPDX-License-Identifier: MIT OR Apache-2.0
//! All that the checks look at, gathered for the thread that runs them.

use std::fs;
use std::path::Path;

use luo_preflight::abi::{Abi, FAMILIES};
use luo_preflight::file::Facts;
use luo_preflight::initrd::{Archive, Stop, Unusable};
use luo_preflight::system::System;
use luo_preflight::update::{self, Update};
use luo_preflight::{command_line as lines, image, initrd, memory, target};
use luo_sys::{ParticipantEntry, ParticipantKind};
use luo_varlink::{Check, Orchestrator, Target};

use super::words::handlers;
use crate::agent::OwnStrings;
use crate::kernel::{Probe, command_line, initrds};

/// All that the checks look at, gathered for the thread that runs them.
pub(super) struct Subject {
    pub(super) system: System,
    pub(super) probe: Probe,
    pub(super) participants: Option<Vec<ParticipantEntry>>,
    pub(super) own: OwnStrings,
    pub(super) target: Target,
    pub(super) files: Vec<(String, Facts)>,
    /// Workloads with their control groups, and bytes of the files that they have declared.
    pub(super) groups: Vec<(String, String, u64)>,
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
        checks.extend(self.groups.iter().filter_map(|(workload, group, takes)| {
            let limit = self.system.memory_limit(group);
            memory::check_group(workload, group, *takes, limit)
        }));
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
