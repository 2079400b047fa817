// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask install-c`: the library for programs in C as they expect one, with a name
//! that says its version, links, a header and a description for pkg-config.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::programs::quiet;

/// The name that programs look for; `crates/luo-client-c/build.rs` writes it into the
/// library.
const SONAME: &str = "libluo_client.so.0";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where it is going to be
    #[arg(long, value_name = "FOLDER", default_value = "/usr/local")]
    prefix: PathBuf,
    /// A folder in place of the root that it is written to, to make a package of
    #[arg(long, value_name = "FOLDER")]
    destdir: Option<PathBuf>,
    /// Take a build for debugging
    #[arg(long)]
    debug: bool,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let prefix = std::path::absolute(&args.prefix)?;
    let to = match &args.destdir {
        Some(folder) => folder.join(prefix.strip_prefix("/")?),
        None => prefix.clone(),
    };
    eprintln!("==> building libluo_client (the first time takes minutes)");
    let built = build(args.debug)?;
    install(&built, &to, &prefix)?;
    println!("libluo_client is in {}", to.display());
    if args.destdir.is_none() {
        let lib = prefix.join("lib");
        println!("PKG_CONFIG_PATH={}", lib.join("pkgconfig").display());
    }
    Ok(true)
}

/// Builds it; answers with the folder that it is in.
fn build(debug: bool) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "luo-client-c"]);
    quiet(&mut command);
    if !debug {
        command.arg("--release");
    }
    let status = command.status().context("cargo build")?;
    ensure!(status.success(), "cargo build has failed: see above");
    // This very program is in target/debug or target/release.
    let own = env::current_exe()?;
    let target = own
        .ancestors()
        .nth(2)
        .context("this is in no target folder")?;
    Ok(target.join(if debug { "debug" } else { "release" }))
}

/// Puts the files of a build into a folder; `prefix` is where it will be found.
fn install(built: &Path, to: &Path, prefix: &Path) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let lib = to.join("lib");
    let include = to.join("include");
    fs::create_dir_all(lib.join("pkgconfig")).with_context(|| lib.display().to_string())?;
    fs::create_dir_all(&include)?;
    let minor = version.split_once('.').map_or(version, |(_, rest)| rest);
    let whole = format!("{SONAME}.{minor}");
    copy(&built.join("libluo_client_c.so"), &lib.join(&whole))?;
    copy(
        &built.join("libluo_client_c.a"),
        &lib.join("libluo_client.a"),
    )?;
    link(&whole, &lib.join(SONAME))?;
    link(SONAME, &lib.join("libluo_client.so"))?;
    let header =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/luo-client-c/include/luo_client.h");
    copy(&header, &include.join("luo_client.h"))?;
    let description = format!(
        "prefix={}\nlibdir=${{prefix}}/lib\nincludedir=${{prefix}}/include\n\n\
         Name: luo_client\n\
         Description: Take part in live updates of the Linux kernel\n\
         Version: {version}\n\
         Cflags: -I${{includedir}}\n\
         Libs: -L${{libdir}} -lluo_client\n\
         Libs.private: -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc\n",
        prefix.display()
    );
    fs::write(lib.join("pkgconfig/luo_client.pc"), description)?;
    Ok(())
}

/// A copy in place of what is there. Programs that run have the library mapped: to write into its
/// file would end them, so theirs stays as it is.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = in_place_of(to, |new| fs::copy(from, new).map(drop));
    copied.with_context(|| format!("{} to {}", from.display(), to.display()))
}

/// A link; one that is there already is replaced.
fn link(target: &str, at: &Path) -> Result<()> {
    let linked = in_place_of(at, |new| symlink(target, new));
    linked.with_context(|| at.display().to_string())
}

/// A file whose name changes from one that is whole to another, whoever looks for it.
fn in_place_of(path: &Path, make: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    make(&new)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_laid_out_as_linkers_look_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let built = folder.path().join("built");
        fs::create_dir(&built).unwrap();
        for name in ["libluo_client_c.so", "libluo_client_c.a"] {
            fs::write(built.join(name), name).unwrap();
        }
        let to = folder.path().join("package/usr");
        // Twice: an installation over an older one, which a program that runs has mapped.
        fs::write(built.join("libluo_client_c.so"), "older").unwrap();
        install(&built, &to, Path::new("/usr")).unwrap();
        let mut mapped = fs::File::open(to.join("lib").join(SONAME)).unwrap();
        fs::write(built.join("libluo_client_c.so"), "libluo_client_c.so").unwrap();
        install(&built, &to, Path::new("/usr")).unwrap();
        let mut kept = String::new();
        io::Read::read_to_string(&mut mapped, &mut kept).unwrap();
        assert_eq!(kept, "older");
        for entry in fs::read_dir(to.join("lib")).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!name.to_string_lossy().ends_with(".new"), "{name:?}");
        }
        let read = |path: &str| fs::read_to_string(to.join(path)).unwrap();
        for name in ["libluo_client.so", SONAME] {
            assert_eq!(read(&format!("lib/{name}")), "libluo_client_c.so");
        }
        let description = read("lib/pkgconfig/luo_client.pc");
        assert!(description.starts_with("prefix=/usr\n"), "{description}");
        assert!(read("include/luo_client.h").contains("luo_workload_register"));
        let build = fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/luo-client-c/build.rs"),
        );
        assert!(build.unwrap().contains(SONAME));
    }
}
