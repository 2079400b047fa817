// SPDX-License-Identifier: MIT OR Apache-2.0
//! The events that a workload has not been told of yet.
//!
//! ```text
//! agent --put--> [ cancel, prepare, freeze ] --next--> the workload's connection
//! ```
//!
//! An inbox holds three events at most: an update asks for two steps, each once, and a
//! cancel takes the place of all unread events. A workload that has not heard of a step has
//! nothing to undo of it. A cancel asks it only to serve on, and that is the same for every
//! update.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use luo_varlink::{Event, EventKind};
use tokio::sync::Notify;

/// An inbox, shared by the agent and a workload's connection. While it is empty it is a
/// few words: there may be one for each of thousands of connections.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    unread: RefCell<VecDeque<Event>>,
    arrived: Notify,
}

impl Inbox {
    /// Adds an event. A cancel drops those before it.
    pub(super) fn put(&self, event: Event) {
        {
            let mut unread = self.0.unread.borrow_mut();
            if event.kind == EventKind::Cancel {
                unread.clear();
            }
            unread.push_back(event);
        }
        self.0.arrived.notify_one();
    }

    /// The next event, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<Event> {
        let mut unread = self.0.unread.borrow_mut();
        let event = unread.pop_front();
        if unread.is_empty() {
            // The memory is freed too: an inbox is empty most of the time.
            unread.shrink_to_fit();
        }
        event
    }

    /// Waits for the next event. Only one caller may wait at a time. A wait that is dropped
    /// has taken no event.
    pub async fn next(&self) -> Event {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            // The notification may be of an event that was taken since: then this waits
            // again.
            self.0.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn event(kind: EventKind, update: &str) -> Event {
        Event {
            kind,
            update: update.into(),
            deadline_ms: 0,
            reason: None,
        }
    }

    fn unread(inbox: &Inbox) -> Vec<(EventKind, String)> {
        let all = std::iter::from_fn(|| inbox.take());
        all.map(|event| (event.kind, event.update)).collect()
    }

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn events_come_in_order() {
        let inbox = Inbox::default();
        inbox.put(event(EventKind::Prepare, "a"));
        inbox.put(event(EventKind::Freeze, "a"));
        let expected = [EventKind::Prepare, EventKind::Freeze].map(|kind| (kind, "a".into()));
        assert_eq!(unread(&inbox), expected);
        assert!(inbox.take().is_none());
    }

    #[test]
    fn a_cancel_drops_what_is_unread() {
        let inbox = Inbox::default();
        inbox.put(event(EventKind::Prepare, "a"));
        inbox.put(event(EventKind::Freeze, "a"));
        inbox.put(event(EventKind::Cancel, "a"));
        assert_eq!(unread(&inbox), [(EventKind::Cancel, "a".into())]);
    }

    #[test]
    fn who_never_reads_has_three_at_most() {
        let inbox = Inbox::default();
        for update in 0..100 {
            for kind in [EventKind::Prepare, EventKind::Freeze, EventKind::Cancel] {
                inbox.put(event(kind, &update.to_string()));
                assert!(inbox.0.unread.borrow().len() <= 3);
            }
        }
        inbox.put(event(EventKind::Prepare, "last"));
        let kinds: Vec<_> = unread(&inbox).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [EventKind::Cancel, EventKind::Prepare]);
    }

    #[test]
    fn who_waits_is_woken() {
        let inbox = Inbox::default();
        let mut waiting = pin!(inbox.next());
        assert!(poll(waiting.as_mut()).is_pending());
        inbox.put(event(EventKind::Prepare, "a"));
        assert_eq!(poll(waiting), Poll::Ready(event(EventKind::Prepare, "a")));
    }

    #[test]
    fn who_gives_up_misses_nothing() {
        let inbox = Inbox::default();
        {
            let mut waiting = pin!(inbox.next());
            assert!(poll(waiting.as_mut()).is_pending());
            // The waiter is notified, and dropped before it looks.
            inbox.put(event(EventKind::Prepare, "a"));
        }
        let mut again = pin!(inbox.next());
        assert!(poll(again.as_mut()).is_ready());
        // An event that was taken without a wait leaves no notification that wakes in vain.
        inbox.put(event(EventKind::Freeze, "a"));
        assert!(inbox.take().is_some());
        assert!(poll(pin!(inbox.next())).is_pending());
    }

    #[test]
    fn an_empty_one_keeps_no_memory() {
        let inbox = Inbox::default();
        inbox.put(event(EventKind::Prepare, "a"));
        inbox.put(event(EventKind::Freeze, "a"));
        assert!(inbox.take().is_some() && inbox.take().is_some());
        assert_eq!(inbox.0.unread.borrow().capacity(), 0);
    }

    #[test]
    fn both_ends_are_one_inbox() {
        let agents = Inbox::default();
        let connections = agents.clone();
        agents.put(event(EventKind::Prepare, "a"));
        assert!(connections.take().is_some() && agents.take().is_none());
    }
}
