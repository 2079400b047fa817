// SPDX-License-Identifier: MIT OR Apache-2.0
//! Adds up the blocks of instructions that a machine has run.
//!
//! Who has called a function is not in the blocks, but can be told from their order: a block
//! that begins where a function begins is a call, and one of another function than the block
//! before is the way back to it. A thread that goes on after a change of threads is so within
//! what the thread before has called, which is what one wants to see of a caller who waits.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::{BufReader, ErrorKind, Read};

use anyhow::{Result, ensure};

use super::symbols::{Function, Symbols};

/// As in `lab/plugin/blocks.c`.
const ADDRESS_BITS: u32 = 48;
const OPENS: u64 = 0;
const CLOSES: u64 = 1;

/// Calls within calls that are told apart. None of a kernel's go so deep.
const DEEPEST: usize = 1000;

/// What a function took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Instructions of its own.
    pub own: u64,
    /// Those with what it has called.
    pub whole: u64,
    /// How often it was called.
    pub calls: u64,
}

/// What has run between the opening and the closing of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Instructions.
    pub total: u64,
    /// Functions by name.
    pub functions: BTreeMap<String, Cost>,
    /// Instructions of a function's own, by the function and who has called it.
    pub by_caller: BTreeMap<(String, String), u64>,
}

/// Reads what the plugin writes, to its end. A window that was not closed is dropped.
///
/// # Errors
/// It cannot be read, or makes no sense.
pub fn read(blocks: impl Read, symbols: &Symbols) -> Result<Vec<Window>> {
    let mut blocks = BufReader::with_capacity(1 << 20, blocks);
    let mut windows = Vec::new();
    let mut open = None;
    let mut record = [0; 8];
    loop {
        match blocks.read_exact(&mut record) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(windows),
            Err(error) => return Err(error.into()),
        }
        match (u64::from_le_bytes(record), &mut open) {
            (OPENS, _) => open = Some(Open::new(symbols)),
            (CLOSES, fold) => {
                ensure!(fold.is_some(), "a window is closed that is not open");
                windows.extend(fold.take().map(|fold| fold.close(symbols)));
            }
            (record, Some(fold)) => fold.block(record, symbols),
            (_, None) => {}
        }
    }
}

/// A window that is open.
struct Open {
    total: u64,
    costs: Vec<Cost>,
    by_caller: HashMap<(Function, Function), u64>,
    /// Who has called whom, the first caller first.
    stack: Vec<Frame>,
}

/// A call that goes on.
struct Frame {
    function: Function,
    own: u64,
    whole: u64,
}

impl Open {
    fn new(symbols: &Symbols) -> Self {
        Self {
            total: 0,
            costs: vec![Cost::default(); symbols.len()],
            by_caller: HashMap::new(),
            stack: Vec::new(),
        }
    }

    fn block(&mut self, record: u64, symbols: &Symbols) {
        let count = record >> ADDRESS_BITS;
        // The upper bits of an address are as the highest that is there.
        let unused = u64::BITS - ADDRESS_BITS;
        let address = (((record << unused) as i64) >> unused) as u64;
        let (function, is_first) = symbols.at(address);
        self.go_to(function, is_first);
        self.total += count;
        if let Some(frame) = self.stack.last_mut() {
            frame.own += count;
        }
    }

    fn go_to(&mut self, function: Function, is_first: bool) {
        let top = self.stack.last().map(|frame| frame.function);
        if top == Some(function) {
            return;
        }
        let mut frames = self.stack.iter();
        let caller = frames.rposition(|frame| frame.function == function);
        if let (false, Some(caller)) = (is_first, caller) {
            while self.stack.len() > caller + 1 {
                self.leave();
            }
            return;
        }
        if self.stack.len() >= DEEPEST {
            self.leave();
        }
        self.stack.push(Frame {
            function,
            own: 0,
            whole: 0,
        });
    }

