// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of sessions.

use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::{Context as _, Result};
use luo_abi::uapi::{self, SESSION_LINK_PREFIX};
use luo_sys::{Device, Errno, SessionName, raw};

use super::tools::{incoming, retrieve, session};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, name, refused, same};
use crate::look::open_descriptors;

pub(super) const CASES: &[Case] = &[
    here("empty-is-einval", empty),
    here("without-an-end-is-einval", unterminated),
    here("63-bytes-are-a-name", longest),
    here("any-bytes-are-a-name", any_bytes),
    here("what-lies-behind-the-end-does-not-count", behind),
    here("they-are-compared-whole", whole),
    here("taken-is-eexist", taken),
    here("free-after-close", free_again),
    here("free-after-a-failed-answer", failed_answer),
    here("unknown-is-enoent", unknown),
    here("outgoing-is-not-there-to-be-retrieved", outgoing),
    here("link-text-names-the-session", link_text),
    shared(
        "incoming-ones-can-be-created",
        leave,
        incoming_can_be_created,
    ),
];

/// Calls with a name field that the typed interface would not let through.
fn with_field(command: u32, field: &[u8; 64]) -> luo_sys::Result<i32> {
    let mut argument = [0; 72];
    argument[0] = 72;
    argument[8..].copy_from_slice(field);
    raw::ioctl(&Device::open()?, command, &mut argument)
}

fn empty(_: &mut Context<'_>) -> Result<()> {
    let mut hidden = [b'x'; 64];
    hidden[0] = 0;
    refused(with_field(uapi::CREATE_SESSION, &[0; 64]), Errno::EINVAL)?;
    refused(with_field(uapi::CREATE_SESSION, &hidden), Errno::EINVAL)
}

fn unterminated(_: &mut Context<'_>) -> Result<()> {
    refused(with_field(uapi::CREATE_SESSION, &[b'x'; 64]), Errno::EINVAL)
}

fn longest(_: &mut Context<'_>) -> Result<()> {
    let name = SessionName::new([b'x'; 63])?;
    let session = device()?.create_session(&name)?;
    same("the name", session.name()?, name)
}

/// No encoding, no blank or slash that means anything.
fn any_bytes(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for bytes in [&[0xff, 0xfe][..], b" ", b"a/../b", b"line\n", &[1]] {
        let name = SessionName::new(bytes)?;
        let session = device.create_session(&name)?;
        same("the name", session.name()?, name)?;
    }
    Ok(())
}

fn behind(_: &mut Context<'_>) -> Result<()> {
    let session = device()?.create_session(&name("ends"))?;
    let mut field = *name("ends").as_field();
    field[5..].fill(b'x');
    refused(with_field(uapi::CREATE_SESSION, &field), Errno::EEXIST)?;
    same("the name", session.name()?, name("ends"))
}

fn whole(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let _session = device.create_session(&name("whole"))?;
    for other in ["whol", "whole2", "Whole", " whole"] {
        let other = device.create_session(&name(other));
        other.context("another name")?;
    }
    Ok(())
}

fn taken(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let _session = device.create_session(&name("taken"))?;
    for _ in 0..2 {
        refused(device.create_session(&name("taken")), Errno::EEXIST)?;
    }
    Ok(())
}

fn free_again(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for _ in 0..3 {
        drop(device.create_session(&name("again"))?);
    }
    Ok(())
}

/// A program that never learns the descriptor cannot close it, so there must be none.
fn failed_answer(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let mut argument = [0; 72];
    argument[0] = 72;
    argument[8..].copy_from_slice(name("unanswered").as_field());
    let before = open_descriptors()?;
    let result = raw::ioctl_read_only(&device, uapi::CREATE_SESSION, &argument);
    refused(result, Errno::EFAULT)?;
    same("the number of open files", open_descriptors()?, before)?;
    device.create_session(&name("unanswered"))?;
    Ok(())
}

fn unknown(_: &mut Context<'_>) -> Result<()> {
    refused(device()?.retrieve_session(&name("nobody")), Errno::ENOENT)
}

fn outgoing(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let _outgoing = device.create_session(&name("outgoing"))?;
    refused(device.retrieve_session(&name("outgoing")), Errno::ENOENT)
}

fn link_text(_: &mut Context<'_>) -> Result<()> {
    let session = device()?.create_session(&name("link"))?;
    let path = format!("/proc/self/fd/{}", session.as_fd().as_raw_fd());
    let text = std::fs::read_link(path)?;
    let expected = format!("{SESSION_LINK_PREFIX}link");
    same("the link", text.to_string_lossy().as_ref(), &expected)
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 1)?;
    context.hold(session);
    Ok(())
}

/// The two do not meet.
fn incoming_can_be_created(context: &mut Context<'_>) -> Result<()> {
    let text = context.own_name();
    let outgoing = session(&device()?, text, 2)?;
    let incoming = incoming(text)?;
    retrieve(&incoming, text, 1)?;
    incoming.finish()?;
    same("the name", outgoing.name()?, name(text))
}
