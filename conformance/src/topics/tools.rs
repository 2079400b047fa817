// SPDX-License-Identifier: MIT OR Apache-2.0
//! What several topics need.

use std::fs::File;
use std::thread::scope;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Errno, Event, Session, State, Token};

use crate::case::Context;
use crate::check::{device, name, same};
use crate::child::send;
use crate::difference::{Differs, absent, answers};
use crate::fill::{self, Prng};
use crate::forge::Hold;
use crate::kmsg::{Message, Reader};
use crate::waiting::Caller;

/// The reasons for most of what mainline lacks.
pub(super) const NO_RFC: &str = "mainline has dropped the calls of the proposal";
pub(super) const NO_EVENTS: &str = "mainline has no states and no events";
pub(super) const NO_CONTRACT: &str = "the call is this project's own";
pub(super) const NO_DEPENDENCIES: &str = "mainline knows no dependencies";
pub(super) const NO_SYSFS: &str = "mainline has no folder in sysfs";

/// Why mainline does not preserve a page that has to be moved, and is in use.
pub(super) const MOVES_AT_ONCE: &str =
    "mainline waits for nobody who uses a page that it has to move";

/// Where pages lie, and what disks there are, is the machine's.
pub(super) const NOT_SIMULATED: &str = "pages and disks are the machine's, not the simulator's";

/// The test driver of the simulator is in Rust.
pub(super) const NOT_IN_C: &str = "the simulator has no handlers in C";

/// Mainline has no handler that takes a file which is no memfd.
pub(super) const NO_HANDLER: &[Differs] = &[answers(
    Errno::ENOENT,
    "mainline has handlers of memfds only",
)];

/// Nor is there a choice of what users may preserve.
pub(super) const NO_CHOICE: &[Differs] = &[absent(NO_SYSFS)];

/// A kernel that looks at nothing.
#[expect(clippy::unnecessary_wraps, reason = "a step like any other")]
pub(super) fn untouched(_: &mut Context<'_>) -> Result<()> {
    Ok(())
}

/// Bytes of most memfds here; no multiple of a page.
pub(super) const LENGTH: u64 = 12_345;

/// The token of the first file of a session.
pub(super) const FIRST: Token = Token(1);

/// The contents that belong to a text and a number.
pub(super) fn contents(text: &str, number: u64) -> Prng {
    let text = text.bytes().fold(7, |sum: u64, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    Prng::of(&[text, number])
}

/// A memfd whose contents belong to a text and a number.
pub(super) fn memory(text: &str, number: u64) -> Result<File> {
    fill::memfd("conformance", LENGTH, contents(text, number))
}

/// Asserts that a file has the contents of [`memory`].
pub(super) fn verify(file: &File, text: &str, number: u64) -> Result<()> {
    fill::verify(file, LENGTH, contents(text, number))
        .with_context(|| format!("memory {number} of {text}"))
}

/// A session with memfds under the tokens 1 to `files`.
pub(super) fn session(device: &Device, text: &str, files: u64) -> Result<Session> {
    let session = device.create_session(&name(text))?;
    for token in 1..=files {
        session.preserve_fd(memory(text, token)?, Token(token))?;
    }
    Ok(session)
}

/// Takes the session of [`session`] back; its files stay where they are.
pub(super) fn incoming(text: &str) -> Result<Session> {
    Ok(device()?.retrieve_session(&name(text))?)
}

/// Takes a file of the session of [`session`] back and verifies it.
pub(super) fn retrieve(session: &Session, text: &str, token: u64) -> Result<File> {
    let file = File::from(session.retrieve_fd(Token(token))?);
    verify(&file, text, token)?;
    Ok(file)
}

/// Asserts the machine's state.
pub(super) fn state_is(device: &Device, expected: State) -> Result<()> {
    same("the state", device.state()?, expected)
}

/// Brings the machine from normal to another state that needs no kexec.
pub(super) fn enter(device: &Device, state: State) -> Result<()> {
    if matches!(state, State::Prepared | State::Frozen) {
        device.prepare()?;
    }
    if state == State::Frozen {
        device.freeze()?;
    }
    state_is(device, state)
}

/// Asserts that a memfd is held by nobody: its size can be changed.
pub(super) fn is_free(file: &File) -> Result<()> {
    let length = file.metadata()?.len();
    file.set_len(length + 4096).context("it is still held")?;
    Ok(file.set_len(length)?)
}

/// Asserts that a memfd is preserved: its size is fixed.
pub(super) fn is_held(file: &File) -> Result<()> {
    let length = file.metadata()?.len();
    ensure!(file.set_len(length + 4096).is_err(), "it is not preserved");
    Ok(())
}

/// The orchestrator's lines since the last time.
pub(super) fn lines(log: &mut Reader) -> Result<Vec<String>> {
    let messages = log.read()?.into_iter();
    let own = messages.filter(Message::is_luo);
    Ok(own.map(|message| message.text).collect())
}

/// Holds a call up in the callback of a file. Each event passes over it, and it goes on afterwards.
pub(super) fn passed_over(
    device: &Device,
    callback: String,
    call: impl FnOnce() -> Result<()> + Send,
    events: &[Event],
) -> Result<()> {
    scope(|scope| {
        let hold = Hold::on(callback)?;
        let held = Caller::begin(scope, call)?;
        hold.reached()?;
        for &event in events {
            let sent = Caller::begin(scope, move || send(device, event))?;
            sent.outcome()?.with_context(|| format!("{event:?}"))?;
        }
        hold.holds()?;
        drop(hold);
        held.outcome()?
    })
}
