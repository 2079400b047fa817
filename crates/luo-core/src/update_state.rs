// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Where the machine is in an update, and which event leads where.
//!
//! ```text
//! NORMAL --prepare--> PREPARED --freeze--> FROZEN ==kexec==> UPDATED --finish--> NORMAL
//!    ^------------------- cancel -----------------'
//! ```
//!
//! [`TRANSITIONS`] is the table that the documentation shows and the code obeys.
//! While a transition is under way (its participants' callbacks run) nothing else
//! changes what is preserved: it waits for the outcome.

use core::task::Poll;

use luo_abi::rfc::{Event, State};

use crate::error::Error;
use crate::failure::{Failure, LastFailure};
use crate::waits::{Topic, Waits};

/// An event: where it is legal and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The event.
    pub event: Event,
    /// The states in which it is legal; EINVAL in all others.
    pub from: &'static [State],
    /// The state it leads to.
    pub success: State,
    /// The state after a veto, everything undone; `None` if no participant can make it fail.
    pub failure: Option<State>,
}

/// All events: legal states, outcome, and what a failure leads to.
pub const TRANSITIONS: [Transition; 4] = [
    Transition {
        event: Event::Prepare,
        from: &[State::Normal],
        success: State::Prepared,
        failure: Some(State::Normal),
    },
    Transition {
        event: Event::Freeze,
        from: &[State::Prepared],
        success: State::Frozen,
        failure: Some(State::Normal),
    },
    Transition {
        event: Event::Cancel,
        from: &[State::Prepared, State::Frozen],
        success: State::Normal,
        failure: None,
    },
    Transition {
        event: Event::Finish,
        from: &[State::Updated],
        success: State::Normal,
        failure: None,
    },
];

/// Where an event leads from a state, or `None` if it is illegal there.
#[must_use]
pub fn transition(event: Event, from: State) -> Option<&'static Transition> {
    TRANSITIONS
        .iter()
        .find(|entry| entry.event == event && entry.from.contains(&from))
}

/// Where the machine is in an update, and how it came there.
pub(crate) struct UpdateState {
    state: State,
    /// A transition is under way.
    moving: bool,
    /// It has what it waited for: it changes things, and calls that it did not wait for
    /// stand still.
    working: bool,
    /// The previous kernel handed over and not all of it is finished.
    updated: bool,
    /// A reboot has frozen everything and written it for the next kernel: all that is
    /// missing is the jump.
    sealed: bool,
    /// The machine has gone, and what simulated it comes to its end.
    gone: bool,
    /// How often somebody wanted a worker to try to end the update, who waits until it has.
    ends_wanted: u64,
    /// How many of those times a worker has tried since.
    ends_tried: u64,
    /// Times that what is preserved was fixed. What is made afterwards has the new
    /// number: that tells it from what took part.
    rounds: u64,
    changes: u64,
    failures: u64,
    last_failure: Option<LastFailure>,
    /// The waits and wake-ups that the step which runs now has asked for. They are here because
    /// most steps that wait do so for a transition.
    pub(crate) waits: Waits,
}

