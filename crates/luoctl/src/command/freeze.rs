// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl freeze`

use luo_varlink::Phase;

use super::context::Context;
use super::dry;
use super::vigil::Vigil;
use super::waiting::Waiting;
use crate::failure::Result;
use crate::interrupt::Cancels;

/// After prepare: loads the kernel, and asks all workloads to stand still.
///
/// The blackout begins when the first is asked. From then on any reboot of the machine is a jump.
/// ^C cancels. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {}

pub(super) fn run(context: &mut Context, _: &Args) -> Result {
    if context.dry_run {
        return dry::step(context, "freeze", &[Phase::Prepared]);
    }
    let mut admin = context.admin_awake()?;
    let cancels = Cancels::on_interrupt(&context.folder)?;
    let waiting = Waiting::begin(context);
    let vigil = Vigil::begin(context);
    admin.freeze()?;
    drop((waiting, vigil));
    cancels.settled("all stand still")?;
    context.done(
        "freeze",
        "all stand still; next `luoctl kexec`, or `luoctl cancel`",
    )
}
