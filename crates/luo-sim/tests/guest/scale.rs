// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many sessions.

use anyhow::{Result, bail, ensure};
use luo_sys::Device;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::tools::{boot, jump, name};

pub(crate) fn sessions(count: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised)?;
    let device = Device::open()?;
    let names = (0..count).map(|at| name(&format!("session-{at}")));
    if boot()? == 0 {
        let sessions: Vec<_> = names
            .map(|name| device.create_session(&name))
            .collect::<Result<_, _>>()?;
        ensure!(sessions.len() == count, "{} sessions", sessions.len());
        bail!("{}", jump()?)
    }
    ensure!(device.info()?.incoming == count as u64, "some are missing");
    let mut sessions = Vec::new();
    for name in names {
        let session = device.retrieve_session(&name)?;
        session.finish()?;
        sessions.push(session);
    }
    Ok(())
}
