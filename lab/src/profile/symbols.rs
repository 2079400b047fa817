// SPDX-License-Identifier: MIT OR Apache-2.0
//! The functions of a kernel, by address.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// What is in no function of the kernel: programs, and what a machine runs before a kernel.
pub(super) const OUTSIDE: &str = "(outside the kernel)";

/// A function by its place in [`Symbols`]; 0 is [`OUTSIDE`].
pub(super) type Function = u32;

/// The functions of a kernel.
#[derive(Debug)]
pub struct Symbols {
    /// By address. The first is where everything is that is outside.
    functions: Vec<(u64, String)>,
}

impl Symbols {
    /// Reads a kernel's `System.map`.
    ///
    /// # Errors
    /// The file cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self> {
        let named = || format!("{}", path.display());
        Self::parse(&fs::read_to_string(path).with_context(named)?).with_context(named)
    }

    pub(super) fn parse(map: &str) -> Result<Self> {
        let mut functions = vec![(0, OUTSIDE.to_owned())];
        for line in map.lines() {
            let mut words = line.split(' ');
            let (Some(address), Some(kind), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            // Room for patches before a function has a name of its own.
            if !matches!(kind, "t" | "T" | "w" | "W") || name.starts_with("__pfx_") {
                continue;
            }
            let address = u64::from_str_radix(address, 16).context("no address")?;
            functions.push((address, name.to_owned()));
        }
        ensure!(functions.len() > 1, "there are no functions in it");
        functions.sort_by_key(|&(address, _)| address);
        functions.dedup_by_key(|&mut (address, _)| address);
        Ok(Self { functions })
    }

    /// Where a function begins.
    pub(super) fn address(&self, name: &str) -> Option<u64> {
        let mut functions = self.functions.iter();
        functions.find_map(|(address, of)| (of == name).then_some(*address))
    }

    /// The function that an address is in, and whether it is the function's first.
    pub(super) fn at(&self, address: u64) -> (Function, bool) {
        let behind = self
            .functions
            .partition_point(|&(first, _)| first <= address);
        let index = behind.saturating_sub(1);
        let first = self.functions.get(index).is_some_and(|of| of.0 == address);
        (index as Function, first && index > 0)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.functions.len()
    }

    /// A function's name, for people. What the compiler has cut out of a function is that
    /// function.
    pub(super) fn name(&self, function: Function) -> String {
        let symbol = self.functions.get(function as usize);
        symbol.map_or_else(String::new, |(_, symbol)| plain(symbol))
    }
}

/// A symbol as people write it.
fn plain(symbol: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(symbol) {
        return short(&format!("{rust:#}"));
    }
    let end = [".cold", ".isra.", ".part.", ".constprop."];
    let ends = end.iter().filter_map(|end| symbol.find(end)).min();
    symbol
        .get(..ends.unwrap_or(symbol.len()))
        .unwrap_or(symbol)
        .to_owned()
}

/// A path of Rust without what its types are made of: `<a::B<c::D> as e::F>::g` is `a::B::g`.
fn short(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    // A path that begins with a type in brackets is called by that type.
    if let Some(inner) = path.strip_prefix('<')
        && let Some(end) = closing(inner)
    {
        let of = inner.get(..end).unwrap_or_default();
        let own = of.split(" as ").next().unwrap_or(of);
        out += &short(own.trim_start_matches('&').trim_start_matches("mut "));
        rest = inner.get(end + 1..).unwrap_or_default();
    }
    let mut depth = 0_usize;
    let mut before = ' ';
    for char in rest.chars() {
        match char {
            '<' => depth += 1,
            '>' if before != '-' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(char),
            _ => {}
        }
        before = char;
    }
    // What is left of `::<..>` within a path.
    let out = out.replace("::::", "::");
    out.trim_end_matches("::").to_owned()
}

/// Where the bracket closes that was opened before a text.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1_usize;
    let mut before = ' ';
    for (at, char) in text.char_indices() {
        match char {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
        before = char;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_the_function_before_them() {
        let map = "0000 A offset\nff00 T first\nff10 t __pfx_second\nff20 t second.isra.0\n\
                   ff20 T alias\nff30 D data\n";
        let symbols = Symbols::parse(map).unwrap();
        let at = |address| {
            let (function, first) = symbols.at(address);
            (symbols.name(function), first)
        };
        assert_eq!(at(0x10), (OUTSIDE.into(), false));
        assert_eq!(at(0), (OUTSIDE.into(), false));
        assert_eq!(at(0xff00), ("first".into(), true));
        assert_eq!(at(0xff1f), ("first".into(), false));
        assert_eq!(at(0xff20), ("second".into(), true));
        assert_eq!(symbols.address("first"), Some(0xff00));
        assert_eq!(symbols.address("third"), None);
        assert!(Symbols::parse("no map").is_err());
    }

    #[test]
    fn names_are_short() {
        assert_eq!(plain("do_it.constprop.0.cold"), "do_it");
        assert_eq!(
            short("<luo_core::engine::Engine<luo_linux::host::Linux>>::enter"),
            "luo_core::engine::Engine::enter"
        );
        assert_eq!(
            short("<a::B<fn(c::D) -> e::F> as g::H<i::J>>::now::<k::L, m>"),
            "a::B::now"
        );
        assert_eq!(short("a::b::<c>::{closure#0}"), "a::b::{closure#0}");
    }
}
