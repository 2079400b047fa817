// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether compiled code of ours can panic, read off its object files.
//!
//! The sources have lints against what panics, but the compiler adds calls of its own, for
//! example where it cannot see that an index is in range. In the kernel a panic is the end
//! of the machine, so an object file that refers to any of `core`'s panic functions is an
//! error of the build.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSymbol as _};

/// The folder of our object files in a build folder.
pub(crate) const OBJECTS: &str = "kernel/liveupdate/rust";

/// Checks all object files of the orchestrator in a build folder.
///
/// # Errors
/// There is none, one cannot be read, or one refers to a panic function; the message
/// names them.
pub fn check(build: &Path) -> Result<()> {
    let folder = build.join(OBJECTS);
    let mut found = Vec::new();
    let mut looked = 0;
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "o") {
            continue;
        }
        looked += 1;
        let bytes = fs::read(&path)?;
        let paths =
            panic_paths(&bytes).with_context(|| format!("{} is no object file", path.display()))?;
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        found.extend(
            paths
                .into_iter()
                .map(|function| format!("{file} calls {function}")),
        );
    }
    if looked == 0 {
        bail!("there is no object file in {}", folder.display());
    }
    if found.is_empty() {
        return Ok(());
    }
    found.sort();
    bail!(
        "code for the kernel can panic:\n  {}\nwrite it so that the compiler sees that it cannot: \
         `get` in place of an index, `luo_abi::bytes::copy` in place of `copy_from_slice`",
        found.join("\n  ")
    )
}

/// The panic functions that an object file refers to.
fn panic_paths(object: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(object)?;
    let mut found = Vec::new();
    for symbol in file.symbols().filter(object::ObjectSymbol::is_undefined) {
        let name = format!("{:#}", rustc_demangle::demangle(symbol.name()?));
        if panics(&name) {
            found.push(name);
        }
    }
    Ok(found)
}

/// Whether a function of this name does nothing but panic. The standard library has many
/// of them beside the module `panicking`; what they share is a word of their names, such
/// as in `core::cell::panic_already_borrowed` or `core::str::slice_error_fail`.
fn panics(name: &str) -> bool {
    let of_the_library = name.starts_with("core::") || name.starts_with("alloc::");
    let last = name.rsplit("::").next().unwrap_or(name);
    name.starts_with("core::panicking::")
        || (of_the_library
            && last
                .split('_')
                .any(|word| matches!(word, "panic" | "fail" | "failed" | "violation")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::write::{Object, Symbol, SymbolSection};
    use object::{Architecture, BinaryFormat, Endianness, SymbolFlags, SymbolKind, SymbolScope};

    /// An object file that refers to one function.
    fn object(function: &str) -> Vec<u8> {
        let mut file = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        file.add_symbol(Symbol {
            name: function.into(),
            value: 0,
            size: 0,
            kind: SymbolKind::Text,
            scope: SymbolScope::Unknown,
            weak: false,
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
        file.write().unwrap()
    }

    #[test]
    fn panic_functions_are_known_by_their_names() {
        let refused = [
            "_RNvNvNtCs1peUGmbrgHn_4core5slice20copy_from_slice_impl17len_mismatch_fail",
            "_RNvNtNtCs1peUGmbrgHn_4core5slice5index16slice_index_fail",
            "_RNvNtCs1peUGmbrgHn_4core9panicking18panic_bounds_check",
            "_RNvNtCs1peUGmbrgHn_4core6option13unwrap_failed",
            "_RNvNtCs1peUGmbrgHn_4core4cell22panic_already_borrowed",
            "_RNvNtCs1peUGmbrgHn_4core3num22from_ascii_radix_panic",
            "_RNvNtCs1peUGmbrgHn_4core3str16slice_error_fail",
        ];
        for name in refused {
            assert_eq!(panic_paths(&object(name)).unwrap().len(), 1, "{name}");
        }
        let allowed = [
            "_RNvNtCs1peUGmbrgHn_4core3fmt5write",
            "memcpy",
            "a_c_function_that_may_fail",
        ];
        for name in allowed {
            assert!(panic_paths(&object(name)).unwrap().is_empty(), "{name}");
        }
    }

    #[test]
    fn a_folder_without_objects_is_an_error() {
        let build = tempfile::tempdir().unwrap();
        let objects = build.path().join(OBJECTS);
        fs::create_dir_all(&objects).unwrap();
        assert!(check(build.path()).is_err());
        fs::write(objects.join("a.o"), object("memcpy")).unwrap();
        assert!(check(build.path()).is_ok());
        fs::write(
            objects.join("b.o"),
            object("_RNvNtCs1peUGmbrgHn_4core6option13unwrap_failed"),
        )
        .unwrap();
        let refusal = check(build.path()).unwrap_err().to_string();
        assert!(
            refusal.contains("b.o calls core::option::unwrap_failed"),
            "{refusal}"
        );
    }
}
