// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl kexec`

use luo_client::agent::Error;
use luo_varlink::Phase;

use super::context::Context;
use super::vigil::Vigil;
use super::waiting::Waiting;
use super::{aftermath, dry};
use crate::failure::Result;
use crate::interrupt::Cancels;

/// After freeze: jumps into the new kernel.
///
/// What is not preserved is gone. It returns if the jump is refused; else the connection ends with
/// it, which is success, unless a luod is there again within some seconds and says that there was no
/// jump. ^C cancels, as long as it is not decided that the machine jumps. Takes
/// root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {}

pub(super) fn run(context: &mut Context, _: &Args) -> Result {
    if context.dry_run {
        return dry::step(context, "kexec", &[Phase::Frozen]);
    }
    let mut admin = context.admin_awake()?;
    let status = context.asks(|| Ok(context.status()?.get()?))?;
    let cancels = Cancels::on_interrupt(&context.folder)?;
    let waiting = Waiting::begin(context);
    let vigil = Vigil::begin(context);
    let ended = admin.kexec();
    drop((waiting, vigil));
    match ended {
        Ok(()) => {}
        // Only a frozen update can jump. In another phase a lost agent has died.
        Err(Error::AgentGone) if status.phase == Phase::Frozen => {}
        Err(why) => return Err(why.into()),
    }
    aftermath::tell(context, &cancels, status.update)
}
