// SPDX-License-Identifier: MIT OR Apache-2.0
//! A user's session, and how others call it.

use anyhow::Result;
use luo_sys::{Device, Session};

use crate::check::name;
use crate::user::as_user;

/// Creates a session as a user, and closes the device.
pub(in crate::topics) fn create(user: u32, text: &str) -> Result<Session> {
    as_user(user, || Ok(Device::open()?.create_session(&name(text))?))
}

pub(in crate::topics) fn full(user: u32, text: &str) -> String {
    format!("uid:{user}:{text}")
}
