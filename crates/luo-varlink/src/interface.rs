// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interfaces as texts, for `org.varlink.service.GetInterfaceDescription`.

use crate::{admin, client, status};

/// An interface's name and description.
pub type Interface = (&'static str, &'static str);

/// `org.liveupdate.Client`.
pub const CLIENT: Interface = (
    client::INTERFACE,
    include_str!("../interfaces/org.liveupdate.Client.varlink"),
);

/// `org.liveupdate.Admin`.
pub const ADMIN: Interface = (
    admin::INTERFACE,
    include_str!("../interfaces/org.liveupdate.Admin.varlink"),
);

/// `org.liveupdate.Status`.
pub const STATUS: Interface = (
    status::INTERFACE,
    include_str!("../interfaces/org.liveupdate.Status.varlink"),
);

/// All interfaces.
pub const ALL: [Interface; 3] = [CLIENT, ADMIN, STATUS];
