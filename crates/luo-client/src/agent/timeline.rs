// SPDX-License-Identifier: MIT OR Apache-2.0
//! Replies that come one by one, as an iterator.

use core::marker::PhantomData;
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd};

use luo_varlink::TimelineEvent;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::caller::{Caller, Waits};
use super::error::Error;

/// One of the many replies to `Update` and `Watch`.
#[derive(Debug, Deserialize)]
struct Happened {
    event: TimelineEvent,
}

/// The lines of a timeline, each as it happens. An error is the last item.
///
/// A timeline that is dropped before its end ends the connection: what is still to come
/// would be taken for answers to the next call.
#[derive(Debug)]
pub struct Timeline<'a, R> {
    caller: &'a mut Caller,
    call: &'static str,
    done: bool,
    refusal: PhantomData<fn() -> R>,
}

impl<'a, R> Timeline<'a, R> {
    pub(super) fn new(caller: &'a mut Caller, call: &'static str) -> Self {
        Self {
            caller,
            call,
            done: false,
            refusal: PhantomData,
        }
    }
}

impl<R> Timeline<'_, R> {
    /// Sets how long each line from here on may take; `None` sets no limit.
    pub fn set_patience(&mut self, patience: Option<Duration>) {
        self.caller.times.patience = patience;
    }
}

impl<R> Iterator for Timeline<'_, R>
where
    R: core::error::Error + DeserializeOwned + 'static,
{
    type Item = Result<TimelineEvent, Error<R>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.caller.receive::<Happened, R>(self.call, Waits::Others) {
            Ok(answer) => {
                self.done = !answer.continues;
                Some(Ok(answer.parameters.event))
            }
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}

impl<R> AsFd for Timeline<'_, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.caller.as_fd()
    }
}

impl<R> Drop for Timeline<'_, R> {
    fn drop(&mut self) {
        if !self.done {
            self.caller.hang_up();
        }
    }
}
