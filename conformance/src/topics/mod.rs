// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table. One topic, one file.

mod busy;
mod calls;
mod carry;
mod closing;
mod dependencies;
mod device;
mod disks;
mod errors;
mod eventfds;
mod events;
mod extension;
mod failed_memory;
mod faults;
mod fdinfo;
mod fidelity;
mod finish;
mod hugetlb;
mod image;
mod implicit;
mod killed;
mod kinds;
mod kvm;
mod late;
mod late_handlers;
mod lifetime;
mod log;
mod lost;
mod memfds;
mod modules;
mod names;
mod needs;
mod owners;
mod pipes;
mod poll;
mod preserve;
mod queries;
mod retrieve;
mod rfc_files;
mod rust_participant;
mod scale;
mod session_freeze;
mod states;
mod subsystems;
mod sysfs;
mod timerfds;
mod tokens;
mod tools;
mod unpreserve;
mod waiting;

use crate::case::Topic;

/// Every topic, in the order in which they run.
pub const TOPICS: &[Topic] = &[
    topic("device", device::CASES),
    topic("calls", calls::CASES),
    topic("extension", extension::CASES),
    topic("errors", errors::CASES),
    topic("names", names::CASES),
    topic("owners", owners::CASES),
    topic("preserve", preserve::CASES),
    topic("lifetime", lifetime::CASES),
    topic("retrieve", retrieve::CASES),
    topic("memfds", memfds::CASES),
    topic("fidelity", fidelity::CASES),
    topic("busy", busy::CASES),
    topic("disks", disks::CASES),
    topic("failed-memory", failed_memory::CASES),
    topic("hugetlb", hugetlb::CASES),
    topic("eventfds", eventfds::CASES),
    topic("timerfds", timerfds::CASES),
    topic("pipes", pipes::CASES),
    topic("kinds", kinds::CASES),
    topic("kvm", kvm::CASES),
    topic("finish", finish::CASES),
    topic("faults", faults::CASES),
    topic("killed", killed::CASES),
    topic("states", states::CASES),
    topic("events", events::CASES),
    topic("rfc-files", rfc_files::CASES),
    topic("tokens", tokens::CASES),
    topic("unpreserve", unpreserve::CASES),
    topic("dependencies", dependencies::CASES),
    topic("needs", needs::CASES),
    topic("modules", modules::CASES),
    topic("subsystems", subsystems::CASES),
    topic("rust-participant", rust_participant::CASES),
    topic("waiting", waiting::CASES),
    topic("queries", queries::CASES),
    topic("poll", poll::CASES),
    topic("sysfs", sysfs::CASES),
    topic("fdinfo", fdinfo::CASES),
    topic("log", log::CASES),
    topic("closing", closing::CASES),
    topic("late", late::CASES),
    topic("session-freeze", session_freeze::CASES),
    topic("implicit", implicit::CASES),
    topic("image", image::CASES),
    topic("carry", carry::CASES),
    topic("lost", lost::CASES),
    topic("late-handlers", late_handlers::CASES),
    topic("scale", scale::CASES),
];

const fn topic(name: &'static str, cases: &'static [crate::case::Case]) -> Topic {
    Topic { name, cases }
}
