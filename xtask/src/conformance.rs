// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask conformance`: the behaviour tests, and what differs.

use anyhow::Result;
use luo_conformance::{Course, Implementation, TOPICS};
use luo_vm::lab::Lab;

use crate::{show, vm};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this implementation: rust, c
    #[arg(long)]
    on: Option<Implementation>,
    /// List the cases and the declared differences, and run nothing
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(lab: &Lab, args: &Args) -> Result<bool> {
    if args.list {
        list(args.on);
        return Ok(true);
    }
    let mut good = true;
    for on in Implementation::ALL {
        if on.is_kernel() && args.on.is_none_or(|only| only == on) {
            good &= vm::run_named(lab, &format!("conformance-{on}"))?;
        }
    }
    Ok(good)
}

fn list(only: Option<Implementation>) {
    let mut count = 0;
    for topic in TOPICS {
        show::line(&format!("{}:", topic.name));
        for case in topic.cases {
            count += 1;
            let kexecs = match case.course {
                Course::Here(_) => 0,
                Course::Shared(..) => 1,
                Course::Alone(steps) => steps.len() - 1,
            };
            let over = match kexecs {
                0 => String::new(),
                1 => " (over a kexec)".to_owned(),
                n => format!(" (over {n} kexecs)"),
            };
            show::line(&format!("  {}{over}", case.name));
            for differs in case.differs {
                if only.is_none_or(|only| only == differs.on) {
                    show::line(&format!("    differs on {differs}"));
                }
            }
        }
    }
    show::line(&format!("\n{count} cases"));
}
