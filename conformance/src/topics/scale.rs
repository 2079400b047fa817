// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many files at once.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, FileStatus, Needed, Session, State, Token, memfd};

use super::tools::{NO_DEPENDENCIES, enter, state_is};
use crate::case::{Case, Context, alone};
use crate::check::{device, name, same};
use crate::difference::missing;

/// Files of the chain: each needs the next.
const CHAIN: u64 = 10_000;

pub(super) const CASES: &[Case] =
    &[
        alone("ten-thousand-files-in-a-chain-come-back", &[leave, arrive])
            .but(&[missing(NO_DEPENDENCIES)]),
    ];

fn fill(device: &Device) -> Result<Session> {
    let session = device.create_session(&name("chain"))?;
    for token in 0..CHAIN {
        let file = memfd::create("link", size_of::<u64>() as u64)?;
        file.write_all_at(&token.to_ne_bytes(), 0)?;
        session.preserve_fd(file, Token(token))?;
        if let Some(previous) = token.checked_sub(1) {
            session.add_dependency(Token(previous), Needed::Here(Token(token)))?;
        }
    }
    Ok(session)
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = fill(&device)?;
    enter(&device, State::Prepared)?;
    context.hold(session);
    Ok(())
}

/// The first file needs all others, so asking for it restores them.
fn arrive(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = device.retrieve_session(&name("chain"))?;
    session.retrieve_fd(Token(0))?;
    let files = session.list_files()?;
    same("the files", files.len() as u64, CHAIN)?;
    let left = files
        .iter()
        .find(|file| file.status != FileStatus::Retrieved);
    ensure!(left.is_none(), "it did not bring {left:?}");
    for token in 0..CHAIN {
        whole(&session, token).with_context(|| format!("token {token}"))?;
    }
    session.finish()?;
    state_is(&device, State::Normal)
}

fn whole(session: &Session, token: u64) -> Result<()> {
    let file = File::from(session.retrieve_fd(Token(token))?);
    let mut bytes = [0; size_of::<u64>()];
    file.read_exact_at(&mut bytes, 0)?;
    same("the contents", u64::from_ne_bytes(bytes), token)
}
