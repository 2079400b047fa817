// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last decision of an update: whether it is called off or the machine jumps. Both sides
//! ask for it, each on its own thread, and the first to ask has it.
//!
//! ```text
//! open --jump--> the machine jumps, and no cancel is taken any more
//!   `--call_off--> the update is undone, and no jump is made any more
//! ```

use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const JUMPS: u8 = 1;
const OFF: u8 = 2;

/// The gate before the jump.
#[derive(Debug, Default)]
pub struct Gate(AtomicU8);

impl Gate {
    fn decide(&self, how: u8) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        match self.0.compare_exchange(OPEN, how, success, failure) {
            Ok(_) => true,
            Err(decided) => decided == how,
        }
    }

    /// Decides for the jump. Says whether that is how it was decided.
    pub fn jump(&self) -> bool {
        self.decide(JUMPS)
    }

    /// Decides against the jump. Says whether that is how it was decided.
    pub fn call_off(&self) -> bool {
        self.decide(OFF)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn the_first_to_ask_decides() {
        let gate = Gate::default();
        assert!(gate.jump() && gate.jump() && !gate.call_off());
        let gate = Gate::default();
        assert!(gate.call_off() && gate.call_off() && !gate.jump());
    }

    #[test]
    fn there_is_one_decision() {
        for _ in 0..200 {
            let (gate, begin) = (Gate::default(), Barrier::new(2));
            let (jumps, off) = std::thread::scope(|scope| {
                let jump = scope.spawn(|| {
                    begin.wait();
                    gate.jump()
                });
                begin.wait();
                let off = gate.call_off();
                (jump.join().unwrap(), off)
            });
            assert_ne!(jumps, off);
        }
    }
}
