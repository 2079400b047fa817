// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of users wait in a line, one behind the other.

use std::os::fd::AsFd as _;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use luo_sys::{Device, State};
use rustix::process::Signal;

use super::super::tools::state_is;
use super::hung::{HUNG, Sysctl, taken_for_hung};
use crate::case::Context;
use crate::check::{Absent, device, name, same};
use crate::child::{Child, Role};
use crate::forge::{self, Hold};
use crate::user::{Delegated, USERS, as_user};

/// Whoever stands in a line is no hung task, and is gone when it is killed; an administrator goes on.
pub(super) fn waits(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    if !context.implementation.is_kernel() {
        return Err(Absent("a line".to_owned()).into());
    }
    let [user, _] = USERS;
    let delegated = Delegated::new()?;
    let session = as_user(user, || Ok(Device::open()?.create_session(&name("line"))?))?;
    drop(delegated);
    let _silent = Sysctl::set("hung_task_warnings", 0)?;
    let _soon = Sysctl::set("hung_task_timeout_secs", HUNG)?;
    let before = taken_for_hung()?;
    let hold = Hold::on(format!("line:{user}"))?;
    forge::hold_line(user)?;
    hold.reached()?;
    let start = |role| {
        let input = session.as_fd().try_clone_to_owned()?;
        let child = as_user(user, || Child::start(role, "", input))?;
        child.waits()?;
        Ok::<_, anyhow::Error>(child)
    };
    let [preserves, lists, other] = [
        start(Role::Preserve)?,
        start(Role::List)?,
        start(Role::Preserve)?,
    ];
    // Nothing is waited for here: this is the time in which they must not be found.
    thread::sleep(Duration::from_secs(4 * u64::from(HUNG)));
    same("tasks that were taken for hung", taken_for_hung()?, before)?;
    for killed in [preserves, lists] {
        killed.signal(Signal::KILL)?;
        let status = killed.ended()?;
        ensure!(status.code().is_none(), "it was not killed: {status}");
    }
    // They have done nothing.
    same("files", session.list_files()?.len(), 0)?;
    hold.holds()?;
    drop(hold);
    same("the other", other.ended()?.code(), Some(0))?;
    same("files", session.list_files()?.len(), 1)
}
