// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kexec HandOver's scratch areas: the only memory that a kernel to jump into is
//! loaded to, and the first that it uses.

use luo_varlink::Check;

use crate::check::{Known, bytes, failed, ok, unknown, warning};
use crate::image::{Format, Image};
use crate::limits::EARLY_BOOT;

/// An area of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its address, if it is known.
    pub start: Option<u64>,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A segment: memory that has to lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its name, in words.
    pub what: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its alignment: its address is a multiple of this.
    pub alignment: u64,
    /// The lowest address it may have.
    pub lowest: u64,
}

/// Bytes that loader and handover need beside kernel and initrd: the code between the
/// kernels, the boot parameters with the command line, the list of the areas.
const SMALL: [(&str, u64, u64); 3] = [
    ("the list of scratch areas", 64 << 10, 64 << 10),
    ("the code between the kernels", 64 << 10, 4096),
    ("the boot parameters", 64 << 10, 4096),
];

/// The segments of a kernel and its initrd, in the order in which they are loaded. `None`
/// if the image does not say how much memory it needs.
#[must_use]
pub fn segments(image: &Image, initrd_bytes: u64) -> Option<Vec<Segment>> {
    if !matches!(image.format, Format::BzImage | Format::Image) || image.boot.memory_bytes == 0 {
        return None;
    }
    let small = SMALL.iter().map(|&(what, bytes, alignment)| Segment {
        what,
        bytes,
        alignment,
        lowest: 0,
    });
    let kernel = Segment {
        what: "the kernel",
        bytes: image.boot.memory_bytes,
        alignment: image.boot.alignment,
        lowest: image.boot.lowest,
    };
    let initrd = Segment {
        what: "the initrd",
        bytes: initrd_bytes,
        alignment: 4096,
        lowest: 0,
    };
    let all = small.chain([kernel, initrd]);
    Some(all.filter(|segment| segment.bytes > 0).collect())
}

/// Puts each segment to the highest place that is free in the first area that has one,
/// as the kernel does. Gives the bytes that stay free.
///
/// An area whose address is not known is taken to lie as well as it can.
///
/// # Errors
/// The segment that finds no place.
pub fn place(areas: &[Area], segments: &[Segment]) -> Result<u64, Segment> {
    // This address is high enough for each kernel, and a multiple of each alignment.
    const ANYWHERE: u64 = 1 << 40;
    let mut free: Vec<(u64, u64)> = Vec::new();
    for area in areas {
        let start = area.start.unwrap_or(ANYWHERE);
        free.push((start, start.saturating_add(area.bytes)));
    }
    for segment in segments {
        take(&mut free, segment).ok_or(*segment)?;
    }
    let rest = free.iter().map(|(start, end)| end.saturating_sub(*start));
    Ok(rest.fold(0, u64::saturating_add))
}

/// Takes the place of a segment out of the free ranges.
fn take(free: &mut Vec<(u64, u64)>, segment: &Segment) -> Option<()> {
    let alignment = segment.alignment.max(1);
    let fit = |&(start, end): &(u64, u64)| {
        let at = end.checked_sub(segment.bytes)? / alignment * alignment;
        (at >= start && at >= segment.lowest).then_some(at)
    };
    let (index, at) = free
        .iter()
        .enumerate()
        .find_map(|(index, range)| Some((index, fit(range)?)))?;
    let (start, end) = free.get(index).copied()?;
    // The range above stays in front, so that it is tried first.
    let above = (at.checked_add(segment.bytes)?, end);
    free.splice(index..=index, [above, (start, at)]);
    Some(())
}

