// SPDX-License-Identifier: MIT OR Apache-2.0
//! An administrator releases a session: one whose workload has left, one that the kernel does not
//! finish, one that nobody here knows.

use luo_varlink::{TimelineKind, admin};

use super::Agent;
use super::timeline::Line;
use crate::decide::failed::Failed;
use crate::kernel::Kernel;

impl Agent {
    /// Releases for an administrator a session; with `force` one of the previous kernel that
    /// nobody has claimed and that this agent knows nothing of, where there is one of that name,
    /// and one whose note is gone.
    ///
    /// # Errors
    /// As [`admin::Error`] says.
    pub async fn release_or_force(&self, name: &str, force: bool) -> Result<(), admin::Error> {
        let is_ours = self.state.borrow().sessions.get(name).is_some();
        let is_foreign = async || {
            let unowned = self.look_for_unowned().await;
            unowned.names.iter().any(|unowned| unowned == name)
        };
        if !force || is_ours && !is_foreign().await {
            let released = self.release(name).await;
            return match released {
                Err(why) if force && self.let_go_of_unfinished(name, &why) => Ok(()),
                released => released,
            };
        }
        {
            let state = self.state.borrow();
            if state.update.is_some() {
                return Err(state.phase.illegal("release"));
            }
        }
        if self.release_stray(name).await {
            return Ok(());
        }
        self.heed_hang("RETRIEVE_SESSION")?;
        let wanted = name.to_owned();
        let job = move |kernel: &mut dyn Kernel| {
            let session = kernel.retrieve(&wanted)?;
            kernel.finish(&session)
        };
        let released = name.to_owned();
        let then = move |agent: &Self, ended: Result<(), Failed>, _| {
            if ended.is_ok() {
                agent.unowned.borrow_mut().has_changed();
                tracing::warn!(session = released, "released by an administrator, by force");
                agent.note(TimelineKind::Finished, Line::text(&released));
            }
            ended
        };
        let finishing = self.to_its_end("FINISH of a session", "FINISH", job, then);
        match finishing.await? {
            Err(why) if why.is_no_session() => Err(admin::Error::NoSuchSession {
                session: name.to_owned(),
            }),
            ended => Ok(ended?),
        }
    }

    /// Releases for an administrator a session that is held for a workload that has left.
    ///
    /// # Errors
    /// As [`admin::Error`] says.
    pub async fn release(&self, name: &str) -> Result<(), admin::Error> {
        let missing = || admin::Error::NoSuchSession {
            session: name.to_owned(),
        };
        let (workload, incoming) = {
            let mut state = self.state.borrow_mut();
            if state.update.is_some() {
                return Err(state.phase.illegal("release"));
            }
            let held = state.sessions.get(name).filter(|held| !held.busy);
            let held = held.ok_or_else(missing)?;
            let owner = state.workloads.get(&held.workload);
            owner
                .filter(|owner| !owner.is_there())
                .ok_or_else(missing)?;
            if state.ends_with_the_update(held) {
                return Err(state.phase.illegal("release"));
            }
            let found = (held.workload.clone(), held.incoming);
            if let Some(held) = state.sessions.get_mut(name).filter(|held| held.incoming) {
                held.busy = true;
            }
            found
        };
        let told = |name: &str, workload: &str| {
            tracing::warn!(session = name, workload, "released by an administrator");
        };
        if incoming {
            let released = name.to_owned();
            let then = move |agent: &Self| {
                told(&released, &workload);
                agent.has_released(&workload);
            };
            self.release_incoming(name, then).await?;
        } else {
            self.let_go(name);
            told(name, &workload);
            let _ = self.is_closed(name, "release").await;
            self.has_released(&workload);
        }
        Ok(())
    }

    /// Lets go of a session that the kernel has refused to finish, and that is here: the kernel
    /// finishes it by itself, as soon as it can, when nobody has it any more. Says whether it was
    /// one.
    fn let_go_of_unfinished(&self, name: &str, why: &admin::Error) -> bool {
        let held = {
            let mut state = self.state.borrow_mut();
            let held = state.sessions.get(name);
            let is_it = held.is_some_and(|held| {
                held.incoming && held.session.is_some() && !held.busy && !held.finishing
            });
            let was_refused = matches!(why, admin::Error::Kernel { .. });
            match is_it && was_refused {
                true => state.sessions.remove(name),
                false => None,
            }
        };
        let Some(held) = held else {
            return false;
        };
        tracing::warn!(
            session = name,
            workload = held.workload,
            "let go of by an administrator, by force; the kernel did not finish it: {why}"
        );
        self.unstore(name);
        if let Some(session) = held.session {
            self.close(name, session);
        }
        self.finished(name);
        self.note(TimelineKind::Finished, Line::of(&held.workload).with(name));
        self.unowned.borrow_mut().has_changed();
        self.has_released(&held.workload);
        true
    }

    /// A session of a workload was released: with its last one it is forgotten.
    fn has_released(&self, workload: &str) {
        let is_last = self.state.borrow().sessions.of(workload).next().is_none();
        self.end_if_over();
        if is_last {
            self.forget(workload);
        } else {
            self.note_owner(workload);
        }
    }
}
