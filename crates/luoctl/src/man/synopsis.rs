// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a page says of a command line in short, and of the environment: options with their values,
//! a command's own before those of all commands, and arguments with their dots.

use clap::{Arg, ArgAction, Command};
use roff::{Inline, Roff, bold, italic, roman};

use super::parts::without_preamble;

/// The section of a page, in place of which this stands.
const BEGIN: &str = ".SH SYNOPSIS\n";

/// Puts a command's line into its page.
pub(super) fn put(page: &str, name: &str, command: &Command) -> String {
    let Some((before, rest)) = page.split_once(BEGIN) else {
        return page.to_owned();
    };
    let Some((_, behind)) = rest.split_once("\n.SH ") else {
        return page.to_owned();
    };
    let mut line = Roff::new();
    line.text(words(name, command));
    let line = line.render();
    let line = without_preamble(&line);
    format!("{before}{BEGIN}{}\n.SH {behind}", line.trim_end())
}

fn words(name: &str, command: &Command) -> Vec<Inline> {
    let mut line = vec![bold(name)];
    let shown = || command.get_arguments().filter(|arg| !arg.is_hide_set());
    let options = |is_global| {
        shown().filter(move |arg| !arg.is_positional() && arg.is_global_set() == is_global)
    };
    for option in options(false).chain(options(true)) {
        add(&mut line, option.is_required_set(), named(option));
        if matches!(option.get_action(), ArgAction::Append) {
            line.push(roman("..."));
        }
    }
    for argument in shown().filter(|arg| arg.is_positional()) {
        add(&mut line, argument.is_required_set(), positional(argument));
    }
    if command.has_subcommands() {
        let word = vec![italic("COMMAND")];
        add(&mut line, command.is_subcommand_required_set(), word);
    }
    line
}

fn add(line: &mut Vec<Inline>, is_required: bool, words: Vec<Inline>) {
    line.push(roman(if is_required { " " } else { " [" }));
    line.extend(words);
    if !is_required {
        line.push(roman("]"));
    }
}

/// An option, by each of its names.
fn named(option: &Arg) -> Vec<Inline> {
    let short = option.get_short().map(|letter| format!("-{letter}"));
    let long = option.get_long().map(|word| format!("--{word}"));
    let mut words = Vec::new();
    for name in short.into_iter().chain(long) {
        if !words.is_empty() {
            words.push(roman("|"));
        }
        words.push(bold(name));
    }
    if option.get_action().takes_values() {
        words.push(roman(" "));
        words.push(italic(value(option)));
    }
    words
}

fn positional(argument: &Arg) -> Vec<Inline> {
    let mut words = Vec::new();
    if argument.is_last_set() {
        words.push(bold("--"));
        words.push(roman(" "));
    }
    words.push(italic(value(argument)));
    let counts = argument.get_num_args();
    if counts.is_some_and(|counts| counts.max_values() > 1)
        || matches!(argument.get_action(), ArgAction::Append)
    {
        words.push(roman("..."));
    }
    words
}

fn value(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    match names {
        [] => arg.get_id().as_str().to_ascii_uppercase(),
        names => names
            .iter()
            .map(|name| name.as_str())
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// Adds what of the environment counts for a command.
pub(super) fn environment(page: &mut Roff, command: &Command) {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let mut all: Vec<(String, String)> = Vec::new();
    for arg in shown {
        let long = arg.get_long().unwrap_or_default();
        if let Some(variable) = arg.get_env() {
            let words = format!("Counts where --{long} is not given.");
            all.push((variable.to_string_lossy().into_owned(), words));
        }
        if long == "no-color" {
            let words = "If it is set to anything, output has no colours.";
            all.push(("NO_COLOR".to_owned(), words.to_owned()));
        }
    }
    if all.is_empty() {
        return;
    }
    page.control("SH", ["ENVIRONMENT"]);
    for (variable, words) in all {
        page.control("TP", []);
        page.text([bold(variable)]);
        page.text([roman(words)]);
    }
}
