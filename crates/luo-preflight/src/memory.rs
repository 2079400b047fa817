// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory that an update needs, and the memory that the machine has.

use luo_varlink::Check;

use crate::check::{Known, bytes, failed, ok, unknown};
use crate::limits::MEMORY_RESERVE;

/// Bytes of memory, from `/proc/meminfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Memory of the machine.
    pub total: u64,
    /// Memory that can be had without swapping and may be preserved.
    pub available: u64,
    /// Memory that is free besides, but only for what can be moved: Kexec HandOver's
    /// scratch areas. What is preserved cannot lie there, nor what the kernel itself has.
    pub movable: u64,
}

impl Memory {
    /// Reads `/proc/meminfo`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        // A kernel without such areas does not have the field. `CmaTotal` does not count the
        // scratch areas, `CmaFree` and `MemAvailable` do.
        let movable = field("CmaFree:").unwrap_or(0);
        let available = field("MemAvailable:")?;
        Some(Self {
            total: field("MemTotal:")?,
            available: available.saturating_sub(movable),
            movable: movable.min(available),
        })
    }
}

/// Bytes that an update allocates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// For files: their holes, which are filled, and the kernel's records of them.
    pub files: u64,
    /// For the kernel to jump into and its initrd, while they are loaded and until the
    /// jump. Nothing is known of a kernel whose image cannot be looked into.
    pub image: Option<u64>,
}

impl Need {
    /// The bytes for loading a kernel and its initrd: the files themselves while they are
    /// read, and a copy in the kernel.
    #[must_use]
    pub const fn of_image(image_bytes: u64, memory_bytes: u64, initrd_bytes: u64) -> u64 {
        let files = image_bytes.saturating_add(initrd_bytes);
        let copies = memory_bytes.saturating_add(initrd_bytes);
        files.saturating_add(copies)
    }

    const fn total(self) -> u64 {
        self.files.saturating_add(match self.image {
            Some(image) => image,
            None => 0,
        })
    }
}

/// Checks that there is enough: `memory`. Of a kernel of which nothing is known nobody can tell,
/// unless the files alone are too much.
#[must_use]
pub fn check(memory: &Known<Memory>, need: Need) -> Option<Check> {
    const NAME: &str = "memory";
    let memory = match memory {
        Ok(memory) => memory,
        Err(why) => {
            let why = format!("it is not known how much memory is free: {why}");
            return Some(unknown(NAME, why, "mount /proc"));
        }
    };
    let takes = match need.image {
        Some(image) => format!(
            "{} ({} for files, {} for the kernel)",
            bytes(need.total()),
            bytes(need.files),
            bytes(image)
        ),
        None => format!("{} for files", bytes(need.files)),
    };
    let mut needs = format!(
        "the update takes {takes}; {} are available, of which {} have to stay free",
        bytes(memory.available),
        bytes(MEMORY_RESERVE),
    );
    if memory.movable > 0 {
        needs.push_str(&format!(
            "; {} more are free in scratch areas, where nothing that is preserved can lie",
            bytes(memory.movable),
        ));
    }
    if need.total().saturating_add(MEMORY_RESERVE) > memory.available {
        let remedy = "free memory, or preserve less: holes of a memfd are filled when it is \
                      preserved";
        Some(failed(NAME, needs, remedy))
    } else {
        need.image.map(|_| ok(NAME, needs))
    }
}

/// Workloads that are named.
const MOST_NAMED: usize = 5;

/// Workloads that take something back, as the subject of a sentence; and whose group it is.
fn who(workloads: &[&str]) -> (String, &'static str) {
    let [workload] = workloads else {
        let named = workloads.iter().take(MOST_NAMED);
        let named = named.map(|name| format!("'{name}'")).collect::<Vec<_>>();
        let more = match workloads.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = named.join(", ");
        return (format!("workloads {named}{more} together take"), "their");
    };
    (format!("workload '{workload}' takes"), "its")
}

/// Checks that workloads can take back what they preserve: `workload-memory`. Memory that is
/// taken back counts for the control group of who takes it, and for those that this is in. `takes`
/// is at least, and at most.
#[must_use]
pub fn check_group(
    workloads: &[&str],
    group: &str,
    takes: (u64, u64),
    limit: Option<u64>,
) -> Option<Check> {
    const NAME: &str = "workload-memory";
    const REMEDY: &str = "raise MemoryMax= of its unit, or of the slice that it is in";
    let (least, most) = takes;
    let limit = limit.filter(|limit| most > *limit)?;
    let (who, whose) = who(workloads);
    let may_have = |takes| {
        format!(
            "{who} {takes} back after the jump, and {whose} control group {group} may have {} only",
            bytes(limit)
        )
    };
    Some(match least > limit {
        true => {
            let found = may_have(bytes(least));
            failed(NAME, format!("{found}: what does not fit is lost"), REMEDY)
        }
        false => {
            let found = may_have(format!("{} to {}", bytes(least), bytes(most)));
            unknown(
                NAME,
                format!("{found}: the next kernel may fill its holes, and whether is not known"),
                REMEDY,
            )
        }
    })
}

/// The same for huge pages of one size, which count for a pool of their own.
#[must_use]
pub fn check_huge(
    workloads: &[&str],
    group: &str,
    page: u64,
    takes: u64,
    limit: Option<u64>,
) -> Option<Check> {
    let limit = limit.filter(|limit| takes > *limit)?;
    let file = huge_limit(page);
    let (who, whose) = who(workloads);
    Some(failed(
        "workload-memory",
        format!(
            "{who} {} of huge pages of {} back after the jump, and {whose} control group {group} \
             may have {} only: what does not fit is lost",
            bytes(takes),
            bytes(page),
            bytes(limit),
        ),
        &format!("raise {file} of its control group, and of those that it is in"),
    ))
}

