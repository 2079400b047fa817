// SPDX-License-Identifier: MIT OR Apache-2.0
//! An event as C has it.

use core::ffi::c_char;

use luo_client::agent::{Event, EventKind};
use rustix::io::Errno;

use crate::error::Failure;

/// Get ready: preserve what is to survive, and answer.
pub const LUO_EVENT_PREPARE: u32 = 1;
/// Stand still: change nothing of it any more, and answer.
pub const LUO_EVENT_FREEZE: u32 = 2;
/// The update is off: go on as before. It is not answered.
pub const LUO_EVENT_CANCEL: u32 = 3;

/// Bytes of an update's id, its end included.
pub const LUO_UPDATE_SIZE: usize = 128;

/// Bytes of a reason, its end included.
pub const LUO_REASON_SIZE: usize = 1025;

/// An event: what the agent asks of a workload next.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct luo_event {
    /// One of `LUO_EVENT_*`.
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// Milliseconds from now within which the answer has to be there; 0 if none is
    /// expected.
    pub deadline_ms: u64,
    /// The update's id, which the answer repeats.
    pub update: [c_char; LUO_UPDATE_SIZE],
    /// Why the update is off; empty if no reason was given. A longer reason is cut.
    pub reason: [c_char; LUO_REASON_SIZE],
}

/// A string of C with these bytes; `None` if they do not fit.
fn field<const SIZE: usize>(text: &str) -> Option<[c_char; SIZE]> {
    let mut field = [0; SIZE];
    if text.len() >= SIZE || text.contains('\0') {
        return None;
    }
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from.cast_signed() as c_char;
    }
    Some(field)
}

impl luo_event {
    pub(crate) fn new(event: &Event) -> Result<Self, Failure> {
        let update = field(&event.update)
            .ok_or_else(|| Failure::new(Errno::PROTO, "the update's id cannot be told in C"))?;
        let reason = event.reason.as_deref().unwrap_or_default();
        let ends = (0..LUO_REASON_SIZE).rev();
        let reason = ends.filter_map(|end| reason.get(..end)).find_map(field);
        Ok(Self {
            kind: match event.kind {
                EventKind::Prepare => LUO_EVENT_PREPARE,
                EventKind::Freeze => LUO_EVENT_FREEZE,
                EventKind::Cancel => LUO_EVENT_CANCEL,
            },
            reserved: 0,
            deadline_ms: event.deadline_ms,
            update,
            reason: reason.unwrap_or([0; LUO_REASON_SIZE]),
        })
    }

    /// The event, as far as an answer needs it.
    pub(crate) fn read(&self) -> Result<Event, Failure> {
        let bad = |what| Failure::new(Errno::INVAL, format!("the event's {what} is not valid"));
        let kind = match self.kind {
            LUO_EVENT_PREPARE => EventKind::Prepare,
            LUO_EVENT_FREEZE => EventKind::Freeze,
            LUO_EVENT_CANCEL => EventKind::Cancel,
            _ => return Err(bad("kind")),
        };
        let update = self.update.iter().map(|&byte| byte as u8);
        let update: Vec<u8> = update.take_while(|&byte| byte != 0).collect();
        if update.len() >= LUO_UPDATE_SIZE {
            return Err(bad("update"));
        }
        Ok(Event {
            kind,
            update: String::from_utf8(update).map_err(|_| bad("update"))?,
            deadline_ms: self.deadline_ms,
            reason: None,
        })
    }
}
