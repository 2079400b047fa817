// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask kernel`: images of the test kernels.

use anyhow::Result;
use luo_lab::lab::Lab;

use crate::show;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Build kernels that are not in the cache yet
    Build {
        /// Variants, see `cargo xtask vm list`
        #[arg(default_value = "rust")]
        variants: Vec<String>,
    },
    /// Build what takes longest of what `cargo xtask test` needs
    #[command(hide = true)]
    Prepare {
        /// Variants
        variants: Vec<String>,
        /// The kernel tree's selftests, too
        #[arg(long)]
        selftests: bool,
        /// The guest's programs, too
        #[arg(long)]
        programs: bool,
    },
    /// Remove kernels and the build folder
    Clean {
        /// Downloads, tools and the source tree too
        #[arg(long)]
        all: bool,
    },
}

pub(crate) fn run(lab: &Lab, command: Command) -> Result<bool> {
    match command {
        Command::Build { variants } => {
            let names: Vec<_> = variants.iter().map(String::as_str).collect();
            for (name, image) in lab.kernels(&names)? {
                show::line(&format!("{name:12} {}", image.display()));
            }
        }
        Command::Prepare {
            variants,
            selftests,
            programs,
        } => {
            // First what the checks of cargo need.
            if selftests {
                lab.selftests()?;
            }
            let names: Vec<_> = variants.iter().map(String::as_str).collect();
            lab.kernels(&names)?;
            if programs {
                lab.programs()?;
            }
        }
        Command::Clean { all } => lab.clean(all)?,
    }
    Ok(true)
}
