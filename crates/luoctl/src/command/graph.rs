// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl graph`

use std::path::PathBuf;

use clap::ValueEnum;

use super::context::Context;
use crate::exit::Exit;
use crate::failure::Result;
use crate::graph;
use crate::output::{Paint, json};

/// Draws which workload needs which: as text, for Graphviz, or as a picture.
///
/// Those that need nobody have level 0, and are asked first at prepare and last at freeze.
/// Everybody may.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to draw it as.
    #[arg(long, short, value_enum, default_value_t, conflicts_with = "json")]
    format: Format,
    /// Writes to a file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// Lines, by level.
    #[default]
    Text,
    /// For Graphviz.
    Dot,
    /// A picture.
    Svg,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let graph = graph::of(&context.asks(|| Ok(context.status()?.get()?))?);
    let paint = match args.output {
        Some(_) => Paint(false),
        None => context.out.paint,
    };
    let text = match args.format {
        _ if context.json => json(&graph)?,
        Format::Text => graph::text(&graph, paint),
        Format::Dot => graph::dot(&graph),
        Format::Svg => graph::svg(&graph),
    };
    context.write(args.output.as_deref(), &text)?;
    Ok(Exit::Done)
}