/// That a limit of memory cannot be read, and why: `workload-memory`.
#[must_use]
pub fn unread_limit(why: &str) -> Check {
    unknown(
        "workload-memory",
        format!("whether workloads may have what they take back is not known: {why}"),
        "see to it that luod can read the limits of control groups",
    )
}

/// That limits of memory are where nobody looks: `workload-memory`.
#[must_use]
pub fn old_groups() -> Check {
    unknown(
        "workload-memory",
        "control groups of version 1 limit memory here, and what those allow is not looked at: \
         what a workload takes back and does not fit is lost",
        "boot with systemd.unified_cgroup_hierarchy=1, or see that memory.limit_in_bytes of each \
         workload's group has room for what it preserves",
    )
}

/// The file of a control group with the limit of huge pages of a size.
#[must_use]
pub fn huge_limit(page: u64) -> String {
    let (number, unit) = match page {
        page if page >= 1 << 30 => (page >> 30, "GB"),
        page if page >= 1 << 20 => (page >> 20, "MB"),
        page => (page >> 10, "KB"),
    };
    format!("hugetlb.{number}{unit}.max")
}

#[cfg(test)]
mod tests {
    use luo_varlink::CheckStatus;

    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:        2000 kB\nMemFree: 1 kB\nMemAvailable:    1000 kB\n";
        let expected = Memory {
            total: 2_048_000,
            available: 1_024_000,
            movable: 0,
        };
        assert_eq!(Memory::parse(text), Some(expected));
        assert_eq!(Memory::parse("MemTotal: 2000 kB\n"), None);
        assert_eq!(Memory::parse("MemTotal: x kB\nMemAvailable: 1 kB"), None);
        let huge = "MemTotal: 1 kB\nMemAvailable: 18446744073709551615 kB";
        assert_eq!(Memory::parse(huge), None);
    }

    #[test]
    fn free_scratch_is_not_available() {
        let text = "MemTotal: 2000000 kB\nMemAvailable: 1048576 kB\nCmaTotal: 32768 kB\n\
                    CmaFree: 921600 kB\n";
        let memory = Memory::parse(text).unwrap();
        assert_eq!(memory.available, 124 << 20);
        assert_eq!(memory.movable, 900 << 20);
        let need = Need {
            files: 705 << 20,
            image: Some(21 << 20),
        };
        let check = check(&Ok(memory), need).unwrap();
        assert_eq!(check.status, CheckStatus::Failed);
        assert!(check.found.contains("900 MiB more"), "{}", check.found);
        // What is in use of an area may be more than what is available.
        let text = "MemTotal: 9 kB\nMemAvailable: 1 kB\nCmaFree: 2 kB\n";
        let memory = Memory::parse(text).unwrap();
        assert_eq!((memory.available, memory.movable), (0, 1024));
    }

    #[test]
    fn of_a_kernel_of_which_nothing_is_known_nothing_is_said() {
        let check = |files| {
            let memory = Memory {
                total: 1 << 30,
                available: 1 << 30,
                movable: 0,
            };
            check(&Ok(memory), Need { files, image: None })
        };
        assert_eq!(check(1 << 20), None);
        let failed = check(1 << 30).unwrap();
        assert_eq!(failed.status, CheckStatus::Failed);
        assert!(
            failed
                .found
                .starts_with("the update takes 1024 MiB for files; ")
        );
    }

    #[test]
    fn what_is_taken_back_counts_for_the_unit() {
        let four = 4 << 30;
        let check = |limit| check_group(&["vm"], "/vm.service", (four, four), limit);
        assert_eq!(check(None), None);
        assert_eq!(check(Some(4 << 30)), None);
        let failed = check(Some((4 << 30) - 1)).unwrap();
        assert_eq!(failed.status, CheckStatus::Failed);
        assert!(failed.found.contains("4096 MiB"), "{}", failed.found);
        // What the next kernel does with holes may not be known.
        let check = |limit| check_group(&["vm"], "/vm.service", (1 << 30, four), limit);
        assert_eq!(check(Some(four)), None);
        let unknown = check(Some(2 << 30)).unwrap();
        assert_eq!(unknown.status, CheckStatus::Unknown, "{unknown:?}");
        let failed = check(Some((1 << 30) - 1)).unwrap();
        assert_eq!(failed.status, CheckStatus::Failed);
    }

    #[test]
    fn huge_pages_have_a_limit_of_their_own() {
        let files = [64 << 10, 2 << 20, 1 << 30].map(huge_limit);
        let expected = ["hugetlb.64KB.max", "hugetlb.2MB.max", "hugetlb.1GB.max"];
        assert_eq!(files, expected);
        let check = |limit| check_huge(&["vm"], "/vm.service", 2 << 20, 4 << 20, limit);
        assert_eq!(check(None), None);
        assert_eq!(check(Some(4 << 20)), None);
        let failed = check(Some(2 << 20)).unwrap();
        assert!(failed.remedy.unwrap().contains("hugetlb.2MB.max"));
    }

    #[test]
    fn the_reserve_stays_free() {
        let status = |files| {
            let memory = Ok(Memory {
                total: 1 << 30,
                available: 1 << 30,
                movable: 0,
            });
            let need = Need {
                files,
                image: Some(1),
            };
            check(&memory, need).unwrap().status
        };
        assert_eq!(status((1 << 30) - MEMORY_RESERVE - 1), CheckStatus::Ok);
        assert_eq!(status((1 << 30) - MEMORY_RESERVE), CheckStatus::Failed);
        assert_eq!(status(u64::MAX), CheckStatus::Failed);
        assert_eq!(
            check(&Err("no".into()), Need::default()).unwrap().status,
            CheckStatus::Unknown
        );
    }
}
