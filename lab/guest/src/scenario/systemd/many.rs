// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptor store with many sessions in it. It takes its time: systemd compares
//! each descriptor that comes with all that it has.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use luo_client::SessionName;
use luo_client::agent::Agent;
use luo_scenes::stage::until;
use luo_varlink::SessionInfo;
use rustix::process::Signal;

use super::agent::{WORKLOADS, all_run, kept, sessions, status};
use super::manager::{LUOD, main_pid, property, signal};
use crate::check::same;

/// More sessions, with longer names, than systemd could give the names of in one
/// variable.
pub(super) fn sessions_come_back() -> Result<()> {
    const CROWD: usize = 140;
    const EACH: usize = 16;
    all_run(&WORKLOADS)?;
    let before = sessions()?.len();
    let mut workloads = Vec::new();
    let mut held = Vec::new();
    for number in 0..CROWD {
        let name = format!("luo-test.{number}");
        let mut workload = Agent::connect()?.register(&name, &[])?;
        for session in 0..EACH {
            let name = format!("{:-<63}", format!("{name}.{session}."));
            held.push(workload.create_session(&SessionName::new(&name)?)?);
        }
        workloads.push(workload);
    }
    let names = |sessions: Vec<SessionInfo>| -> Vec<String> {
        sessions.into_iter().map(|session| session.name).collect()
    };
    let all = names(sessions()?);
    let bytes: usize = all.iter().map(|name| name.len() + 1).sum();
    ensure!(bytes > 128 * 1024, "{bytes} bytes of names prove nothing");
    until("all are in the store", || Ok(kept()? == all.len()))?;
    let pid = main_pid()?;
    signal(Signal::KILL)?;
    until("another luod", || {
        Ok(main_pid().is_ok_and(|now| now != pid && now != 0) && status().is_ok())
    })
    .with_context(|| property(LUOD, "Result").unwrap_or_default())?;
    same("the sessions", names(sessions()?), all)?;
    for workload in &mut workloads {
        workload.reconnect(Duration::from_secs(20))?;
        workload.unregister()?;
    }
    drop(held);
    until("the others are gone", || {
        Ok(sessions()?.len() == before && kept()? == before)
    })?;
    all_run(&WORKLOADS)
}
