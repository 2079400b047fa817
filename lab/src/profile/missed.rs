// SPDX-License-Identifier: MIT OR Apache-2.0
//! What rows were to cost at most, and what stands in the way of those that cost more.

/// At most so many instructions, where that is not what mainline takes.
const AIMS: &[(&str, &str, f64)] = &[
    ("PRESERVE_FD, a page", "16M-runs", 40.0),
    ("PRESERVE_FD, a page", "16M-aligned", 40.0),
    ("PRESERVE_FD, a page", "16M-scattered", 220.0),
    ("RETRIEVE_FD, a page", "16M-runs", 60.0),
    ("RETRIEVE_FD, a page", "16M-aligned", 60.0),
    ("RETRIEVE_FD, a page", "16M-scattered", 560.0),
    ("PRESERVE_FD, a page", "512M-runs", 40.0),
    ("RETRIEVE_FD, a page", "512M-runs", 60.0),
    // 5,000 for the whole call.
    ("PRESERVE_FD, a page", "64M-hole", 5_000.0 / 16_384.0),
];

/// At most such a part of what mainline takes.
const PARTS: &[(&str, &str, f64)] = &[("PRESERVE_FD, a page", "512M-scratch", 0.2)];

/// What a row was to cost at most: no more than mainline's, and no more than was aimed at.
#[must_use]
pub fn aim(metric: &str, load: &str, theirs: f64) -> f64 {
    let of = |aims: &[(&str, &str, f64)]| {
        let mut aims = aims.iter();
        let own = aims.find(|&&(of, under, _)| (of, under) == (metric, load));
        own.map(|&(_, _, most)| most)
    };
    let part = of(PARTS).map_or(theirs, |part| part * theirs);
    of(AIMS).map_or(part, |most| most.min(part))
}

/// A row costs more than it was to when it does so by this factor. Two runs of the same agree
/// within 1 %.
const TOLERANCE: f64 = 1.02;

/// Whether a row costs more than it was to.
#[must_use]
pub fn is_missed(metric: &str, load: &str, theirs: f64, ours: f64) -> bool {
    ours > aim(metric, load, theirs) * TOLERANCE + 1.0
}

/// What stands in the way.
#[derive(Debug)]
pub struct Reason {
    /// In which rows.
    metric: &'static str,
    /// Under which loads; under all if there are none.
    loads: &'static [&'static str],
    /// The functions whose shares show it, with all that they call.
    pub functions: &'static [&'static str],
    /// In a sentence.
    pub sentence: &'static str,
}

