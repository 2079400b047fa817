// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual machines and memory of such that no kernel would hand over, a file each, in one session:
//! damage of one is no business of the others, and KVM is asked for nothing that it does not do for
//! any program.

use std::os::fd::AsRawFd as _;

use anyhow::{Result, ensure};
use luo_abi::handover::FileRecord;
use luo_abi::note::{
    Capability, Eventfd, GUEST_MEMFD, GuestMemfd, IRQCHIP, KVM_VM, KvmVm, MOST_CAPABILITIES, PIT,
};
use luo_core::note::{NO_CALL, Note, write};
use luo_sys::{Errno, Token};

use super::compose::{Composer, field};
use crate::check::{device, name, refused, same};
use crate::forge::PAGE;
use crate::module;

/// The session that they are in, that of [`Composer::files`].
const SESSION: &str = "victim";

/// A file, and what is wrong with it.
struct File {
    name: &'static str,
    compatible: &'static str,
    /// What it has left.
    page: fn() -> [u8; PAGE],
    /// What retrieving it must give; `None` for a machine.
    expected: Option<Errno>,
}

const SPLIT_IRQCHIP: u32 = 121;
const X2APIC_API: u32 = 129;
const VM_COPY_ENC_CONTEXT_FROM: u32 = 197;

/// A machine that is set up by such calls, each with an argument.
fn machine(calls: &[(u32, u64)]) -> KvmVm {
    let mut all = [NO_CALL; MOST_CAPABILITIES];
    for (to, &(cap, arg)) in all.iter_mut().zip(calls) {
        *to = Capability {
            cap,
            flags: 0,
            args: [arg, 0, 0, 0],
        };
    }
    KvmVm {
        kind: 0,
        identity: 77,
        devices: 0,
        count: calls.len() as u64,
        calls: all,
    }
}

const MEMORY: GuestMemfd = GuestMemfd {
    // The first machine.
    machine: 1,
    identity: 77,
    flags: 3,
    pages: 0x5000,
};

fn page<N: Note>(note: &N) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    write(&mut page, note);
    page
}

const fn bad(name: &'static str, page: fn() -> [u8; PAGE]) -> File {
    File {
        name,
        compatible: KVM_VM,
        page,
        expected: Some(Errno::EINVAL),
    }
}

/// Of which the note is as it should be, and KVM knows no such machine.
const fn unknown(name: &'static str, page: fn() -> [u8; PAGE]) -> File {
    File {
        expected: Some(Errno::EOPNOTSUPP),
        ..bad(name, page)
    }
}

const fn memory(name: &'static str, page: fn() -> [u8; PAGE]) -> File {
    File {
        compatible: GUEST_MEMFD,
        ..bad(name, page)
    }
}

/// All of them; the token of each is its place, from 1 on.
const FILES: &[File] = &[
    File {
        expected: None,
        ..bad("a-machine-as-it-should-be", || {
            page(&machine(&[(SPLIT_IRQCHIP, 24), (X2APIC_API, 4)]))
        })
    },
    unknown("a-machine-of-an-unknown-type", || {
        page(&KvmVm {
            kind: 77,
            ..machine(&[])
        })
    }),
    unknown("a-capability-of-the-future", || {
        page(&machine(&[(9999, 1)]))
    }),
    unknown("capabilities-in-an-order-that-cannot-be", || {
        page(&machine(&[(X2APIC_API, 4), (SPLIT_IRQCHIP, 24)]))
    }),
    unknown("two-kinds-of-controllers", || {
        page(&KvmVm {
            devices: IRQCHIP,
            ..machine(&[(SPLIT_IRQCHIP, 24)])
        })
    }),
    bad("a-timer-without-controllers", || {
        page(&KvmVm {
            devices: PIT,
            ..machine(&[])
        })
    }),
    bad("devices-of-the-future", || {
        page(&KvmVm {
            devices: 1 << 40,
            ..machine(&[])
        })
    }),
    bad("more-calls-than-there-is-room", || {
        page(&KvmVm {
            count: u64::MAX,
            ..machine(&[])
        })
    }),
    bad("a-call-that-is-not-counted", || {
        page(&KvmVm {
            count: 0,
            ..machine(&[(SPLIT_IRQCHIP, 24)])
        })
    }),
    bad("a-call-with-a-descriptor", || {
        page(&machine(&[(VM_COPY_ENC_CONTEXT_FROM, 0)]))
    }),
    bad("a-machine-that-is-nobody", || {
        page(&KvmVm {
            identity: 0,
            ..machine(&[])
        })
    }),
    bad("a-checksum", || {
        let mut page = page(&machine(&[]));
        page[64] ^= 1;
        page
    }),
    bad("an-eventfds-note", || page(&Eventfd { count: 1, flags: 0 })),
    File {
        // Nobody has said that it needs the machine.
        expected: Some(Errno::ENOENT),
        ..memory("memory-of-no-machine", || page(&MEMORY))
    },
    memory("memory-that-is-not-shared", || {
        page(&GuestMemfd { flags: 1, ..MEMORY })
    }),
    memory("memory-between-pages", || {
        page(&GuestMemfd {
            pages: 0x5008,
            ..MEMORY
        })
    }),
    memory("a-machines-note-for-memory", || page(&machine(&[]))),
];

/// A session with all of them. A kernel without KVM would refuse all of it.
pub(super) fn compose(composer: &mut Composer<'_>) -> Result<()> {
    composer.root()?;
    if !module::has_kvm()? {
        return Ok(());
    }
    let mut records = Vec::new();
    for (at, file) in FILES.iter().enumerate() {
        let (page, data) = composer.page()?;
        composer.put(page, 0, &(file.page)())?;
        records.push(FileRecord {
            compatible: field(file.compatible),
            data,
            token: at as u64 + 1,
        });
    }
    composer.files(&records)?;
    let sessions = composer.sessions_at()?;
    composer.point(sessions, 0)
}

/// Retrieves each: what is damaged is refused, then and each time after, and what is not
/// comes back.
pub(super) fn check() -> Result<()> {
    if !module::has_kvm()? {
        return Err(luo_conformance::check::skip("this kernel has no KVM"));
    }
    module::load_kvm_at_once()?;
    let session = device()?.retrieve_session(&name(SESSION))?;
    let mut complaints = Vec::new();
    for (at, file) in FILES.iter().enumerate() {
        let token = Token(at as u64 + 1);
        let checked = match file.expected {
            Some(errno) => refused(session.retrieve_fd(token), errno)
                .and_then(|()| refused(session.retrieve_fd(token), errno)),
            None => session
                .retrieve_fd(token)
                .map_err(anyhow::Error::from)
                .and_then(|fd| {
                    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
                    let kind = rustix::fs::readlink(path, Vec::new())?;
                    same("what it is", kind.to_str()?, "anon_inode:kvm-vm")
                }),
        };
        if let Err(why) = checked {
            complaints.push(format!("{}: {why:#}", file.name));
        }
    }
    ensure!(complaints.is_empty(), "{}", complaints.join("; "));
    Ok(session.finish()?)
}
