// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that have a handler of this project and none of mainline's: small ones, of which all
//! is handed over, virtual machines and their memory, and memfds of huge pages. Which they are, and whether both kernels have the
//! handler.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use luo_varlink::Check;

use crate::check::{failed, ok};
use crate::image::{Contents, family_of};

/// A kind of such files.
#[derive(Debug, PartialEq, Eq)]
pub struct Small {
    /// What such a file is, in words.
    pub what: &'static str,
    /// The handler that takes it.
    pub handler: &'static str,
    /// What the kernel calls it, or how that begins.
    link: &'static str,
    /// What to do where a kernel has no such handler.
    pub remedy: &'static str,
}

/// Memfds of huge pages, which are known by their file system.
pub const HUGE: Small = Small {
    what: "a memfd of huge pages (hugetlb)",
    handler: "luo-hugetlb-v1",
    link: "/memfd:",
    remedy: "create it without MFD_HUGETLB (transparent huge pages are fine), or run and jump into \
             kernels with the orchestrator in Rust and CONFIG_HUGETLBFS",
};

/// All small ones, and those of KVM's.
pub const ALL: [Small; 5] = [
    Small {
        what: "an eventfd",
        handler: "luo-eventfd-v1",
        link: "anon_inode:[eventfd]",
        remedy: REMEDY,
    },
    Small {
        what: "a timer (timerfd)",
        handler: "luo-timerfd-v1",
        link: "anon_inode:[timerfd]",
        remedy: REMEDY,
    },
    Small {
        what: "a pipe",
        handler: "luo-pipe-v1",
        link: "pipe:",
        remedy: REMEDY,
    },
    Small {
        what: "a virtual machine (KVM)",
        handler: "luo-kvm-vm-v1",
        link: "anon_inode:kvm-vm",
        remedy: REMEDY_OF_KVM,
    },
    Small {
        what: "memory of a virtual machine (guest_memfd)",
        handler: "luo-guest-memfd-v1",
        link: "/[kvm-gmem]",
        remedy: REMEDY_OF_KVM,
    },
];

/// The families of their formats.
pub(crate) fn families() -> impl Iterator<Item = &'static str> {
    let all = ALL.iter().chain([&HUGE]);
    all.filter_map(|small| family_of(small.handler))
}

/// The kind of a descriptor of this process, if it is one of these.
pub(crate) fn of(fd: BorrowedFd<'_>) -> Option<&'static Small> {
    let path = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
    let link = std::fs::read_link(path).ok()?;
    let link = link.to_str()?;
    ALL.iter().find(|small| link.starts_with(small.link))
}

impl Small {
    /// Whether the running kernel has the handler.
    pub(crate) fn is_in(&self, handlers: Option<&[String]>) -> bool {
        handlers.is_some_and(|all| all.iter().any(|has| has == self.handler))
    }

    /// Whether the running kernel has the handler; one that does not say has mainline's.
    pub(crate) fn check(&self, name: &str, handlers: Option<&[String]>) -> Check {
        const NAME: &str = "file-kind";
        let (what, handler) = (self.what, self.handler);
        if self.is_in(handlers) {
            return ok(NAME, format!("{name} is {what}"));
        }
        let found = format!(
            "{name} is {what}: the kernel has no handler {handler}, and refuses it (ENOENT)"
        );
        failed(NAME, found, self.remedy)
    }

    /// The fault of the target with such a file: a kernel without the handler takes over
    /// nothing.
    pub(crate) fn target_check(&self, name: &str, target: Option<&Contents>) -> Option<Check> {
        let handler = self.handler;
        let target = target.filter(|target| !target.strings.contains(handler))?;
        let release = target.release().unwrap_or("of unknown release");
        let what = self.what;
        Some(failed(
            "file-kind",
            format!(
                "{name} is {what}, and the target, a kernel {release}, has no handler {handler}: \
                 it would not take over anything"
            ),
            self.remedy,
        ))
    }
}

const REMEDY: &str = "make it anew in the next program, from what a memfd says, or run and jump \
                      into kernels with the orchestrator in Rust";

const REMEDY_OF_KVM: &str = "have the guest's RAM in a memfd and make the machine anew, or run and \
                             jump into kernels with the orchestrator in Rust and KVM, which has to \
                             be loaded in the running one";

#[cfg(test)]
mod tests {
    use super::*;
    use luo_varlink::CheckStatus;
    use rustix::event::{EventfdFlags, eventfd};
    use std::os::fd::AsFd as _;

    #[test]
    fn the_kernel_says_what_it_is() {
        let file = eventfd(0, EventfdFlags::empty()).unwrap();
        assert_eq!(of(file.as_fd()), Some(&ALL[0]));
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        assert_eq!(of(reader.as_fd()), Some(&ALL[2]));
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(of(null.as_fd()), None);
    }

    #[test]
    fn both_kernels_have_to_have_the_handler() {
        let small = &ALL[0];
        let has = ["memfd-v2".to_owned(), small.handler.to_owned()];
        let status = |handlers| small.check("it", handlers).status;
        assert_eq!(status(Some(&has[..])), CheckStatus::Ok);
        assert_eq!(status(Some(&has[..1])), CheckStatus::Failed);
        assert_eq!(status(None), CheckStatus::Failed);
        let with = Contents {
            strings: [small.handler.to_owned()].into(),
            ..Contents::default()
        };
        assert_eq!(small.target_check("it", Some(&with)), None);
        assert_eq!(small.target_check("it", None), None);
        let without = small
            .target_check("it", Some(&Contents::default()))
            .unwrap();
        assert_eq!(without.status, CheckStatus::Failed);
    }

    #[test]
    fn the_names_are_those_of_the_kernel() {
        use luo_abi::note;
        let names = ALL.each_ref().map(|small| small.handler);
        let known = [
            note::EVENTFD,
            note::TIMERFD,
            note::PIPE,
            note::KVM_VM,
            note::GUEST_MEMFD,
        ];
        assert_eq!(names, known);
        assert_eq!(HUGE.handler, luo_abi::memfd::HUGE);
    }

    /// A target's image is searched for them.
    #[test]
    fn a_kernel_has_each_name_as_a_word_that_ends() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../kernel/overlay/kernel/liveupdate/rust"
        );
        let read = |file: &str| std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
        let sources = read("luo_shim.c") + &read("luo_memfd_mm.c");
        for small in ALL.iter().chain([&HUGE]) {
            let ends = [
                format!("\"{}\\0\"", small.handler),
                format!("\"{}\"", small.handler),
            ];
            assert!(
                ends.iter().any(|end| sources.contains(end)),
                "{}",
                small.handler
            );
        }
    }
}
