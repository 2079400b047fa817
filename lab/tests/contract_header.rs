// SPDX-License-Identifier: MIT OR Apache-2.0
//! The header for programs in C says the same as `luo-abi`.
//!
//! A C program is made from what Rust knows, sizes, offsets and numbers, and the
//! compiler checks it against the header. Mainline's header, which ours includes,
//! is not there without a kernel's tree; what is needed of it stands in.

use std::fs;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;

use luo_abi::contract::*;
use luo_abi::{rfc, uapi};

const HEADER: &str = "linux/liveupdate_contract.h";

/// An assertion that does not hold ends the compilation.
fn assertion(left: &str, right: impl std::fmt::Display) -> String {
    format!("_Static_assert(({left}) == {right}ULL, \"{left}\");\n")
}

macro_rules! layouts {
    ($($c:literal = $rust:ty { $($field:ident)* })*) => {{
        let mut text = String::new();
        $(
            text += &assertion(concat!("sizeof(struct ", $c, ")"), size_of::<$rust>());
            $(text += &assertion(
                concat!("__builtin_offsetof(struct ", $c, ", ", stringify!($field), ")"),
                offset_of!($rust, $field),
            );)*
        )*
        text
    }};
}

macro_rules! numbers {
    ($($c:literal = $rust:expr;)*) => {{
        let mut text = String::new();
        $(text += &assertion($c, u64::from($rust));)*
        text
    }};
}

fn layouts() -> String {
    layouts! {
        "liveupdate_fd" = rfc::LiveupdateFd { fd flags token }
        "liveupdate_unpreserve_fd" = UnpreserveFd { size reserved token }
        "liveupdate_session_freeze" = SessionFreeze { size reserved }
        "liveupdate_dependency" = Dependency { size flags token on_token on_session }
        "liveupdate_list" = List {
            size flags cursor entries entry_size capacity count reserved total token
        }
        "liveupdate_file_info" = FileInfo {
            token bytes status error dependencies dependents handler
        }
        "liveupdate_dependency_info" = DependencyInfo { token status flags session }
        "liveupdate_session_info" = SessionInfo {
            files bytes direction state flags reserved name
        }
        "liveupdate_participant_info" = ParticipantInfo { files kind reserved name }
        "liveupdate_info" = Info {
            size state update_count state_changes features outgoing incoming unclaimed
            files max_sessions max_files_per_session max_records max_subsystems
            handover_abi contract_abi implementation lost_files lost_sessions
            lost_subsystems lost_flags
        }
        "liveupdate_failure" = Failure {
            size event error cause sequence token on_token session on_session
            participant on_flags reserved
        }
    }
}

fn calls() -> String {
    numbers! {
        "LIVEUPDATE_IOCTL_FD_PRESERVE" = rfc::FD_PRESERVE;
        "LIVEUPDATE_IOCTL_FD_UNPRESERVE" = rfc::FD_UNPRESERVE;
        "LIVEUPDATE_IOCTL_FD_RESTORE" = rfc::FD_RESTORE;
        "LIVEUPDATE_IOCTL_GET_STATE" = rfc::GET_STATE;
        "LIVEUPDATE_IOCTL_EVENT_PREPARE" = rfc::EVENT_PREPARE;
        "LIVEUPDATE_IOCTL_EVENT_FREEZE" = rfc::EVENT_FREEZE;
        "LIVEUPDATE_IOCTL_EVENT_CANCEL" = rfc::EVENT_CANCEL;
        "LIVEUPDATE_IOCTL_EVENT_FINISH" = rfc::EVENT_FINISH;
        "LIVEUPDATE_IOCTL_UNPRESERVE_FD" = UNPRESERVE_FD;
        "LIVEUPDATE_SESSION_FREEZE" = SESSION_FREEZE;
        "LIVEUPDATE_IOCTL_ADD_DEPENDENCY" = ADD_DEPENDENCY;
        "LIVEUPDATE_IOCTL_DROP_DEPENDENCY" = DROP_DEPENDENCY;
        "LIVEUPDATE_IOCTL_LIST_FILES" = LIST_FILES;
        "LIVEUPDATE_IOCTL_LIST_DEPENDENCIES" = LIST_DEPENDENCIES;
        "LIVEUPDATE_IOCTL_LIST_SESSIONS" = LIST_SESSIONS;
        "LIVEUPDATE_IOCTL_GET_INFO" = GET_INFO;
        "LIVEUPDATE_IOCTL_LIST_PARTICIPANTS" = LIST_PARTICIPANTS;
        "LIVEUPDATE_IOCTL_GET_FAILURE" = GET_FAILURE;
    }
}

