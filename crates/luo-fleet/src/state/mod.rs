// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fleet's state, which is in etcd alone.
//!
//! ```text
//! PREFIX/state/policy        the document, as it was written
//! PREFIX/state/stop          the stop switch, if somebody has pressed it
//! PREFIX/state/ledger        a number that each change of slots, failures and policy raises
//! PREFIX/state/host/ID       what is known of a host; its slot is in there
//! PREFIX/state/presence/ID   that it was heard of, under a lease
//! PREFIX/audit/NUMBER        the log: a line for each number of the ledger
//! ```
//!
//! A slot is given by one transaction that compares the ledger's revision with that which was
//! decided by. So of two servers that decide at the same time one has to decide anew, whatever
//! their mirrors had seen.
//!
//! | module | contents |
//! |---|---|
//! | [`keys`] | the names above |
//! | [`known`] | all of it in memory, change by change |
//! | [`mirror`] | keeps that up with etcd |
//! | [`notes`] | hosts that are new, and who was heard of: written many at once |
//! | [`audit`] | the log |
//! | [`change`] | changes: transactions that compare |
//! | [`keeper`] | what is done: slots given and taken back |

pub mod audit;
pub mod change;
pub mod keeper;
pub mod keys;
pub mod known;
pub mod mirror;
pub mod notes;
