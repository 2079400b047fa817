// SPDX-License-Identifier: MIT OR Apache-2.0
//! Says what is found in a kernel image, and what would be checked of it as the target of
//! a live update from the running kernel:
//! `check-image PATH [INITRD [COMMAND-LINE]]`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use luo_preflight::abi::Abi;
use luo_preflight::system::System;
use luo_preflight::update::{self, Update};
use luo_preflight::{image, initrd, report, target};

/// The formats that this project's orchestrator hands over.
const ABI: [&str; 4] = ["luo-v5", "kho-v4", "memfd-v2", "luo-contract-v1"];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: check-image PATH [INITRD [COMMAND-LINE]]");
        return ExitCode::from(2);
    };
    match check(path, arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever has read enough has closed the pipe.
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("check-image: standard output: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether an update into it could begin.
fn check(path: String, mut arguments: impl Iterator<Item = String>) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let initrd = arguments.next();
    let paths: Vec<&Path> = initrd.as_deref().map(Path::new).into_iter().collect();
    let initrd = initrd::read(&paths, &initrd::Stop::default());
    let running = System::default().running();
    let command_line = arguments.next();
    let command_line = command_line.or(running.command_line.clone().ok());
    let abi = Abi::of(&ABI, &running.strings, || Err("it is told".to_owned()));
    let image = image::read_file(Path::new(&path), &target::families(&abi.known));
    match &image {
        Ok(image) => show(&mut out, image)?,
        Err(why) => writeln!(out, "{path}: {why}")?,
    }
    let counts = luo_preflight::command_line::of(
        command_line.as_deref().unwrap_or_default(),
        image.as_ref().ok(),
    );
    let report = report(update::checks(&Update {
        running: &running,
        abi: &abi,
        handlers: None,
        path: Path::new(&path),
        image: image.as_ref(),
        initrd: initrd.as_ref().map(Option::as_ref),
        command_line: command_line.as_deref().unwrap_or_default(),
        missing: &System::default().missing(&counts),
        shells: &System::default().shells(&counts),
        files: &[],
    }));
    for check in &report.checks {
        writeln!(out, "{:8} {:20} {}", check.status, check.name, check.found)?;
        if let Some(remedy) = &check.remedy {
            writeln!(out, "{:29} -> {remedy}", "")?;
        }
    }
    Ok(report.ok)
}

fn show(out: &mut impl Write, image: &image::Image) -> io::Result<()> {
    let or_none = |text: Option<&str>| text.unwrap_or("-").to_string();
    writeln!(out, "format       {}", image.format)?;
    writeln!(out, "machine      {}", or_none(image.machine))?;
    writeln!(
        out,
        "compression  {}",
        or_none(image.packed.map(|it| it.name()))
    )?;
    writeln!(out, "release      {}", or_none(image.release()))?;
    writeln!(out, "bytes        {}", image.file_bytes)?;
    writeln!(out, "decompressed {}", image.contents.bytes)?;
    writeln!(out, "in memory    {}", image.boot.memory_bytes)?;
    writeln!(out, "signed       {}", image.signed)?;
    writeln!(out, "config       {}", image.contents.config.is_some())?;
    let strings = image.contents.strings.iter().map(String::as_str);
    writeln!(
        out,
        "strings      {}\n",
        strings.collect::<Vec<_>>().join(" ")
    )
}
