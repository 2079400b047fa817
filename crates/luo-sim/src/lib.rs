// SPDX-License-Identifier: MIT OR Apache-2.0
//! The simulator: runs unmodified programs against the Live Update Orchestrator in
//! user space, with a simulated kexec. No root, no special kernel.
//!
//! Programs see a `/dev/liveupdate`, because the system calls that concern it come
//! here by seccomp user notification; everything else runs at its own speed. The
//! orchestrator behind it is `luo-core`, the very engine of the Linux host, and what
//! one simulated kernel leaves for the next is written and read by the same code.
//!
//! Enter here:
//!
//! - [`Simulator`]: put together a simulation, run it, look at the [`Outcome`].
//! - [`Program`]: what is run at a boot.
//! - [`Fault`]: what is to go wrong.
//! - [`Event`]: a line of the trace.
//! - [`system::System`]: files of a machine with live update, for the agent `luod`.
//! - [`Simulator::test_driver`]: files and subsystems that fail or wait on demand, for
//!   tests of an orchestrator.
//!
//! # What it is not
//!
//! It refuses rather than pretends: kernels for after a panic, and files other than memfds,
//! eventfds, timers and pipes are refused with the errno of the kernel. It is no
//! boundary of security: a program that wants to can tell it from a kernel, and get
//! around it. It does not show, or shows differently:
//!
//! | | the kernel | here |
//! |---|---|---|
//! | `readdir` of the folders of our paths, `chdir` into them | there | not there: opening works, `stat` and `access` do |
//! | a session's or the device's descriptor | a file of its own kind | a socket: `write`, `fstat`, `fchmod`, `fchown`, `F_GETFL` and each call that is not named here are those of a socket (`fstatfs`, links and fdinfo are the kernel's); reading a session ends at once, reading the device is EAGAIN, where the kernel says EINVAL |
//! | `O_PATH`, `statfs`, `utimensat`, inotify and io_uring's open with our paths | there | ENOENT: there is no file of that kind to be given, and what io_uring does no filter sees |
//! | `chmod` and `chown` of our paths other than the device's | files of root's, whose modes and owners can be changed | ENOENT, and they stay as they are |
//! | `mkdir`, `mknod`, `symlink`, `link`, `unlink`, `rename`, `truncate` and extended attributes of our paths; the device by another mount of devtmpfs | as on a file that is there (EEXIST, EINVAL, ENODATA), and the same device | those of the real machine, where there is no such file: ENOENT, EXDEV, or a folder that is made; another mount does not have it |
//! | `realpath` of our paths, and links to them | there | links are followed at open, `stat` and `access`; `lstat` and `readlink` see the real machine's |
//! | signal handlers without `SA_RESTART` | `open`, `stat`, `access`, `readlink` of ordinary files are not interrupted | EINTR, if the signal comes before the call has got here (1.5 % of them at 5,000 signals a second): the kernel lets nobody ask for more |
//! | `/dev/liveupdate.lock`, which agents lock | once one of them has made it | there, and cannot be removed |
//! | `/sys/kernel/liveupdate/state` | current at each read, `POLLPRI` | as of the open |
//! | `close` during a transition | waits for its end | returns at once; the session's end comes with the transition's |
//! | `/sys/kernel/liveupdate/unclaimed` and its like, opened to be written | files: the write is EACCES without CAP_SYS_ADMIN, EINVAL for an unknown word | sockets, which keep each write apart and are read as of the open. The open is EACCES without the capability; what is written by a descriptor that was passed on without it, and an unknown word, is not taken, with a warning in the log |
//! | what follows for others when a program without CAP_SYS_ADMIN has finished a session | done by a worker, in whose time nobody waits but for the end of the update | done by a thread of the simulator's before the call returns |
//! | steps of users stand in lines | there | there are none: each call has a thread of the simulator's |
//! | no free descriptor (EMFILE) | told before the work | told after it, and undone |
//! | a preserved memfd that is made larger by `write` | EPERM | the freeze is vetoed (`ftruncate`, `fallocate`: EPERM, as in the kernel) |
//! | a preserved memfd that is resized, or has pages taken out of it, by way of its link in `/proc` (`truncate`, `O_TRUNC`), of io_uring or of `process_madvise` | EPERM | done: another size vetoes the freeze, pages that are gone are not noticed |
//! | a memfd that comes back | a new inode; as it was otherwise, where both kernels have this project's handler, and with mainline's losses where one has mainline's (docs/memfds.md) | the same inode; as it was, whichever handlers the two kernels are said to have (`--mainline-memfds`, `luo-sim system --mainline`). Memory beyond its end and extended attributes stay, too |
//! | `/sys/kernel/liveupdate/memfd` | decides in which form memfds are handed over from then on | decides by which handler they are listed: no page is handed over |
//! | FLBs, drivers, memory accounting | there | none |
//! | opening a file, `stat`, `access`, `readlink` | | some 30 us longer, whatever file it is |
//! | a process that is killed inside `reboot` with KEXEC | goes on to the jump: the kernel does not let go of it before | ends, and the jump comes all the same (`--fault kexec=delay:MS` makes room for that): what is started meanwhile in its place runs until then |
//! | a parameter of live update with a word that it does not take | the default, with a line in the log | the machine is not started |
//! | programs of another word size | work | are killed by the filter (SIGSYS) |
//!
//! The suite of behaviour tests (`conformance/`) runs here as it does in our kernel and
//! in mainline's; docs/conformance.md has what differs, case by case.
//!
//! If the simulator itself ends, by whatever signal, so does all that its programs have started,
//! daemons included.
#![forbid(unsafe_code)]

#[cfg(feature = "fuzzing")]
pub mod bench;
mod boot;
mod call;
mod caller;
mod cli;
mod client;
pub mod command;
mod descriptor;
mod device;
mod driver;
mod error;
mod fault;
mod fdinfo;
mod files;
mod filter;
mod handler;
mod hint;
mod host;
mod lock;
mod log;
mod lookers;
mod machine;
mod memfd;
mod memory;
mod open_files;
mod outcome;
mod participant;
mod path;
mod permissions;
mod policy;
mod program;
mod queues;
mod random;
mod reboot;
mod run;
mod signal;
mod simulator;
mod socket;
mod stat;
mod stop;
mod supervisor;
mod syscalls;
pub mod system;
mod table;
mod trace;
mod tree;

pub use error::Error;
pub use fault::{Action, BadFault, Damage, Fault, Help, Step};
pub use outcome::{Boot, Ending, Left, Outcome};
pub use program::Program;
pub use simulator::Simulator;
pub use trace::Event;
