// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl kexec`

use luo_client::agent::Error;
use luo_varlink::Phase;

use super::context::Context;
use super::vigil::Vigil;
use super::{dry, update};
use crate::failure::Result;

/// After freeze: jumps into the new kernel.
///
/// What is not preserved is gone. It returns if the jump is refused; else the connection ends with
/// it, which is success. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {}

pub(super) fn run(context: &mut Context, _: &Args) -> Result {
    if context.dry_run {
        return dry::step(context, "kexec", &[Phase::Frozen]);
    }
    let mut admin = context.admin_awake()?;
    let status = context.status()?.get()?;
    let _vigil = Vigil::begin(context);
    match admin.kexec() {
        // Only a frozen update can jump. In another phase a lost agent has died.
        Ok(()) => update::jumping(context, status.update),
        Err(Error::AgentGone) if status.phase == Phase::Frozen => {
            update::jumping(context, status.update)
        }
        Err(why) => Err(why.into()),
    }
}