/// In the order in which they are looked for.
const REASONS: &[Reason] = &[
    Reason {
        metric: "CREATE_SESSION",
        loads: &[],
        functions: &[],
        sentence: "The first sessions pay for the room of the tables that make it cheap to have many; \
                   whose the session is and what its owner may have is looked up.",
    },
    Reason {
        metric: "PRESERVE_FD",
        loads: &[],
        functions: &["clear_highpages_kasan_tagged"],
        sentence: "Both zero as many pages for the next kernel. Beyond that ours looks the token and \
                   the object up, asks for room in its tables, writes name, mode, owner, times and \
                   payer of the file down under a digest, and moves what it keeps of the file.",
    },
    Reason {
        metric: "first use",
        loads: &[],
        functions: &["luo_core::table::index::Index::insert"],
        sentence: "Each session and file is put into an index for later look-ups, and each record goes \
                   through a digest; mainline does neither. A worker is woken and waited for, and the \
                   log has a line.",
    },
    Reason {
        metric: "RETRIEVE_SESSION",
        loads: &[],
        functions: &["luo_core::table::hash::State::absorb"],
        sentence: "The name is hashed under a secret key, and whose the session is is looked up.",
    },
    Reason {
        metric: "RETRIEVE_FD",
        loads: &[],
        functions: &["luo_memfd::read::read"],
        sentence: "What was left of the file is read into lists, under a digest, and Kexec HandOver is \
                   asked for each page of it, before anything is taken.",
    },
    Reason {
        metric: "FINISH",
        loads: &[],
        functions: &["luo_core::table::index::Index::remove"],
        sentence: "Each step takes the engine's lock and wakes who may wait. The file is taken out of \
                   its session, the graph and two indexes, and it is looked whether others need it.",
    },
    Reason {
        metric: "FINISH of the last session",
        loads: &["1x2000"],
        functions: &["luo_core::table::index::Index::remove"],
        sentence: "As FINISH, for each file.",
    },
    Reason {
        metric: "FINISH of the last session",
        loads: &[],
        functions: &["vprintk_emit"],
        sentence: "The update ends with it: a line for the log is made, and those who watch the state \
                   are woken. Mainline has no such end.",
    },
    Reason {
        metric: "close of a finished session",
        loads: &[],
        functions: &[],
        sentence: "The session is taken out of a table, an index and a list under the engine's lock, and \
                   it is looked whether an update keeps it, or ends with it.",
    },
    Reason {
        metric: "reboot to init",
        loads: &["16M"],
        functions: &["(outside the kernel)"],
        sentence: "A kernel unpacks itself before it is one, and ours is larger by a ninth: nine tenths \
                   of the difference are in that.",
    },
    Reason {
        metric: "init to the first answer",
        loads: &["16M-huge"],
        functions: &[],
        sentence: "The first use is in it, and a retrieval so short that it cannot make up for that. \
                   Both are half of the difference; the other half has not been looked for.",
    },
    Reason {
        metric: "init to the first answer",
        loads: &["16M-scattered"],
        functions: &[],
        sentence: "Nearly all of the difference is RETRIEVE_FD's of the pages, one run each; the rest \
                   is the first use.",
    },
    Reason {
        metric: "PRESERVE_FD, a page",
        loads: &["16M-scattered"],
        functions: &["luo_memfd_keep", "luo_memfd_take"],
        sentence: "Each page is a run of its own: a key of its own in Kexec HandOver's tree, which is locked \
                   once for many, and a record of its own, under a digest.",
    },
    Reason {
        metric: "PRESERVE_FD, a page",
        loads: &["512M-scratch"],
        functions: &["migrate_pages_batch", "copy_mc_enhanced_fast_string"],
        sentence: "A tenth of the pages lies in the scratch area, which has to be free for the next \
                   kernel: they are moved, in mainline's as here, and each is copied.",
    },
    Reason {
        metric: "PRESERVE_FD, a page",
        loads: &["64M-hole"],
        functions: &["clear_highpages_kasan_tagged"],
        sentence: "Holes are stepped over: the first call in a machine costs as much for a file of a page, in \
                   mainline's kernel, too. Pages are zeroed for the next kernel, and code of the program \
                   that has not run before is mapped.",
    },
    Reason {
        metric: "PRESERVE_FD, a page",
        loads: &[],
        functions: &["luo_memfd_keep", "luo_memfd_take", "luo_memfd_same_payer"],
        sentence: "The page cache is walked page by page: to refer to each, and to see whether it can stay \
                   and who pays.",
    },
    Reason {
        metric: "RETRIEVE_FD, a page",
        loads: &[],
        functions: &["luo_memfd_insert", "kho_restore_pages"],
        sentence: "Each page is looked at when it comes back, told whose it is, and put into the page \
                   cache and a list of reclaim; joined ones have their other pages told so one by one.",
    },
];

/// What stands in a row's way, if it is known.
#[must_use]
pub fn reason(metric: &str, load: &str) -> Option<&'static Reason> {
    REASONS.iter().find(|reason| {
        reason.metric == metric && (reason.loads.is_empty() || reason.loads.contains(&load))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::bench::counts::Counts;
    use crate::run::load::{ASKED, LOADS};

    #[test]
    fn each_agreed_row_that_costs_more_has_a_reason() {
        let repo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let counts = Counts::read(repo).unwrap();
        let theirs: BTreeMap<_, _> = counts.of_kernel("bench-c").collect();
        let mut missed = 0;
        for (load, run) in counts.of_kernel("bench-rust") {
            for (metric, &ours) in run {
                let theirs = theirs[load][metric] as f64;
                if is_missed(metric, load, theirs, ours as f64) {
                    missed += 1;
                    assert!(reason(metric, load).is_some(), "{metric}, {load}");
                }
            }
        }
        assert!(missed > 0, "the counts have no row that costs more");
    }

    #[test]
    fn loads_are_those_that_there_are() {
        let of_aims = AIMS.iter().chain(PARTS).map(|&(_, load, _)| load);
        let of_reasons = REASONS
            .iter()
            .flat_map(|reason| reason.loads.iter().copied());
        for name in of_aims.chain(of_reasons) {
            let mut loads = LOADS.iter().chain(ASKED);
            assert!(loads.any(|load| load.name == name), "{name}");
        }
    }

    #[test]
    fn mainline_is_the_aim_where_there_is_no_lower_one() {
        assert_eq!(aim("FINISH", "2x2", 100.0), 100.0);
        assert_eq!(aim("PRESERVE_FD, a page", "16M-runs", 462.0), 40.0);
        assert_eq!(aim("PRESERVE_FD, a page", "16M-runs", 4.0), 4.0);
        assert_eq!(aim("PRESERVE_FD, a page", "512M-scratch", 100.0), 20.0);
        assert!(is_missed("FINISH", "2x2", 100.0, 104.0));
        assert!(!is_missed("FINISH", "2x2", 100.0, 102.0));
    }
}
