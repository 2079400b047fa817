// SPDX-License-Identifier: MIT OR Apache-2.0
//! docs/calls.md is in step with the table. `LUO_UPDATE=1 cargo test -p luo-calls
//! document` writes it anew.

use std::fmt::Write as _;

use luo_abi::calls::{Call, Form, On, Origin, When, Who, CALLS, TAKE_OVER};

const HEAD: &str = "\
# Calls

All ioctls of `/dev/liveupdate` and of a session's descriptor. This page is written from
`luo_abi::calls::CALLS` (`crates/luo-abi/src/calls.rs`). By that table the kernel and the
simulator find a call by its number and its descriptor, and refuse a caller; tests hold them
to its arguments, states and errors.

The structures, field by field, are in mainline's `include/uapi/linux/liveupdate.h` and in
`kernel/overlay/include/uapi/linux/liveupdate_contract.h`, for C; and in `luo_abi::uapi`,
`luo_abi::rfc` and `luo_abi::contract`, for Rust.

- *argument*: bytes. *Size first* begins with its size, and grows by the rules of
  `luo_abi::extend`: shorter than the first form is EINVAL; longer than 4,096, or with
  something behind what the orchestrator knows, E2BIG.
- *legal in*: the states of the machine; in all others the call ends with the error that
  is named, some of them only for what took part in the prepare. Once a reboot has frozen
  everything, the calls on sessions, other than queries, end with EBUSY. Whoever waits for a
  transition and is killed gets EAGAIN.
- *may end with*: beside that, EFAULT for memory that cannot be read or written, ENOMEM,
  and, where handlers or subsystems are asked (+), whatever they say.
- Before the first call on an open device the sessions of the previous kernel are taken over.
  Whichever call that is may therefore end with {TAKE_OVER}: EIO if what was handed over is
  refused, EBUSY if it takes longer than `liveupdate_patience`. A handler that is missing refuses
  nothing: its files wait for it (EAGAIN of RETRIEVE_FD and FD_RESTORE).
- A call that the descriptor does not take ends with ENOTTY.
- Whoever holds a descriptor may make its calls, whoever opened it, but for those with
  *EACCES without CAP_SYS_ADMIN*: these move or show the whole machine, and take that at the call.
- RETRIEVE_FD of a token that has been retrieved gives one more descriptor of the same file, as
  on mainline. FD_RESTORE gives one once.
";

fn states(call: &Call) -> String {
    match call.when {
        When::Always => "all".to_owned(),
        When::In(states, errno) => {
            let words: Vec<_> = states.iter().map(|state| state.word()).collect();
            format!("{}; else {errno}", words.join(", ").to_uppercase())
        }
        When::OrLate(states, errno) => {
            let words: Vec<_> = states.iter().map(|state| state.word()).collect();
            let words = words.join(", ").to_uppercase();
            format!("{words}; else {errno} for what took part")
        }
    }
}

fn errors(call: &Call) -> String {
    let mut words: Vec<_> = call.errors.iter().map(ToString::to_string).collect();
    match call.who {
        Who::Holder => {}
        Who::Administrator => words.push("EACCES without CAP_SYS_ADMIN".to_owned()),
    }
    if call.asks {
        words.push("+".to_owned());
    }
    words.join(", ")
}

fn row(page: &mut String, call: &Call) {
    let on = match call.on {
        On::Device => "device",
        On::Session => "session",
        On::Both => "device, session",
    };
    let argument = match call.form {
        Form::Nothing => "none".to_owned(),
        Form::Fixed(bytes) => bytes.to_string(),
        Form::Sized { known, .. } => format!("{known}, size first"),
    };
    writeln!(
        page,
        "| {} | {:#X} | {on} | {argument} | {} | {} | {} |",
        call.word,
        call.command,
        states(call),
        errors(call),
        call.does
    )
    .unwrap();
}

fn due() -> String {
    let before = TAKE_OVER.map(|errno| errno.to_string()).join(", ");
    let mut page = HEAD.replace("{TAKE_OVER}", &before);
    for (origin, title) in [
        (Origin::Mainline, "Mainline's"),
        (Origin::Rfc, "The original proposal's"),
        (Origin::Contract, "This project's own"),
    ] {
        write!(
            page,
            "\n## {title}\n\n\
             | call | number | on | argument | legal in | may end with | what it does |\n\
             |---|---|---|---|---|---|---|\n"
        )
        .unwrap();
        for call in CALLS.iter().filter(|call| call.origin == origin) {
            row(&mut page, call);
        }
    }
    page
}

#[test]
fn the_page_is_of_this_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/calls.md");
    let due = due();
    if std::env::var_os("LUO_UPDATE").is_some() {
        std::fs::write(path, &due).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == due,
        "docs/calls.md is out of step: `LUO_UPDATE=1 cargo test -p luo-calls document`"
    );
}
