// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client against an agent that does what a test says.

mod examples;
mod fake;
mod hostile;
mod lost;
mod manifest;
mod regions;
mod tools;
mod wire;
mod workload;
