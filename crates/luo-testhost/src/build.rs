// SPDX-License-Identifier: MIT OR Apache-2.0
//! Short ways to bring a host where a test begins.

use luo_abi::rfc::State;
use luo_core::ops::{self, Image, Legacy, Needed, Obstacle, Policy, Report, Unclaimed};
use luo_core::{
    Compat, Direction, Error, Failure, Host as _, Lock, RootPages, SessionId, SessionName,
};

use crate::host::{TestFile, TestFlb, TestHandler, TestHost, TestObject, TestSubsystem};
use crate::ledger::Counts;
use crate::memory::Handed;

pub fn name(text: &str) -> SessionName {
    SessionName::try_from(text).unwrap()
}

/// The name of handler or FLB number `number`.
pub fn compat(kind: &str, number: u32) -> Compat {
    Compat::try_from(format!("{kind}-{number}").as_str()).unwrap()
}

/// What can be seen of an engine from outside, for comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible {
    pub state: State,
    pub outgoing: usize,
    pub incoming: usize,
    pub files: usize,
    pub counts: Counts,
}

impl TestHost {
    /// A machine after a cold boot, with handlers 0 and 1.
    pub fn cold() -> Self {
        Self::cold_as(false)
    }

    pub fn cold_as(threaded: bool) -> Self {
        let host = Self::boot(None, threaded);
        host.register(0);
        host.register(1);
        host.arm();
        host
    }

    /// The machine after a kexec, with handlers 0 and 1, the device not open.
    pub fn warm(handed: Handed) -> Self {
        Self::warm_as(handed, false)
    }

    pub fn warm_as(handed: Handed, threaded: bool) -> Self {
        let host = Self::boot(Some(handed), threaded);
        host.register(0);
        host.register(1);
        let _ = host.admit();
        host.arm();
        host
    }

    /// [`Self::warm`], with the device opened.
    pub fn opened(handed: Handed) -> Self {
        let host = Self::warm(handed);
        host.open().unwrap();
        host
    }

    pub fn admit(&self) -> Result<luo_core::RootFields, Error> {
        ops::admit(self, self.told.unwrap(), self.told_supplement)
    }

    pub fn arm(&self) {
        let page = || self.alloc_block().unwrap();
        let pages = RootPages {
            root: page(),
            flbs: page(),
            supplement: page(),
            subsystems: page(),
        };
        self.engine(|engine| engine.arm(pages));
    }

    pub fn register(&self, number: u32) {
        self.try_register(number).unwrap();
    }

    pub fn try_register(&self, number: u32) -> Result<(), Error> {
        self.register_as(compat("handler", number), number)
    }

    pub fn register_as(&self, name: Compat, number: u32) -> Result<(), Error> {
        ops::register_handler(self, name, &TestHandler(number))
    }

    pub fn unregister(&self, number: u32) -> Result<(), Error> {
        ops::unregister_handler(self, &TestHandler(number))
    }

    pub fn depend(&self, handler: u32, flb: u32) -> Result<(), Error> {
        let (name, table) = (compat("flb", flb), TestFlb(flb));
        self.engine(|engine| engine.register_flb(&TestHandler(handler), name, table))
    }

    pub fn undepend(&self, handler: u32, flb: u32) -> Result<(), Error> {
        self.engine(|engine| engine.unregister_flb(&TestHandler(handler), &TestFlb(flb)))
    }

    pub fn create(&self, text: &str) -> SessionId {
        ops::create_session(self, luo_core::Actor::Administrator, &name(text)).unwrap()
    }

    pub fn try_create(&self, text: &str) -> Result<SessionId, Error> {
        ops::create_session(self, luo_core::Actor::Administrator, &name(text))
    }

    /// Preserves a file of kind 0.
    pub fn preserve(&self, session: SessionId, token: u64, object: u64) -> Result<(), Error> {
        self.preserve_kind(session, token, 0, object)
    }

    pub fn preserve_kind(
        &self,
        session: SessionId,
        token: u64,
        kind: u32,
        object: u64,
    ) -> Result<(), Error> {
        let open = || Ok(self.new_file(kind, object));
        ops::preserve_file(self, luo_core::Actor::Administrator, session, token, open)
    }

    pub fn close(&self, session: SessionId) -> Result<(), Error> {
        ops::close_session(self, session)
    }

    pub fn claim(&self, text: &str) -> Result<SessionId, Error> {
        ops::retrieve_session(self, luo_core::Actor::Administrator, &name(text))
    }

    pub fn retrieve(&self, session: SessionId, token: u64) -> Result<TestFile, Error> {
        ops::retrieve_file(self, luo_core::Actor::Administrator, session, token)
    }

    pub fn finish(&self, session: SessionId) -> Result<(), Error> {
        ops::finish_session(self, session)
    }

    /// What a reboot does where obstacles veto, but for those of sessions that nobody
    /// claimed.
    pub fn freeze(&self) -> Result<Report, Failure> {
        self.reboot_as(Obstacle::Vetoes, Unclaimed::Discard, Image::Handover)
    }

    /// What a reboot does where obstacles veto.
    pub fn reboot(&self) -> Result<Report, Failure> {
        self.reboot_as(Obstacle::Vetoes, Unclaimed::Carry, Image::Handover)
    }

