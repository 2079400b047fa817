// SPDX-License-Identifier: MIT OR Apache-2.0
//! A share of the crowd: members that one thread answers for, at once, so that they cost
//! the machine little beside the agent.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use luo_client::agent::{Agent, Event, EventKind, Workload};
use luo_client::kernel::memfd;
use luo_client::{SessionName, Token};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::stage::PATIENCE;

/// Bytes that a member preserves.
const MEMORY: u64 = 4096;

/// Members that may have something to say when one looks.
const AT_ONCE: usize = 256;

/// Members with a connection and a session each.
#[derive(Debug)]
pub(super) struct Share {
    members: Vec<Workload>,
}

/// How long the answers of a share took: from an event to the agent's receipt of the
/// answer to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    pub(super) prepare: Vec<Duration>,
    pub(super) freeze: Vec<Duration>,
    /// Members that have heard of the end.
    pub(super) cancelled: usize,
}

impl Share {
    /// Connects and registers each, and has each preserve a memfd in a session that the
    /// agent has made.
    pub(super) fn join(runtime: &Path, names: impl IntoIterator<Item = String>) -> Result<Self> {
        let members = names
            .into_iter()
            .map(|name| join(runtime, &name).with_context(|| name.clone()))
            .collect::<Result<_>>()?;
        Ok(Self { members })
    }

    /// Agrees to whatever is asked, until each has heard that the update is off.
    pub(super) fn answer(&mut self) -> Result<Answers> {
        let ears = epoll::create(CreateFlags::CLOEXEC)?;
        for (place, member) in self.members.iter_mut().enumerate() {
            let data = EventData::new_u64(place as u64);
            epoll::add(&ears, &*member, data, EventFlags::IN)?;
            member.request_event()?;
        }
        let mut answers = Answers::default();
        let mut speaking = Vec::with_capacity(AT_ONCE);
        let patience = Timespec::try_from(PATIENCE)?;
        while answers.cancelled < self.members.len() {
            speaking.clear();
            let room = rustix::buffer::spare_capacity(&mut speaking);
            let heard = match epoll::wait(&ears, room, Some(&patience)) {
                Err(rustix::io::Errno::INTR) => continue,
                heard => heard?,
            };
            ensure!(
                heard > 0,
                "nothing more is asked; {} of {} members were cancelled",
                answers.cancelled,
                self.members.len()
            );
            for event in &speaking {
                let place = usize::try_from(event.data.u64())?;
                let member = self.members.get_mut(place).context("no such member")?;
                while let Some(event) = member.try_event()? {
                    answers.take(member, &event)?;
                }
            }
        }
        Ok(answers)
    }

    /// Ends being workloads.
    pub(super) fn leave(mut self) -> Result<()> {
        for member in &mut self.members {
            member.unregister()?;
        }
        Ok(())
    }
}

fn join(runtime: &Path, name: &str) -> Result<Workload> {
    let mut member = Agent::connect_to(runtime)?.register(name, &[])?;
    let session = member.create_session(&SessionName::new(name)?)?;
    // The session keeps the memory, and the member keeps a copy of the session.
    session.preserve_fd(memfd::create(name, MEMORY)?, Token(1))?;
    Ok(member)
}

impl Answers {
    fn take(&mut self, member: &mut Workload, event: &Event) -> Result<()> {
        let took = match event.kind {
            EventKind::Prepare => &mut self.prepare,
            EventKind::Freeze => &mut self.freeze,
            EventKind::Cancel => {
                self.cancelled += 1;
                return Ok(());
            }
        };
        let asked = Instant::now();
        member.ready(event)?;
        took.push(asked.elapsed());
        Ok(())
    }

    /// Those of another share, too.
    pub(super) fn add(&mut self, other: Self) {
        self.prepare.extend(other.prepare);
        self.freeze.extend(other.freeze);
        self.cancelled += other.cancelled;
    }
}
