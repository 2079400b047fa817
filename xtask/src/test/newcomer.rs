// SPDX-License-Identifier: MIT OR Apache-2.0
//! docs/walkthrough.md from its first line to its last, as somebody goes it who has nothing
//! but the address of the project: what it takes from the clone to the picture is written down,
//! and may be ten minutes at most. Then, in the same clone, the first update of docs/agent.md.
//!
//! The gate goes the same way with programs that it has built already
//! (`the_walkthrough_ends_with_a_picture`).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// What it is called where it is written down.
pub(super) const NAME: &str = "walkthrough";

/// And in words.
pub(super) const TITLE: &str = "docs/walkthrough.md, from the clone to the picture";

/// The chapter, and the steps of it that end with the picture.
const CHAPTER: &str = "docs/walkthrough.md";
const UP_TO: &str = "## 5.";

/// How long that may take, as its title says.
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// What the reader has seen at the end, in this order.
const SEEN: [&str; 4] = [
    "visitors so far: 100\n",
    "visitors so far: 200\n",
    "outcome   completed",
    "blackout",
];

/// The administrator's first update, and what is seen of it.
const FIRST: &str = "docs/agent.md";
const SEEN_FIRST: [&str; 4] = ["start 1\n", "an update can begin", "start 2\n", "completed"];

/// Clones what is committed, builds it and goes through the chapter. The packages that cargo has
/// loaded are used again; nothing else of this checkout is.
///
/// # Errors
/// A step fails, something is not seen, or it takes longer than the title says.
pub(super) fn walks(repo: &Path) -> Result<()> {
    let home = tempfile::tempdir()?;
    let read = |chapter: &str| fs::read_to_string(repo.join(chapter)).context(chapter.to_owned());
    let began = Instant::now();
    let chapter = read(CHAPTER)?;
    run(
        home.path(),
        &script(&chapter, &repo.display().to_string()),
        &SEEN,
    )?;
    let took = began.elapsed();
    let picture = home.path().join("first/update.svg");
    let picture = fs::read_to_string(&picture).with_context(|| picture.display().to_string())?;
    ensure!(
        picture.contains("guestbook"),
        "the picture does not show the program"
    );
    ensure!(
        took <= TEN_MINUTES,
        "it took {} s, and {CHAPTER} promises ten minutes",
        took.as_secs()
    );
    let first = first_update(&read(FIRST)?).with_context(|| format!("{FIRST} is another"))?;
    run(home.path(), &first, &SEEN_FIRST)
}

/// Runs a script as a newcomer would, and looks for words in what it says, in their order.
fn run(home: &Path, script: &str, seen: &[&str]) -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-e", "-c", script]).current_dir(home);
    for (variable, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        if let (None, Some(own)) = (std::env::var_os(variable), std::env::home_dir()) {
            command.env(variable, own.join(folder));
        }
    }
    command.env("HOME", home).env_remove("CARGO_TARGET_DIR");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "it ended with {}: {said}",
        output.status
    );
    let mut rest: &str = &said;
    for words in seen {
        let found = rest.split_once(words);
        rest = found
            .with_context(|| format!("'{words}' is not seen in {said}"))?
            .1;
    }
    Ok(())
}

/// What is typed for the first update in docs/agent.md, in the clone.
fn first_update(chapter: &str) -> Option<String> {
    let (_, part) = chapter.split_once("## Try it without a special kernel\n")?;
    let (typed, rest) = part.split_once("```sh\n")?;
    let (machine, _) = rest.split_once("```")?;
    let typed = typed.lines().filter_map(|line| line.strip_prefix("    "));
    let typed: String = typed.map(|line| format!("{line}\n")).collect();
    Some(format!(
        "cd ~/luo\ncat > machine.sh <<'END-OF-FILE'\n{machine}END-OF-FILE\n{typed}"
    ))
}

/// What is typed: the indented lines outside of fences, and the fenced files that are saved.
fn script(chapter: &str, address: &str) -> String {
    let mut script = "mkdir -p ~/first\n".to_owned();
    let steps = chapter.split(UP_TO).next().unwrap_or_default();
    for (number, part) in steps.split("```").enumerate() {
        if number % 2 == 0 {
            let typed = part.lines().filter_map(|line| line.strip_prefix("    "));
            let typed = typed.map(|line| line.replace("ADDRESS", address));
            typed.for_each(|line| script.push_str(&format!("{line}\n")));
        } else if let Some((language, text)) = part.split_once('\n') {
            let file = match language {
                "python" => "guestbook.py",
                _ => "machine.sh",
            };
            script.push_str(&format!(
                "cat > ~/first/{file} <<'END-OF-FILE'\n{text}END-OF-FILE\n"
            ));
            script.push_str("cd ~/first\n");
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chapter_becomes_a_script() {
        let chapter = "# A\n\n    git clone ADDRESS x  # this\n\nText.\n\n```python\nimport a\n    b\n```\n\n\
                       ## 4. B\n\n    run it\n\n## 5. C\n\n    not this\n";
        let expected = "mkdir -p ~/first\ngit clone /here x  # this\n\
                        cat > ~/first/guestbook.py <<'END-OF-FILE'\nimport a\n    b\nEND-OF-FILE\n\
                        cd ~/first\nrun it\n";
        assert_eq!(script(chapter, "/here"), expected);
    }

    #[test]
    fn the_first_update_becomes_a_script() {
        let chapter = "# A\n\n    not this\n\n## Try it without a special kernel\n\nText:\n\n    \
                       build \\\n        it\n    run it\n\n```sh\ncat x\n```\n\n    not this\n";
        let expected = "cd ~/luo\ncat > machine.sh <<'END-OF-FILE'\ncat x\nEND-OF-FILE\n\
                        build \\\n    it\nrun it\n";
        assert_eq!(first_update(chapter).as_deref(), Some(expected));
    }
}
