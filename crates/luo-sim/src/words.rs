// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls by name, for the trace.

use luo_abi::{contract, rfc, uapi};

/// Commands and their names.
const CALLS: &[(u32, &str)] = &[
    (uapi::CREATE_SESSION, "CREATE_SESSION"),
    (uapi::RETRIEVE_SESSION, "RETRIEVE_SESSION"),
    (uapi::SESSION_PRESERVE_FD, "PRESERVE_FD"),
    (uapi::SESSION_RETRIEVE_FD, "RETRIEVE_FD"),
    (uapi::SESSION_FINISH, "FINISH"),
    (uapi::SESSION_GET_NAME, "GET_NAME"),
    (rfc::FD_PRESERVE, "FD_PRESERVE"),
    (rfc::FD_UNPRESERVE, "FD_UNPRESERVE"),
    (rfc::FD_RESTORE, "FD_RESTORE"),
    (rfc::GET_STATE, "GET_STATE"),
    (rfc::EVENT_PREPARE, "EVENT_PREPARE"),
    (rfc::EVENT_FREEZE, "EVENT_FREEZE"),
    (rfc::EVENT_CANCEL, "EVENT_CANCEL"),
    (rfc::EVENT_FINISH, "EVENT_FINISH"),
    (contract::UNPRESERVE_FD, "UNPRESERVE_FD"),
    (contract::ADD_DEPENDENCY, "ADD_DEPENDENCY"),
    (contract::DROP_DEPENDENCY, "DROP_DEPENDENCY"),
    (contract::LIST_FILES, "LIST_FILES"),
    (contract::LIST_DEPENDENCIES, "LIST_DEPENDENCIES"),
    (contract::LIST_SESSIONS, "LIST_SESSIONS"),
    (contract::GET_INFO, "GET_INFO"),
    (contract::LIST_PARTICIPANTS, "LIST_PARTICIPANTS"),
    (contract::GET_FAILURE, "GET_FAILURE"),
];

/// The name of a command, or its number.
pub(crate) fn call(command: u32) -> String {
    let known = CALLS.iter().find(|(known, _)| *known == command);
    known.map_or_else(
        || format!("ioctl({command:#x})"),
        |(_, name)| (*name).to_owned(),
    )
}