fn values() -> String {
    use rfc::{Event, State};
    numbers! {
        "LIVEUPDATE_STATE_NORMAL" = State::Normal as u32;
        "LIVEUPDATE_STATE_PREPARED" = State::Prepared as u32;
        "LIVEUPDATE_STATE_FROZEN" = State::Frozen as u32;
        "LIVEUPDATE_STATE_UPDATED" = State::Updated as u32;
        "LIVEUPDATE_PREPARE" = Event::Prepare as u32;
        "LIVEUPDATE_FREEZE" = Event::Freeze as u32;
        "LIVEUPDATE_FINISH" = Event::Finish as u32;
        "LIVEUPDATE_CANCEL" = Event::Cancel as u32;
        "LIVEUPDATE_EVENT_REBOOT" = EVENT_REBOOT;
        "LIVEUPDATE_DEPENDENCY_ON_DEVICE" = DEPENDENCY_ON_DEVICE;
        "LIVEUPDATE_LIST_OUTGOING" = LIST_OUTGOING;
        "LIVEUPDATE_LIST_INCOMING" = LIST_INCOMING;
        "LIVEUPDATE_FILE_BUSY" = FILE_BUSY;
        "LIVEUPDATE_FILE_REGISTERED" = FILE_REGISTERED;
        "LIVEUPDATE_FILE_PRESERVED" = FILE_PRESERVED;
        "LIVEUPDATE_FILE_FROZEN" = FILE_FROZEN;
        "LIVEUPDATE_FILE_INCOMING" = FILE_INCOMING;
        "LIVEUPDATE_FILE_RETRIEVED" = FILE_RETRIEVED;
        "LIVEUPDATE_FILE_FAILED" = FILE_FAILED;
        "LIVEUPDATE_FILE_MISSING" = FILE_MISSING;
        "LIVEUPDATE_FILE_LOST" = FILE_LOST;
        "LIVEUPDATE_LOST_UNREAD" = LOST_UNREAD;
        "LIVEUPDATE_SESSION_OPEN" = SESSION_OPEN;
        "LIVEUPDATE_SESSION_CLOSED" = SESSION_CLOSED;
        "LIVEUPDATE_SESSION_UNCLAIMED" = SESSION_UNCLAIMED;
        "LIVEUPDATE_SESSION_CLAIMED" = SESSION_CLAIMED;
        "LIVEUPDATE_SESSION_UNFINISHED" = SESSION_UNFINISHED;
        "LIVEUPDATE_SESSION_OF_DEVICE" = SESSION_OF_DEVICE;
        "LIVEUPDATE_SESSION_FROZEN" = SESSION_FROZEN;
        "LIVEUPDATE_PARTICIPANT_FILE_HANDLER" = PARTICIPANT_FILE_HANDLER;
        "LIVEUPDATE_PARTICIPANT_FLB" = PARTICIPANT_FLB;
        "LIVEUPDATE_PARTICIPANT_SUBSYSTEM" = PARTICIPANT_SUBSYSTEM;
        "LIVEUPDATE_PARTICIPANT_AWAITED" = PARTICIPANT_AWAITED;
        "LIVEUPDATE_CAUSE_NONE" = CAUSE_NONE;
        "LIVEUPDATE_CAUSE_HANDLER" = CAUSE_HANDLER;
        "LIVEUPDATE_CAUSE_SUBSYSTEM" = CAUSE_SUBSYSTEM;
        "LIVEUPDATE_CAUSE_DEPENDENCY" = CAUSE_DEPENDENCY;
        "LIVEUPDATE_CAUSE_CARRY" = CAUSE_CARRY;
        "LIVEUPDATE_CAUSE_INTERNAL" = CAUSE_INTERNAL;
        "LIVEUPDATE_CAUSE_IMAGE" = CAUSE_IMAGE;
        "LIVEUPDATE_CAUSE_BUSY" = CAUSE_BUSY;
        "LIVEUPDATE_FEATURE_RFC" = FEATURE_RFC;
        "LIVEUPDATE_FEATURE_DEPENDENCIES" = FEATURE_DEPENDENCIES;
        "LIVEUPDATE_FEATURE_SUBSYSTEMS" = FEATURE_SUBSYSTEMS;
        "LIVEUPDATE_FEATURE_CARRY" = FEATURE_CARRY;
        "LIVEUPDATE_FEATURE_POLL" = FEATURE_POLL;
        "LIVEUPDATE_FEATURE_MANY_OPENERS" = FEATURE_MANY_OPENERS;
        "LIVEUPDATE_FEATURE_ACCESS_MODE" = FEATURE_ACCESS_MODE;
        "LIVEUPDATE_FEATURE_SESSION_FREEZE" = FEATURE_SESSION_FREEZE;
    }
}

/// Compiles a program against the header; the complaints of the compiler.
fn complaints(program: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let header = root.join("kernel/overlay/include/uapi").join(HEADER);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("linux")).unwrap();
    fs::copy(header, dir.path().join(HEADER)).unwrap();
    let mainline = format!(
        "#define LIVEUPDATE_IOCTL_TYPE {:#x}\n#define LIVEUPDATE_SESSION_NAME_LENGTH {}\n",
        uapi::IOCTL_TYPE,
        uapi::SESSION_NAME_LENGTH
    );
    fs::write(dir.path().join("linux/liveupdate.h"), mainline).unwrap();
    let source = dir.path().join("program.c");
    fs::write(&source, format!("#include <{HEADER}>\n{program}")).unwrap();
    let output = Command::new("cc")
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fsyntax-only",
            "-I",
        ])
        .arg(dir.path())
        .arg(source)
        .output()
        .expect("a C compiler");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.success(),
        complaints.is_empty(),
        "{complaints}"
    );
    complaints
}

#[test]
fn header_and_crate_agree() {
    let program = layouts() + &calls() + &values();
    assert!(program.lines().count() > 120, "{program}");
    assert_eq!(complaints(&program), "");
}

#[test]
fn a_disagreement_is_noticed() {
    let program = assertion("sizeof(struct liveupdate_info)", 183);
    assert!(complaints(&program).contains("liveupdate_info"));
}
