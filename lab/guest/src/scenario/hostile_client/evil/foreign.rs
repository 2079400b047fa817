// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks on what is not its own: the machine, sessions and files of others, and what came over
//! the jump.

use anyhow::{Result, bail, ensure};
use luo_sys::{Device, Errno, Needed, Token, Which, memfd};

use super::super::cast::{GUEST, LENGTHS, OTHER, WANTED};
use super::super::small;
use super::{Evil, FLOOD, FLOOD_BY, NEEDY, must_fail};
use crate::check::name;

/// Threads that open the device at once.
const OPENERS: usize = 16;

impl Evil {
    pub(super) fn dependencies(&self) -> Result<()> {
        let Some(session) = self.session("needs") else {
            return Ok(());
        };
        let Some(own) = self.preserve(&session, 1) else {
            return Ok(());
        };
        for called in [GUEST, OTHER, "uid:0:vm"] {
            for token in 0..LENGTHS.len() as u64 {
                let on = Needed::In(name(called), Token(token));
                let what = format!("its file needs token {token} of {called}");
                must_fail(&what, session.add_dependency(own, on))?;
                let on = Needed::OnDevice(Token(token));
                must_fail(
                    "its file needs one of the device",
                    session.add_dependency(own, on),
                )?;
            }
        }
        Ok(())
    }

    pub(super) fn machine(&self) -> Result<()> {
        for device in [&self.device, &self.inherited] {
            must_fail("the event prepare", device.prepare())?;
            must_fail("the event freeze", device.freeze())?;
            must_fail("the event cancel", device.cancel())?;
            must_fail("the event finish", device.finish_update())?;
            let file = memfd::create("evil", 1)?;
            must_fail("FD_PRESERVE", device.fd_preserve(&file))?;
            must_fail("FD_UNPRESERVE", device.fd_unpreserve(Token(1)))?;
            must_fail("GET_FAILURE", device.failure())?;
            must_fail("LIST_PARTICIPANTS", device.list_participants())?;
            self.sees_its_own(device)?;
        }
        let again = Device::open();
        ensure!(again.is_err(), "it has the device open twice");
        Ok(())
    }

    fn sees_its_own(&self, device: &Device) -> Result<()> {
        let Ok(sessions) = device.list_sessions(Which::All) else {
            return Ok(());
        };
        for session in sessions {
            let Some(called) = session.name.map(|name| name.to_string()) else {
                bail!("it sees a session without a name");
            };
            ensure!(!session.of_device, "it sees the files of a device");
            // It has sessions of these names itself, with nothing in them.
            let wanted = WANTED.contains(&called.as_str()) || called == GUEST;
            let foreign = wanted || called.starts_with("uid:");
            ensure!(!foreign || session.files == 0, "it sees {called}");
        }
        Ok(())
    }

    pub(super) fn shared(&self) -> Result<()> {
        let its = &self.more()?.guests_small;
        if let Some(session) = self.session("shared") {
            for (token, file) in (1..).zip(its) {
                let preserved = session.preserve_fd(file, Token(token));
                must_fail("a file that the guest has preserved", preserved)?;
            }
        }
        for _ in 0..64 {
            small::play_with(its)?;
        }
        Ok(())
    }

    /// It has the device open already, so none is let in.
    pub(super) fn opens() -> Result<()> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..OPENERS)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..64 {
                            must_fail("a second open", Device::open())?;
                        }
                        Ok::<(), anyhow::Error>(())
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap_or(Ok(()))?;
            }
            Ok(())
        })
    }

    pub(super) fn others(&self) -> Result<()> {
        for called in WANTED.into_iter().chain([GUEST, OTHER]) {
            let taken = self.device.retrieve_session(&name(called));
            if let Ok(session) = taken {
                // It may have made one of that name itself.
                let own = session.retrieve_fd(Token(0));
                must_fail(&format!("token 0 of {called}"), own)?;
            }
        }
        Ok(())
    }

    pub(super) fn own(&self, round: u64) -> Result<()> {
        let sessions = match self.device.list_sessions(Which::Incoming) {
            Ok(sessions) => sessions,
            Err(error) if error.errno() == Errno::ESTALE => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let kept = [FLOOD, FLOOD_BY, NEEDY].map(name);
        let names = sessions.into_iter().filter_map(|session| session.name);
        for called in names.filter(|name| !kept.contains(name)) {
            let Ok(session) = self.device.retrieve_session(&called) else {
                continue;
            };
            for file in session.list_files().unwrap_or_default() {
                if !(file.token.0 + round).is_multiple_of(3) {
                    let _ = session.retrieve_fd(file.token);
                }
            }
            if round.is_multiple_of(2) {
                let _ = session.finish();
            }
        }
        Ok(())
    }

    /// A session that another needs is closed and cannot be finished, which is a line of the
    /// log each time.
    pub(super) fn flood(&self) -> Result<()> {
        const TIMES: u32 = 100;
        for _ in 0..TIMES {
            drop(self.device.retrieve_session(&name(FLOOD)));
        }
        Ok(())
    }
}
