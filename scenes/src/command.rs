// SPDX-License-Identifier: MIT OR Apache-2.0
//! The roles that a program with the scenes built in takes when a scene starts it.

use std::process::ExitCode;

use clap::Parser;

use crate::crowd::{self, Crowd};
use crate::member::{self, Member};

#[derive(Parser)]
struct CrowdCli {
    #[command(flatten)]
    crowd: Crowd,
}

#[derive(Parser)]
struct MemberCli {
    #[command(flatten)]
    member: Member,
}

/// Becomes the agent, its command line, a crowd, or a member, if the first argument says so.
#[must_use]
pub fn run() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    match first.to_str()? {
        "luod" => {
            let name = std::iter::once("luod".into());
            Some(luod::command::main(name.chain(arguments), &["luod"]))
        }
        "luoctl" => {
            let name = std::iter::once("luoctl".into());
            let cli = luoctl::cli::Cli::parse_from(name.chain(arguments));
            Some(cli.run().into())
        }
        "member" => {
            let name = std::iter::once("member".into());
            let cli = MemberCli::parse_from(name.chain(arguments));
            Some(ended(&cli.member.name, member::run(&cli.member)))
        }
        "crowd" => {
            let name = std::iter::once("crowd".into());
            let cli = CrowdCli::parse_from(name.chain(arguments));
            Some(ended("crowd", say(&cli.crowd)))
        }
        "try-register" => {
            let name = arguments.next()?;
            let registered = luo_client::agent::Agent::connect();
            let registered =
                registered.and_then(|agent| agent.register(name.to_str().unwrap_or_default(), &[]));
            Some(ended("register", registered.map(drop).map_err(Into::into)))
        }
        _ => None,
    }
}

/// Runs a crowd; writes a line for each figure.
fn say(crowd: &Crowd) -> anyhow::Result<()> {
    for sample in crowd::run(crowd)?.samples() {
        println!("{}", sample.to_line());
    }
    Ok(())
}

fn ended(who: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{who}: {why:#}");
            ExitCode::FAILURE
        }
    }
}
