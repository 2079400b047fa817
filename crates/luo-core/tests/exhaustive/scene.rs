// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Machines with three files and two subsystems, in each state.

use luo_abi::rfc::{Event, State};
use luo_core::ops::{self, Needed};
use luo_core::{Failure, FileName, SessionId, SessionName};

use crate::support::{name, TestHost};

pub const SUBSYSTEMS: [u32; 2] = [7, 8];

/// Where the files are: a session each line, a device's if it has no name, with
/// its objects; and which object needs which.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub sessions: &'static [(&'static str, &'static [u64])],
    pub needs: &'static [(u64, u64)],
}

const CHAIN: &[(u64, u64)] = &[(3, 2), (2, 1)];
const PAIR: &[(u64, u64)] = &[(2, 3)];
const FAN: &[(u64, u64)] = &[(1, 2), (1, 3)];
const PLACES: &[&[(&str, &[u64])]] = &[
    &[("", &[1, 2]), ("vm", &[3])],
    &[("vm", &[3]), ("", &[2, 1])],
    &[("", &[3, 1, 2])],
    &[("vm", &[3, 1]), ("cache", &[2])],
    &[("", &[2]), ("", &[1, 3])],
];

pub fn layouts() -> impl Iterator<Item = Layout> {
    let of = |sessions| [CHAIN, PAIR, FAN, &[]].map(|needs| Layout { sessions, needs });
    PLACES.iter().copied().flat_map(of)
}

/// How the state is come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Normal,
    Prepared,
    Frozen,
    FrozenByReboot,
    Updated,
}

impl Start {
    pub const ALL: [Self; 5] = [
        Self::Normal,
        Self::Prepared,
        Self::Frozen,
        Self::FrozenByReboot,
        Self::Updated,
    ];

    /// What is preserved is fixed: what fails now undoes it.
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::Prepared | Self::Frozen | Self::FrozenByReboot)
    }

    pub const fn state(self) -> State {
        match self {
            Self::Normal => State::Normal,
            Self::Prepared => State::Prepared,
            Self::Frozen | Self::FrozenByReboot => State::Frozen,
            Self::Updated => State::Updated,
        }
    }
}

/// What is done: an event, or a reboot.
pub type Act = Option<Event>;

pub const ACTS: [Act; 5] = [
    Some(Event::Prepare),
    Some(Event::Freeze),
    Some(Event::Cancel),
    Some(Event::Finish),
    None,
];

pub struct Scene {
    pub host: TestHost,
    /// Of the layout, in its order; none in the next kernel.
    pub sessions: Vec<SessionId>,
    /// What the files are called, by object from 1 on.
    pub names: [FileName; 3],
}

impl Scene {
    pub fn new(layout: &Layout, start: Start) -> Self {
        let mut scene = Self::normal(layout);
        let host = &scene.host;
        match start {
            Start::Normal => {}
            Start::FrozenByReboot | Start::Updated => {
                host.reboot().unwrap();
            }
            Start::Prepared | Start::Frozen => {
                ops::prepare(host).unwrap();
                if start == Start::Frozen {
                    ops::freeze(host).unwrap();
                }
            }
        }
        if start == Start::Updated {
            scene.host = TestHost::opened(scene.host.kexec());
            scene.sessions.clear();
            for number in SUBSYSTEMS {
                scene.host.subsystem(number).unwrap();
            }
        }
        scene.host.take_log();
        scene.host.script().transitions.clear();
        assert_eq!(scene.host.visible().state, start.state());
        scene
    }

    fn normal(layout: &Layout) -> Self {
        let host = TestHost::cold();
        for number in SUBSYSTEMS {
            host.subsystem(number).unwrap();
        }
        let mut sessions = Vec::new();
        let mut names = [FileName {
            session: name("?"),
            token: 0,
            of_device: false,
        }; 3];
        for (text, objects) in layout.sessions {
            let of_device = text.is_empty();
            let session = if of_device {
                ops::create_device_session(&host).unwrap()
            } else {
                host.create(text)
            };
            for &object in *objects {
                let token = if of_device {
                    host.register_file(session, object).unwrap()
                } else {
                    host.preserve(session, object * 16, object).unwrap();
                    object * 16
                };
                names[object as usize - 1] = FileName {
                    session: session_name(&host, session),
                    token,
                    of_device,
                };
            }
            sessions.push(session);
        }
        let scene = Self {
            host,
            sessions,
            names,
        };
        for &(from, on) in layout.needs {
            let session = scene.session_of(layout, from);
            let needed = scene.needed(layout, from, on);
            let token = scene.name(from).token;
            ops::add_dependency(
                &scene.host,
                luo_core::Actor::Administrator,
                session,
                token,
                needed,
            )
            .unwrap();
        }
        scene
    }

    pub fn name(&self, object: u64) -> FileName {
        self.names[object as usize - 1]
    }

    pub fn session_of(&self, layout: &Layout, object: u64) -> SessionId {
        self.sessions[layout.place(object)]
    }

    pub fn needed(&self, layout: &Layout, from: u64, on: u64) -> Needed {
        let on_name = self.name(on);
        if layout.place(from) == layout.place(on) {
            Needed::Here(on_name.token)
        } else if on_name.of_device {
            Needed::OnDevice(on_name.token)
        } else {
            Needed::In(on_name.session, on_name.token)
        }
    }

    /// Does it; a report becomes the state it led to.
    pub fn act(&self, act: Act) -> Result<State, Failure> {
        let host = &self.host;
        let report = match act {
            Some(Event::Prepare) => ops::prepare(host)?,
            Some(Event::Freeze) => ops::freeze(host)?,
            Some(Event::Cancel) => ops::cancel(host)?,
            Some(Event::Finish) => ops::finish_update(host, |_| ())?,
            None => host.reboot()?,
        };
        assert_eq!(report.event, act);
        Ok(report.to)
    }

    /// Lets go of everything; nothing may be left but the first pages.
    pub fn end(self) {
        let host = &self.host;
        host.script().stuck.clear();
        let _ = ops::cancel(host);
        let _ = ops::finish_update(host, |_| ());
        host.open().unwrap();
        for session in self.sessions {
            host.close(session).unwrap();
        }
        let visible = host.visible();
        assert_eq!(visible.state, State::Normal);
        let left = (visible.outgoing, visible.incoming, visible.files);
        assert_eq!(left, (0, 0, 0));
        assert_eq!(visible.counts, TestHost::cold().counts());
    }
}

fn session_name(host: &TestHost, session: SessionId) -> SessionName {
    host.engine(|engine| engine.session_info(session))
        .unwrap()
        .0
}

impl Layout {
    /// Which session an object is in.
    pub fn place(&self, object: u64) -> usize {
        let mut sessions = self.sessions.iter();
        let at = sessions.position(|(_, objects)| objects.contains(&object));
        at.unwrap()
    }

    pub fn is_device(&self, object: u64) -> bool {
        self.sessions[self.place(object)].0.is_empty()
    }
}