impl UpdateState {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Normal,
            moving: false,
            working: false,
            updated: false,
            sealed: false,
            gone: false,
            ends_wanted: 0,
            ends_tried: 0,
            rounds: 0,
            changes: 0,
            failures: 0,
            last_failure: None,
            waits: Waits::new(),
        }
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    pub(crate) const fn is_moving(&self) -> bool {
        self.moving
    }

    /// Whether the previous kernel handed over and not all of it is finished; whether
    /// all that is missing is the jump; whether a transition works.
    #[cfg(feature = "fault-injection")]
    pub(crate) const fn flags(&self) -> [bool; 3] {
        [self.updated, self.sealed, self.working]
    }

    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) const fn last_failure(&self) -> Option<&LastFailure> {
        self.last_failure.as_ref()
    }

    /// Where the machine is when no update is prepared.
    const fn resting(&self) -> State {
        if self.updated {
            State::Updated
        } else {
            State::Normal
        }
    }

    /// The machine came up with something that is to be finished, or it is.
    pub(crate) fn set_updated(&mut self, updated: bool) {
        self.updated = updated;
        if matches!(self.state, State::Normal | State::Updated) {
            self.set_state(self.resting());
        }
    }

    fn set_state(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.changes = self.changes.saturating_add(1);
        }
    }

    /// Begins a transition.
    ///
    /// # Errors
    /// [`Error::Illegal`] if the event is not legal now; pending while another
    /// transition is under way.
    pub(crate) fn begin(&mut self, event: Event) -> Poll<Result<(), Error>> {
        if self.moving {
            return self.waits.pend(Topic::Transition);
        }
        let state = self.state;
        if transition(event, state).is_none() {
            return Poll::Ready(Err(Error::Illegal { event, state }));
        }
        self.moving = true;
        Poll::Ready(Ok(()))
    }

    /// Begins what a reboot does, whatever the state.
    pub(crate) fn begin_reboot(&mut self) -> Poll<()> {
        if self.moving {
            return self.waits.pend(Topic::Transition);
        }
        self.moving = true;
        Poll::Ready(())
    }

    /// The transition that has begun waits for nobody any more.
    pub(crate) fn work(&mut self) {
        self.working = true;
    }

    /// Whether everything is frozen and written: calls that are under way still stand still,
    /// so it is no use to wait for them.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Whether a call that is under way may change something now. While a transition works,
    /// it may not; nor may it change what is written for the next kernel.
    pub(crate) fn may_go_on(&self) -> Poll<()> {
        if self.working || self.sealed && !self.gone {
            return self.waits.pend(Topic::Transition);
        }
        Poll::Ready(())
    }

    /// The machine has gone: what is written for the next kernel stays as it is whatever the calls
    /// do that are under way still.
    pub(crate) fn is_gone(&mut self) {
        self.gone = true;
        self.waits.wake(Topic::Transition);
    }

    /// A worker is going to try to end the update. Gives the number of this wish.
    pub(crate) fn want_end(&mut self) -> u64 {
        self.ends_wanted = self.ends_wanted.saturating_add(1);
        self.ends_wanted
    }

    /// The number of the last wish. A worker asks for it before it tries.
    pub(crate) const fn ends_wanted(&self) -> u64 {
        self.ends_wanted
    }

    /// The worker has tried, for all wishes up to one. Those that came while it did are for the
    /// next time: it may have looked before.
    pub(crate) fn end_was_tried(&mut self, wish: u64) {
        self.ends_tried = self.ends_tried.max(wish);
        self.waits.wake(Topic::Transition);
    }

    /// Whether the worker has tried since a wish.
    pub(crate) fn may_leave_end(&self, wish: u64) -> Poll<()> {
        if self.ends_tried < wish {
            return self.waits.pend(Topic::Transition);
        }
        Poll::Ready(())
    }

    /// Gives a transition up before it has done anything.
    pub(crate) fn give_up(&mut self) {
        self.stop();
    }

    /// Ends a transition in a state. "Normal" is where the machine rests: Updated
    /// if a previous kernel's sessions wait still.
    pub(crate) fn end(&mut self, state: State) -> State {
        let state = match state {
            State::Normal => self.resting(),
            other => other,
        };
        self.set_state(state);
        self.sealed = false;
        self.stop();
        state
    }

    /// Ends a prepare that went well: all that is there now has taken part.
    pub(crate) fn end_prepared(&mut self) -> State {
        self.rounds = self.rounds.saturating_add(1);
        self.end(State::Prepared)
    }

    /// Ends a reboot that went well: all that is there now is on its way, and nothing
    /// comes after it.
    pub(crate) fn end_sealed(&mut self) -> State {
        self.rounds = self.rounds.saturating_add(1);
        let state = self.end(State::Frozen);
        self.sealed = true;
        state
    }

    fn stop(&mut self) {
        self.moving = false;
        self.working = false;
        self.waits.wake(Topic::Transition);
    }

    /// Ends a transition that failed, everything undone.
    pub(crate) fn fail(&mut self, event: Option<Event>, failure: Failure) -> State {
        self.note_failure(event, failure);
        self.end(State::Normal)
    }

    /// Ends a transition that is refused before it has done anything: the state is the
    /// one it began in.
    pub(crate) fn refuse(&mut self, event: Option<Event>, failure: Failure) {
        self.note_failure(event, failure);
        self.give_up();
    }

    pub(crate) fn note_failure(&mut self, event: Option<Event>, failure: Failure) {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(LastFailure {
            event,
            failure,
            sequence: self.failures,
        });
    }

    /// The number of what is made now.
    pub(crate) const fn round(&self) -> u64 {
        self.rounds
    }

    /// Whether what was made in a round has taken part in what fixed it.
    pub(crate) const fn took_part(&self, made: u64) -> bool {
        made < self.rounds
    }

    /// Whether what was made in a round may change now: what came after the others had
    /// agreed is not bound by that.
    ///
    /// # Errors
    /// [`Error::Prepared`], [`Error::Frozen`].
    pub(crate) const fn may_change(&self, made: u64) -> Result<(), Error> {
        match self.state {
            State::Prepared if self.took_part(made) => Err(Error::Prepared),
            State::Frozen if self.took_part(made) => Err(Error::Frozen),
            _ => Ok(()),
        }
    }

    /// Whether it may be changed now what everybody is to agree to.
    ///
    /// # Errors
    /// [`Error::Prepared`], [`Error::Frozen`]; pending during a transition.
    pub(crate) fn changeable(&self) -> Poll<Result<(), Error>> {
        match self.state {
            _ if self.moving => self.waits.pend(Topic::Transition),
            State::Normal | State::Updated => Poll::Ready(Ok(())),
            State::Prepared => Poll::Ready(Err(Error::Prepared)),
            State::Frozen => Poll::Ready(Err(Error::Frozen)),
        }
    }

    /// Whether sessions may be worked with now: they may up to the reboot that has
    /// frozen everything.
    ///
    /// # Errors
    /// [`Error::Frozen`]; pending during a transition.
    pub(crate) fn admits(&self) -> Poll<Result<(), Error>> {
        match self.state {
            _ if self.moving => self.waits.pend(Topic::Transition),
            State::Frozen if self.sealed => Poll::Ready(Err(Error::Frozen)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the proposal, written down independently.
    #[test]
    fn the_table_is_that_of_the_proposal() {
        use Event::{Cancel, Finish, Freeze, Prepare};
        use State::{Frozen, Normal, Prepared, Updated};
        for event in Event::ALL {
            for state in State::ALL {
                let leads_to = match (event, state) {
                    (Prepare, Normal) => Some(Prepared),
                    (Freeze, Prepared) => Some(Frozen),
                    (Cancel, Prepared | Frozen) | (Finish, Updated) => Some(Normal),
                    _ => None,
                };
                assert_eq!(transition(event, state).map(|t| t.success), leads_to);
            }
        }
        for entry in TRANSITIONS {
            let can_fail = matches!(entry.event, Prepare | Freeze);
            assert_eq!(entry.failure, can_fail.then_some(Normal));
        }
    }

    /// A try that had begun before may have looked before.
    #[test]
    fn who_wants_an_end_waits_for_a_try_that_begins_afterwards() {
        let mut update = UpdateState::new();
        let first = update.want_end();
        let begun = update.ends_wanted();
        let second = update.want_end();
        update.end_was_tried(begun);
        assert!(update.may_leave_end(first).is_ready());
        assert!(update.may_leave_end(second).is_pending());
        update.end_was_tried(update.ends_wanted());
        assert!(update.may_leave_end(second).is_ready());
    }

    #[test]
    fn a_change_is_counted_once() {
        let mut machine = UpdateState::new();
        assert!(machine.begin(Event::Prepare).is_ready());
        assert!(machine.begin(Event::Prepare).is_pending());
        machine.end(State::Prepared);
        assert_eq!((machine.state(), machine.changes()), (State::Prepared, 1));
        assert!(machine.begin(Event::Prepare).map(|r| r.is_err()) == Poll::Ready(true));
        machine.set_updated(true);
        assert_eq!(machine.state(), State::Prepared);
        assert!(machine.begin(Event::Cancel).is_ready());
        assert_eq!(machine.end(State::Normal), State::Updated);
        assert_eq!(machine.changes(), 2);
    }
}
