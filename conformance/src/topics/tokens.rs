// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tokens that the kernel gives out: unique over the machine's chain of kernels.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use luo_sys::{Errno, Token};

use super::tools::{NO_RFC, memory};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, refused};
use crate::difference::missing;

pub(super) const CASES: &[Case] = &[
    here("never-given-twice", twice).but(&[missing(NO_RFC)]),
    here("upper-half-is-the-update-count", upper_half).but(&[missing(NO_RFC)]),
    shared("unique-over-a-kexec", leave, unique).but(&[missing(NO_RFC)]),
];

/// Neither while they are in use nor after.
fn twice(_: &mut Context<'_>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let device = device()?;
        for number in 0..10 {
            let token = device.fd_preserve(memory("tokens", number)?)?;
            ensure!(token != Token(0), "a token is 0");
            ensure!(seen.insert(token), "{token} was given twice");
            if number % 2 == 0 {
                device.fd_unpreserve(token)?;
                refused(device.fd_unpreserve(token), Errno::ENOENT)?;
            }
        }
    }
    Ok(())
}

fn upper_half(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let token = device.fd_preserve(memory("tokens", 1)?)?;
    let count = device.info()?.update_count;
    ensure!(token.0 >> 32 == count, "{token} after {count} live updates");
    Ok(())
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let token = context.device()?.fd_preserve(memory("tokens", 1)?)?;
    context.note("token", token.0);
    Ok(())
}

/// The old one is still there to be restored when new ones are given out.
fn unique(context: &mut Context<'_>) -> Result<()> {
    let old = Token(context.noted("token")?);
    let device = device()?;
    let new = device.fd_preserve(memory("tokens", 2)?)?;
    ensure!(new > old, "{new} after {old}");
    device.fd_restore(old)?;
    device.fd_unpreserve(new)?;
    Ok(())
}
