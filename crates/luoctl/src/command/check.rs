// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl check`

use std::path::PathBuf;

use luo_client::agent::Admin;
use luo_varlink::{CheckStatus, Report, Target};

use super::context::Context;
use super::target;
use super::vigil::Vigil;
use super::waiting::Waiting;
use crate::document::Checked;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::holder;
use crate::output::{Paint, Tone};
use crate::text::{count, plain_lines};

/// Checks whether an update to a kernel would work. Changes nothing.
///
/// What is named with `failed` would refuse the update; the line below says what to do. The exit
/// status is 0 if an update can begin. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
    /// Checks without luod: the running kernel, the target and the memory, by luod's
    /// configuration and policy, and no workloads.
    #[arg(long)]
    offline: bool,
    /// Luod's configuration, with --offline.
    #[arg(long, value_name = "FILE", default_value = luod::command::CONFIG, requires = "offline")]
    config: PathBuf,
    /// Luod's policy, with --offline.
    #[arg(long, value_name = "FILE", default_value = luod::command::POLICY, requires = "offline")]
    policy: PathBuf,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let target = args.target.target()?;
    let report = match args.offline {
        true => offline(context, args, &target)?,
        false => ask(context, &mut context.admin_awake()?, &target)?,
    };
    let exit = verdict(&report);
    if context.json {
        context.out.document(&Checked { report, plan: None })?;
    } else {
        let text = render(&report, context.out.paint);
        context.out.text(&text)?;
    }
    Ok(exit)
}

/// Has luod check. It may take long, but not without answering others meanwhile.
pub(super) fn ask(context: &Context, admin: &mut Admin, target: &Target) -> Result<Report> {
    let waiting = Waiting::begin(context);
    let vigil = Vigil::with_end(context, admin);
    let checked = admin.check(target);
    drop(waiting);
    let next = "`systemctl status luod` (without systemd `ps -o pid,stat,wchan -C luod`) says whether it hangs; `luoctl check --offline` checks \
                without it";
    let mut report = vigil.outcome(checked, "nothing was changed", next)?;
    holder::name(&mut report);
    Ok(report)
}

fn offline(context: &Context, args: &Args, target: &Target) -> Result<Report> {
    // The luod behind the jump has to be able to use both.
    let settings = luod::command::settings(&args.config, &args.policy);
    let (config, _) = settings.map_err(|why| {
        let message = format!("{why:#}");
        Failure::new(Exit::Config, "config", message).next("luod does not start with it, either")
    })?;
    let seconds = config.kernel_deadline.0.as_secs_f64();
    let _impatience = context.impatient_of(format!(
        "the checks are not over yet: large images take their time, and a disk may hang; they have \
         {seconds} s (kernel_deadline)"
    ));
    Ok(luod::agent::offline(&config, target))
}

/// How a report ends the command.
pub(super) fn verdict(report: &Report) -> Exit {
    if report.ok { Exit::Done } else { Exit::Refused }
}

/// A report as text.
pub(super) fn render(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let tone = match check.status {
            CheckStatus::Ok => Tone::Good,
            CheckStatus::Warning | CheckStatus::Unknown => Tone::Warn,
            CheckStatus::Failed => Tone::Bad,
        };
        let status = paint.tone(tone, format!("{:<7}", check.status));
        let name = plain_lines(&check.name);
        text += &format!("{status}  {name}: {}\n", indent(&check.found));
        if let Some(remedy) = &check.remedy {
            text += &format!("         -> {}\n", indent(remedy));
        }
    }
    let failed = report.checks.iter();
    let failed = failed
        .filter(|check| check.status == CheckStatus::Failed)
        .count();
    let mut all = report.checks.iter();
    let is_known = !all.any(|check| check.status == CheckStatus::Unknown);
    let verdict = if report.ok && is_known {
        paint.tone(Tone::Good, "an update can begin")
    } else if report.ok {
        paint.tone(Tone::Warn, "an update can begin, as far as is known")
    } else {
        let obstacles = count(failed, "obstacle");
        paint.tone(
            Tone::Bad,
            format!("{obstacles}: an update would be refused"),
        )
    };
    text + &verdict + "\n"
}

fn indent(text: &str) -> String {
    plain_lines(text).replace('\n', "\n            ")
}

#[cfg(test)]
mod tests {
    use luo_varlink::Check;

    use super::*;

    #[test]
    fn what_failed_has_its_remedy_below_and_commands_nobody() {
        let check = |name: &str, status, remedy: Option<&str>| Check {
            name: name.into(),
            status,
            found: format!("{name} is\nas \x1b[31mit is"),
            remedy: remedy.map(str::to_owned),
        };
        let report = Report {
            ok: false,
            checks: vec![
                check("a", CheckStatus::Ok, None),
                check("b", CheckStatus::Failed, Some("build it\nagain")),
                check("c", CheckStatus::Unknown, None),
            ],
        };
        let text = "\
ok       a: a is
            as \u{fffd}[31mit is
failed   b: b is
            as \u{fffd}[31mit is
         -> build it
            again
unknown  c: c is
            as \u{fffd}[31mit is
1 obstacle: an update would be refused
";
        assert_eq!(render(&report, Paint(false)), text);
        assert_eq!(verdict(&report), Exit::Refused);
        let unknown = Report {
            ok: true,
            checks: vec![check("c", CheckStatus::Unknown, None)],
        };
        let text = render(&unknown, Paint(false));
        assert!(
            text.ends_with("\nan update can begin, as far as is known\n"),
            "{text}"
        );
        assert_eq!(verdict(&unknown), Exit::Done);
        let fine = Report {
            ok: true,
            checks: vec![],
        };
        assert_eq!(render(&fine, Paint(false)), "an update can begin\n");
        assert_eq!(verdict(&fine), Exit::Done);
    }
}
