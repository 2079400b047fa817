// SPDX-License-Identifier: GPL-2.0-only
//! The steps at boot.
//!
//! ```text
//! liveupdate=on       the parameter, before anything else
//! early initcall      the host is made; the previous kernel's root is read
//! initcalls           other subsystems register handlers, ask for FLBs
//! late initcall       the root for the next kernel; /dev/liveupdate
//! first open          the previous kernel's sessions (by a worker, see `errands`)
//! ```

use kernel::prelude::*;
use luo_abi::{handover, supplement};
use luo_core::{ops, Host as _, Lock, RootPages};

use crate::errands::{self, Errand};
use crate::errno;
use crate::host::{linux, set_up, Linux};
use crate::policy::{enable, enabled};
use crate::registry;
use crate::state;
use crate::sys::kho::{self, Entry};
use crate::sys::{device_file, line, sysfs};

/// Makes the host and reads the root of the previous kernel.
pub(crate) fn early_init() -> Result {
    if !kho::is_enabled() {
        if enabled() {
            pr_warn!("live update is off: it needs Kexec HandOver (kho=on)\n");
            enable(false);
        }
        return Ok(());
    }
    let handed_over = kho::incoming(Entry::Luo);
    if !enabled() {
        if handed_over.is_some() {
            pr_warn!(
                "the previous kernel handed sessions over, but liveupdate=on is missing; \
                 their memory stays reserved until the next reboot\n"
            );
        }
        return Ok(());
    }
    let linux = set_up().inspect_err(|why| {
        enable(false);
        pr_err!("live update is off: no memory for it ({why:?})\n");
    })?;
    if let Some(root) = handed_over {
        admit(linux, root, kho::incoming(Entry::Supplement));
    }
    Ok(())
}

fn admit(linux: &Linux, root: (u64, usize), supplement: Option<(u64, usize)>) {
    match ops::admit(linux, root, supplement) {
        Ok(root) => luo_calls::log::admitted(linux, &root),
        // The machine goes on: what was handed over is not touched, and the
        // device says EIO. A panic would lose what does not depend on it, too.
        Err(why) => luo_calls::log::refused(linux, &why),
    }
}

/// Makes the root for the next kernel known and the device available.
pub(crate) fn late_init() -> Result {
    let Some(linux) = linux() else {
        return Ok(());
    };
    let ready = line::set_up()
        .and_then(|()| errands::set_up(run))
        .and_then(|()| prepare_root(linux))
        .and_then(|()| registry::register_own(linux))
        .and_then(|()| device_file::register());
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    if let (Ok(()), Err(why)) = (&ready, crate::handlers::memfd::set_up_pools(linux)) {
        pr_warn!("memfds of huge pages cannot be preserved: {why:?}\n");
    }
    // Nobody's work depends on it.
    if let (Ok(()), Err(why)) = (&ready, sysfs::create()) {
        pr_warn!("there is no /sys/kernel/liveupdate: {why:?}\n");
    }
    ready.inspect_err(|why| {
        enable(false);
        pr_err!("live update is off: {why:?} while setting it up\n");
    })
}

/// The work of a worker for an errand.
fn run(errand: Errand) {
    let Some(linux) = linux() else {
        return;
    };
    match errand {
        // Those who wait get the outcome, and the log has it.
        Errand::TakeOver => drop(ops::take_over(linux)),
        Errand::Rest => ops::do_rest(linux),
        Errand::WakeUsers => linux.wake_users(),
        Errand::Announce => state::announce(),
    }
}

fn prepare_root(linux: &Linux) -> Result {
    let page = || linux.alloc_block().map_err(errno::to_kernel);
    let pages = RootPages {
        root: page()?,
        flbs: page()?,
        supplement: page()?,
        subsystems: page()?,
    };
    let addresses = linux.now(|engine| {
        engine.arm(pages);
        let root = engine.root_address();
        root.zip(engine.supplement_address())
    });
    let added = addresses
        .ok_or(EINVAL)
        .and_then(|(root, supplement)| make_known(root, supplement));
    if added.is_err() {
        let pages = linux.now(|engine| engine.disarm());
        drop(pages);
    }
    added
}

/// Makes both roots known to the next kernel, or neither.
fn make_known(root: u64, beside: u64) -> Result {
    kho::add(Entry::Luo, root, size_of::<handover::Root>())?;
    kho::add(Entry::Supplement, beside, supplement::ROOT_LENGTH).inspect_err(|_| kho::remove(root))
}
