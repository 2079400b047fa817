// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs of users by their names: this program is started anew as each of them.

use anyhow::Result;
use luo_conformance::user::without_privileges;

use super::programs::{
    BARE, COSTLY, COSTLY_AFTER, HOLDS, HOLDS_FROZEN, IS_FULL, NUMBERS, READS, READS_ALONE, SHARES,
    SHARES_FROZEN,
};
use super::{ends, evil, idle, lines, neighbour, programs, shares};

/// Is one of the programs of users.
pub(crate) fn main(part: &str) {
    let played = played(part).unwrap_or_else(|| evil::main(part));
    if let Err(error) = played {
        println!(
            "{}nothing, it could not begin: {error:#}",
            evil::LET_THROUGH
        );
    }
}

/// Plays a part; `None` if it is none of these.
fn played(part: &str) -> Option<Result<()>> {
    Some(match part {
        HOLDS => programs::holds(false),
        HOLDS_FROZEN => programs::holds(true),
        SHARES => shares::main(false),
        SHARES_FROZEN => shares::main(true),
        NUMBERS => programs::numbers(),
        IS_FULL => programs::is_full(),
        COSTLY => programs::costly(COSTLY),
        BARE => without_privileges(programs::bare),
        COSTLY_AFTER => programs::costly_after(),
        READS => programs::reads(READS, programs::READERS),
        READS_ALONE => programs::reads(READS_ALONE, 1),
        neighbour::CALLS => neighbour::main(),
        idle::IDLE => idle::main(),
        idle::LEAVES => idle::leave(),
        idle::AFTER => idle::after(),
        lines::LEFT => lines::main(),
        lines::LEAVES => lines::leave(),
        lines::AFTER => lines::after(),
        ends::LEAVES => ends::main(),
        part if ends::AFTER.contains(&part) => ends::after(part),
        _ => return None,
    })
}