    /// The call that was begun last has ended.
    fn leave(&mut self) {
        let Some(frame) = self.stack.pop() else {
            return;
        };
        let whole = frame.whole + frame.own;
        let again = self
            .stack
            .iter()
            .any(|other| other.function == frame.function);
        if let Some(cost) = self.costs.get_mut(frame.function as usize) {
            cost.own += frame.own;
            cost.calls += 1;
            // Counted once, with the call that all others are in.
            if !again {
                cost.whole += whole;
            }
        }
        let caller = self.stack.last_mut();
        if let Some(caller) = caller {
            caller.whole += whole;
            let edge = (frame.function, caller.function);
            *self.by_caller.entry(edge).or_default() += frame.own;
        }
    }

    fn close(mut self, symbols: &Symbols) -> Window {
        while !self.stack.is_empty() {
            self.leave();
        }
        let mut window = Window {
            total: self.total,
            ..Window::default()
        };
        for (function, cost) in self
            .costs
            .iter()
            .enumerate()
            .filter(|(_, cost)| cost.calls > 0)
        {
            let name = symbols.name(function as Function);
            let sum = window.functions.entry(name).or_default();
            sum.own += cost.own;
            sum.whole += cost.whole;
            sum.calls += cost.calls;
        }
        for ((function, caller), own) in self.by_caller {
            let names = (symbols.name(function), symbols.name(caller));
            *window.by_caller.entry(names).or_default() += own;
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 0xffff_ffff_8100_0000;
    const B: u64 = 0xffff_ffff_8100_0100;
    const C: u64 = 0xffff_ffff_8100_0200;

    fn symbols() -> Symbols {
        Symbols::parse(&format!("{A:x} T a\n{B:x} t b\n{C:x} t c\n")).unwrap()
    }

    fn windows(records: &[u64]) -> Vec<Window> {
        let bytes: Vec<u8> = records
            .iter()
            .flat_map(|record| record.to_le_bytes())
            .collect();
        read(&bytes[..], &symbols()).unwrap()
    }

    fn block(address: u64, count: u64) -> u64 {
        (address & ((1 << ADDRESS_BITS) - 1)) | count << ADDRESS_BITS
    }

    fn cost(own: u64, whole: u64, calls: u64) -> Cost {
        Cost { own, whole, calls }
    }

    #[test]
    fn calls_are_told_from_the_order() {
        let windows = windows(&[
            block(A, 50),
            OPENS,
            block(0x1000, 3),
            block(A, 10),
            // Two calls of `b`, the second of which calls `c`, which calls nobody.
            block(B, 5),
            block(A + 8, 1),
            block(B, 5),
            block(C, 7),
            block(C + 4, 1),
            block(B + 4, 2),
            block(A + 16, 1),
            block(0x1008, 1),
            CLOSES,
            block(A, 50),
            OPENS,
            block(C, 1),
        ]);
        let [window] = &windows[..] else {
            panic!("{windows:?}");
        };
        assert_eq!(window.total, 36);
        assert_eq!(window.functions["a"], cost(12, 32, 1));
        assert_eq!(window.functions["b"], cost(12, 20, 2));
        assert_eq!(window.functions["c"], cost(8, 8, 1));
        assert_eq!(window.by_caller[&("b".into(), "a".into())], 12);
        assert_eq!(window.by_caller[&("c".into(), "b".into())], 8);
    }

    #[test]
    fn a_function_within_itself_counts_once() {
        let windows = windows(&[
            OPENS,
            block(A, 1),
            block(B, 1),
            block(A, 1),
            block(B + 4, 1),
            block(A + 4, 1),
            CLOSES,
        ]);
        assert_eq!(windows[0].functions["a"], cost(3, 5, 2));
        assert_eq!(windows[0].functions["b"], cost(2, 3, 1));
    }

    #[test]
    fn who_is_nobodys_caller_goes_on_within() {
        // As after a change of threads: `c` goes on in its middle.
        let windows = windows(&[OPENS, block(A, 1), block(C + 8, 4), block(A + 4, 1), CLOSES]);
        assert_eq!(windows[0].functions["a"], cost(2, 6, 1));
        assert_eq!(windows[0].functions["c"], cost(4, 4, 1));
        assert!(read(&CLOSES.to_le_bytes()[..], &symbols()).is_err());
    }
}
