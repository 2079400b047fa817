// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Steps that want pages for the next kernel first.
//!
//! Pages are got without the lock. A call that has a page in hand which is in no chain yet
//! counts as under way, and the reboot waits for it: otherwise the next kernel would find
//! the page preserved and named by nobody, and could never free it.

use core::task::Poll;

use crate::engine::Engine;
use crate::error::Error;
use crate::handover::block::Spares;
use crate::lock::Lock;
use crate::mem::make_room;
use crate::room::ROOM;

/// The outcome of one try.
enum Try<R> {
    Done(R),
    WantsBlock,
    /// It has to wait, and somebody may wait for the pages.
    GiveBack,
}

/// Runs `step` until it has all the pages that it wants; it says `None` as long as it
/// wants one more. What turns out not to be needed is dropped, without the lock. If it has
/// no memory of its own, room is made once, as in `room`.
///
/// # Errors
/// The errors of `step`, and those of the host's memory.
pub(crate) fn with_pages<H: Lock, R>(
    host: &H,
    mut step: impl FnMut(&mut Engine<H>, &mut Spares<H::Block>) -> Poll<Result<Option<R>, Error>>,
) -> Result<R, Error> {
    let mut has_made_room = false;
    loop {
        let mut spares = Spares::new();
        let mut held = false;
        let outcome = loop {
            let tried = host.wait_killable(|engine| match step(engine, &mut spares) {
                Poll::Pending if held => Poll::Ready(Ok(Try::GiveBack)),
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(why)) => Poll::Ready(Err(why)),
                Poll::Ready(Ok(Some(done))) => Poll::Ready(Ok(Try::Done(done))),
                Poll::Ready(Ok(None)) => {
                    if !held {
                        held = true;
                        engine.begin_with_pages();
                    }
                    Poll::Ready(Ok(Try::WantsBlock))
                }
            });
            // Killed, it has no pages: who has some does not wait.
            match tried.unwrap_or_else(|errno| Err(errno.into())) {
                Ok(Try::Done(done)) => break Some(Ok(done)),
                Ok(Try::GiveBack) => break None,
                Ok(Try::WantsBlock) => match host.alloc_block() {
                    Ok(page) => spares.add(page),
                    Err(errno) => break Some(Err(errno.into())),
                },
                Err(Error::NoMemory) if !has_made_room => {
                    has_made_room = true;
                    if let Err(why) = make_room(ROOM) {
                        break Some(Err(why.into()));
                    }
                }
                Err(why) => break Some(Err(why)),
            }
        };
        drop(spares);
        if held {
            host.now(|engine| {
                engine.end_with_pages();
            });
        }
        if let Some(outcome) = outcome {
            return outcome;
        }
    }
}