    /// What a reboot does by default: what cannot go is lost alone.
    pub fn reboot_or_lose(&self) -> Result<Report, Failure> {
        self.reboot_as(Obstacle::IsLost, Unclaimed::Carry, Image::Handover)
    }

    /// What a reboot into an image that takes nothing over does.
    pub fn reboot_into_legacy(&self, legacy: Legacy) -> Result<Report, Failure> {
        let policy = Policy {
            obstacle: Obstacle::IsLost,
            unclaimed: Unclaimed::Carry,
            legacy,
        };
        ops::reboot(self, policy, Image::Legacy)
    }

    fn reboot_as(
        &self,
        obstacle: Obstacle,
        unclaimed: Unclaimed,
        image: Image,
    ) -> Result<Report, Failure> {
        let policy = Policy {
            obstacle,
            unclaimed,
            legacy: Legacy::Refused,
        };
        ops::reboot(self, policy, image)
    }

    /// Undoes it.
    pub fn unfreeze(&self) {
        let _ = ops::cancel(self);
    }

    /// Whether an incoming session of this name is held or waits.
    pub fn session_is_there(&self, text: &str) -> bool {
        self.claim(text) != Err(Error::NoSession)
    }

    pub fn subsystem(&self, number: u32) -> Result<(), Error> {
        let name = compat("subsystem", number);
        self.wait(|engine| engine.register_subsystem(name, &TestSubsystem(number)))
    }

    /// A session for an open instance of the device.
    pub fn device(&self) -> SessionId {
        ops::create_device_session(self).unwrap()
    }

    pub fn restore(&self, token: u64) -> Result<TestFile, Error> {
        ops::restore_file(self, token).map(|(_, file)| file)
    }

    pub fn finish_update(&self) -> Result<Report, Error> {
        ops::finish_update(self, |_| ())
    }

    /// Registers a file of kind 0 in a device session.
    pub fn register_file(&self, session: SessionId, object: u64) -> Result<u64, Error> {
        ops::register_file(self, session, |_| Ok(()), || Ok(self.new_file(0, object)))
    }

    pub fn needs(&self, session: SessionId, token: u64, on: Needed) -> Result<(), Error> {
        ops::add_dependency(self, luo_core::Actor::Administrator, session, token, on)
    }

    pub fn drops(&self, session: SessionId, token: u64, on: Needed) -> Result<(), Error> {
        ops::drop_dependency(self, luo_core::Actor::Administrator, session, token, on)
    }

    /// A host that has everything another left, after the events and the reboot.
    pub fn next(self) -> Self {
        ops::prepare(&self).unwrap();
        ops::freeze(&self).unwrap();
        self.reboot().unwrap();
        Self::opened(self.kexec())
    }

    pub fn state(&self) -> State {
        self.engine(|engine| engine.state())
    }

    pub fn last_failure(&self) -> Option<luo_core::LastFailure> {
        self.engine(|engine| engine.last_failure().copied())
    }

    /// How many of the administrator's closed sessions cannot be finished still.
    pub fn open(&self) -> Result<usize, Error> {
        ops::catch_up(self, luo_core::Actor::Administrator, |_| ())
    }

    /// Why what was handed over cannot be read, as told since this was asked last.
    pub fn refusals(&self) -> Vec<Error> {
        std::mem::take(&mut self.script().refusals)
    }

    /// How many lines of the log have a text.
    pub fn said_of(&self, text: &str) -> usize {
        let said = self.said.lock().unwrap();
        said.iter().filter(|(_, line)| line.contains(text)).count()
    }

    /// How many sessions and files were taken over since this was asked last.
    pub fn taken_over(&self) -> Option<(usize, usize)> {
        let taken = std::mem::take(&mut self.script().taken_over);
        assert!(taken.len() < 2, "taken over twice: {taken:?}");
        taken.first().copied()
    }

    pub fn get_incoming(&self, flb: u32) -> Result<Option<TestObject>, Error> {
        ops::flb_get_incoming(self, &compat("flb", flb), &TestFlb(flb))
    }

    pub fn put_incoming(&self, flb: u32) {
        ops::flb_put_incoming(self, &compat("flb", flb), &TestFlb(flb));
    }

    pub fn get_outgoing(&self, flb: u32) -> Result<TestObject, Error> {
        ops::flb_get_outgoing(self, &TestFlb(flb))
    }

    pub fn put_outgoing(&self, flb: u32) {
        ops::flb_put_outgoing(self, &TestFlb(flb));
    }

    /// Freezes and jumps.
    pub fn update(self) -> Handed {
        self.freeze().unwrap();
        self.kexec()
    }

    pub fn visible(&self) -> Visible {
        let counts = self.counts();
        self.engine(|engine| Visible {
            state: engine.state(),
            outgoing: engine.session_count(Direction::Outgoing),
            incoming: engine.session_count(Direction::Incoming),
            files: engine.file_count(),
            counts,
        })
    }

    /// Pages of the previous kernel that are not given back.
    pub fn arrived_pages(&self) -> usize {
        self.arrived.lock().unwrap().pages.len()
    }
}

/// What a machine hands over that has these sessions, each with these tokens
/// and objects of kind 0.
pub fn handed(sessions: &[(&str, &[(u64, u64)])]) -> Handed {
    let host = TestHost::cold();
    for (text, files) in sessions {
        let session = host.create(text);
        for &(token, object) in *files {
            host.preserve(session, token, object).unwrap();
        }
    }
    host.update()
}
