// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scratch areas of Kexec HandOver.

use super::System;
use crate::check::Known;
use crate::command_line::{ScratchSize, scratch_size};
use crate::limits::MAX_SCRATCH_AREAS;
use crate::scratch::Area;

impl System {
    /// The scratch areas, from debugfs or else, without addresses, from the command
    /// line.
    pub(super) fn scratch(&self, command_line: &str) -> Known<Vec<Area>> {
        let why = match self.scratch_of_debugfs() {
            Ok(areas) => return Ok(areas),
            Err(why) => why,
        };
        let Ok(Some(ScratchSize::Bytes {
            low,
            global,
            per_node,
        })) = scratch_size(command_line)
        else {
            return Err(why);
        };
        let nodes = self.nodes_with_memory()?;
        let of_nodes = (0..nodes).map(|_| per_node);
        let sizes = [low, global].into_iter().chain(of_nodes);
        // The kernel rounds up so that each can be a pool of movable memory.
        Ok(sizes
            .map(|bytes| Area {
                start: None,
                bytes: bytes.checked_next_multiple_of(4 << 20).unwrap_or(bytes),
            })
            .collect())
    }

    fn scratch_of_debugfs(&self) -> Known<Vec<Area>> {
        let numbers = |path: &str| {
            let text = self.text(path)?;
            let numbers = text.lines().map(|line| {
                let digits = line.trim().strip_prefix("0x")?;
                u64::from_str_radix(digits, 16).ok()
            });
            let numbers: Option<Vec<_>> = numbers.collect();
            let numbers = numbers.filter(|numbers| numbers.len() <= MAX_SCRATCH_AREAS);
            numbers.ok_or_else(|| format!("/{path} says {text:?}"))
        };
        let sizes = numbers("sys/kernel/debug/kho/out/scratch_len")?;
        let starts = numbers("sys/kernel/debug/kho/out/scratch_phys")?;
        if sizes.is_empty() || sizes.len() != starts.len() {
            return Err("debugfs shows no scratch areas".into());
        }
        let areas = starts.into_iter().zip(sizes).map(|(start, bytes)| Area {
            start: Some(start),
            bytes,
        });
        Ok(areas.collect())
    }

    /// Counts a list like `0-1,4`.
    fn nodes_with_memory(&self) -> Known<usize> {
        let path = "sys/devices/system/node/has_memory";
        let text = self.text(path)?;
        let counts = text.trim().split(',').map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            last.checked_sub(first)?.checked_add(1)
        });
        let count = counts.sum::<Option<usize>>();
        let count = count.filter(|count| *count <= MAX_SCRATCH_AREAS);
        count.ok_or_else(|| format!("/{path} says {text:?}"))
    }
}