/// Checks that a kernel and its initrd can be loaded: `scratch`.
#[must_use]
pub fn check(areas: &Known<Vec<Area>>, image: &Image, initrd_bytes: u64) -> Check {
    const NAME: &str = "scratch";
    const REMEDY: &str = "boot the running kernel with more scratch memory, for example \
                          kho_scratch=64M,512M,64M; it cannot be changed later";
    let areas = match areas {
        Ok(areas) => areas,
        Err(why) => {
            let remedy = "mount debugfs at /sys/kernel/debug, or boot the running kernel with \
                          sizes, for example kho_scratch=64M,512M,64M";
            return unknown(
                NAME,
                format!("the scratch areas are not known: {why}"),
                remedy,
            );
        }
    };
    let Some(segments) = segments(image, initrd_bytes) else {
        let why = "the image does not say how much memory it needs";
        return unknown(NAME, why, "use an image that the kernel's loader takes");
    };
    let has = areas.iter().map(|area| bytes(area.bytes));
    let has = has.collect::<Vec<_>>().join(", ");
    let needs = segments.iter().map(|segment| segment.bytes);
    let needs = bytes(needs.fold(0, u64::saturating_add));
    match place(areas, &segments) {
        Err(segment) => failed(
            NAME,
            format!(
                "{} ({}) has no place in the scratch areas ({has}), where all that is loaded \
                 has to lie",
                segment.what,
                bytes(segment.bytes),
            ),
            REMEDY,
        ),
        Ok(rest) if rest < EARLY_BOOT => warning(
            NAME,
            format!(
                "of the scratch areas ({has}) {} stay free beside the {needs} that are loaded; \
                 the next kernel starts in that",
                bytes(rest),
            ),
            REMEDY,
        ),
        Ok(_) => ok(
            NAME,
            format!("the {needs} that are loaded fit into the scratch areas ({has})"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn area(start: u64, bytes: u64) -> Area {
        Area {
            start: Some(start),
            bytes,
        }
    }

    fn segment(bytes: u64, alignment: u64, lowest: u64) -> Segment {
        Segment {
            what: "it",
            bytes,
            alignment,
            lowest,
        }
    }

    #[test]
    fn a_segment_lies_in_one_area() {
        let areas = [area(64 * MIB, 16 * MIB), area(128 * MIB, 16 * MIB)];
        let big = segment(17 * MIB, 4096, 0);
        assert_eq!(place(&areas, &[big]), Err(big));
        let two = [segment(15 * MIB, 4096, 0); 2];
        assert_eq!(place(&areas, &two), Ok(2 * MIB));
        let three = [segment(15 * MIB, 4096, 0); 3];
        assert_eq!(place(&areas, &three), Err(three[2]));
    }

    #[test]
    fn alignment_and_lowest_address_count() {
        // An aligned place of 8 MiB begins at 72 MiB only.
        let areas = [area(65 * MIB, 16 * MIB)];
        assert_eq!(place(&areas, &[segment(8 * MIB, 8 * MIB, 0)]), Ok(8 * MIB));
        let high = segment(9 * MIB, 8 * MIB, 0);
        assert_eq!(place(&areas, &[high]), Ok(7 * MIB));
        let too_high = segment(10 * MIB, 8 * MIB, 0);
        assert_eq!(place(&areas, &[too_high]), Err(too_high));
        let lowest = segment(MIB, 1, 81 * MIB);
        assert_eq!(place(&areas, &[lowest]), Err(lowest));
    }

    #[test]
    fn what_is_above_a_segment_is_used() {
        let areas = [area(0, 16 * MIB)];
        // Lies at 8 to 13 MiB, and leaves 3 MiB above it.
        let first = segment(5 * MIB, 8 * MIB, 0);
        let rest = [first, segment(3 * MIB, 1, 0), segment(8 * MIB, 1, 0)];
        assert_eq!(place(&areas, &rest), Ok(0));
    }

    #[test]
    fn strange_numbers_do_no_harm() {
        let huge = segment(u64::MAX, u64::MAX, u64::MAX);
        assert_eq!(place(&[area(u64::MAX, u64::MAX)], &[huge]), Err(huge));
        assert_eq!(place(&[], &[huge]), Err(huge));
        assert!(place(&[area(0, 4096)], &[segment(0, 0, 0)]).is_ok());
    }
}
