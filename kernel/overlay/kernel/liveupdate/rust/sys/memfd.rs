// SPDX-License-Identifier: GPL-2.0-only
//! Shared memory and the page cache, for the handler of memfds.
//!
//! The old kernel holds a file still ([`Still`]) and keeps its pages ([`Kept`]). The new one
//! reads what is there ([`Previous`]), makes a file ([`Made`]), gets pages back ([`Back`]) and
//! puts them into it, for which a control group pays ([`Group`]).

mod back;
mod facts;
mod group;
mod huge;
mod kept;
mod kind;
mod made;
mod payer;
mod previous;
mod run;
mod still;
mod taken;

use kernel::bindings;
use luo_abi::memfd::{GROUP_LENGTH, NAME_LENGTH};

pub(crate) use back::{join_order, Back};
pub(crate) use group::Group;
pub(crate) use huge::node_of;
pub(crate) use kept::Kept;
pub(crate) use kind::{is_huge, is_memfd, object_id, table};
pub(crate) use made::Made;
pub(crate) use previous::Previous;
pub(crate) use still::Still;

const _: () = assert!(NAME_LENGTH == bindings::LUO_MEMFD_NAME as usize);
const _: () = assert!(GROUP_LENGTH == bindings::LUO_MEMFD_GROUP as usize);
