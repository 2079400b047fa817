// SPDX-License-Identifier: MIT OR Apache-2.0
//! The next kernel: what is needed comes first, and goes last.

use std::fs::File;

use anyhow::{Context as _, Result, ensure};
use luo_conformance::forge::{self, Subsystems};
use luo_sys::{Device, Errno, FileStatus, Session, State, Token};

use super::set_up::{FIRST, ONE, SECOND, SUITE, TOKEN, TWO, called};
use crate::check::{device, name, refused, same};
use crate::init::Guest;
use crate::kmsg;

/// Everything that has arrived.
struct Arrived {
    device: Device,
    first: Session,
    second: Session,
    token: Token,
    _subsystems: Subsystems,
}

/// Takes it back, and finishes.
pub(super) fn run(guest: &Guest) -> Result<()> {
    let token = Token(guest.args.get(TOKEN, 0)?);
    let device = device()?;
    SUITE.case("arrives-updated", || {
        same("the state", device.state()?, State::Updated)
    });
    let arrived = Arrived {
        first: device.retrieve_session(&name(FIRST))?,
        second: device.retrieve_session(&name(SECOND))?,
        device,
        token,
        _subsystems: Subsystems::register()?,
    };
    SUITE.case("subsystems-get-their-data", || {
        let data = forge::subsystem_data()?;
        same("the data", data.as_str(), "forge-a=0xa1 forge-b=0xb1")
    });
    let ids = retrieve(&arrived)?;
    SUITE.case("finish-waits-for-dependents", || waits(&arrived, ids));
    SUITE.case("finish-lets-go-in-order", || finish(&arrived, ids));
    Ok(())
}

/// Each file comes back as soon as what it needs of others is there.
fn retrieve(arrived: &Arrived) -> Result<[u32; 3]> {
    forge::clear_calls()?;
    SUITE.case("retrieve-leaves-others-files-alone", || {
        refused(arrived.first.retrieve_fd(ONE), Errno::ENOTCONN)?;
        refused(arrived.second.retrieve_fd(TWO), Errno::ENOTCONN)?;
        same("the calls", forge::calls()?, Vec::new())
    });
    let three = File::from(arrived.device.fd_restore(arrived.token)?);
    let two = File::from(arrived.second.retrieve_fd(TWO)?);
    let one = File::from(arrived.first.retrieve_fd(ONE)?);
    let ids = [forge::id(&one)?, forge::id(&two)?, forge::id(&three)?];
    SUITE.case("retrieve-brings-what-is-needed", || {
        called(ids, "retrieve:#3 retrieve:#2 retrieve:#1")?;
        for session in [&arrived.first, &arrived.second] {
            let files = session.list_files()?;
            ensure!(files.len() == 1, "the session has {files:?}");
            same("the status", files[0].status, FileStatus::Retrieved)?;
        }
        Ok(())
    });
    Ok(ids)
}

fn waits(arrived: &Arrived, ids: [u32; 3]) -> Result<()> {
    forge::clear_calls()?;
    refused(arrived.second.finish(), Errno::EBUSY)?;
    called(ids, "")?;
    same("the state", arrived.device.state()?, State::Updated)
}

fn finish(arrived: &Arrived, ids: [u32; 3]) -> Result<()> {
    forge::clear_calls()?;
    arrived.first.finish()?;
    called(ids, "finish:#1")?;
    arrived.second.finish()?;
    called(ids, "finish:#2")?;
    same("the state", arrived.device.state()?, State::Updated)
        .context("the device's files are still there")?;
    let mut log = kmsg::Reader::from_now()?;
    arrived.device.finish_update()?;
    called(ids, "finish:#3 finish:forge-a finish:forge-b")?;
    same("the state", arrived.device.state()?, State::Normal)?;
    let messages = log.read()?;
    let told = messages
        .iter()
        .any(|message| message.text.starts_with("luo: finish: updated -> normal, "));
    ensure!(told, "the log does not tell of the end: {messages:?}");
    Ok(())
}
