// SPDX-License-Identifier: GPL-2.0-only
//! The facts of a file (name, mode, owner, …), as C has them and as the format has them.

use kernel::bindings;
use luo_memfd::{Facts, More, Time, Times};

fn time_of(time: bindings::luo_memfd_time) -> Time {
    Time {
        seconds: time.seconds,
        nanoseconds: time.nanoseconds,
    }
}

fn time_to(time: Time) -> bindings::luo_memfd_time {
    bindings::luo_memfd_time {
        seconds: time.seconds,
        nanoseconds: time.nanoseconds,
    }
}

pub(super) fn facts_of(facts: &bindings::luo_memfd_facts) -> Facts {
    Facts {
        size: facts.size,
        position: facts.position,
        seals: facts.seals,
        huge: facts.huge,
        more: Some(More {
            flags: facts.flags,
            mode: facts.mode,
            uid: facts.uid,
            gid: facts.gid,
            times: Times {
                access: time_of(facts.access),
                modification: time_of(facts.modification),
                change: time_of(facts.change),
                birth: time_of(facts.birth),
            },
        }),
    }
}

pub(super) fn facts_to(facts: &Facts) -> bindings::luo_memfd_facts {
    let mut to = bindings::luo_memfd_facts {
        size: facts.size,
        position: facts.position,
        seals: facts.seals,
        huge: facts.huge,
        ..Default::default()
    };
    if let Some(more) = &facts.more {
        to.flags = more.flags;
        to.mode = more.mode;
        to.uid = more.uid;
        to.gid = more.gid;
        to.access = time_to(more.times.access);
        to.modification = time_to(more.times.modification);
        to.change = time_to(more.times.change);
        to.birth = time_to(more.times.birth);
    }
    to
}
