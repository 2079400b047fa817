// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is served over HTTP.
//!
//! | path | to whom | what |
//! |---|---|---|
//! | `POST /v1/pre-reboot`, `/v1/steady-state` | hosts | FleetLock |
//! | `POST /v1/liveupdate/report` | hosts | an update that failed |
//! | `GET /v1/fleet/status`, `/v1/fleet/audit` | who may look | the fleet, the log |
//! | `POST /v1/fleet/hold`, `resume`, `release`, `forget` | administrators | by hand |
//! | `GET /`, `/metrics` | who may look | a page, metrics |
//! | `GET /healthz` | everybody | whether it can decide |
//!
//! | module | contents |
//! |---|---|
//! | [`answer`] | answers, and how a call is refused |
//! | [`metrics`] | what Prometheus gets |
//! | [`page`] | the page |
//! | [`route`] | which call is which, and who may make it |
//! | [`room`] | for how many connections there is room, and who leaves when it is full |
//! | [`listen`] | connections, TLS, limits |

pub mod answer;
pub mod listen;
pub mod metrics;
pub mod page;
pub mod room;
pub mod route;
