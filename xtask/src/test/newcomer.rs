// SPDX-License-Identifier: MIT OR Apache-2.0
//! docs/walkthrough.md from its first line to its last, as somebody goes it who has nothing
//! but the address of the project: what it takes from the clone to the picture is written down.
//!
//! The gate goes the same way with programs that it has built already
//! (`the_walkthrough_ends_with_a_picture`).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// What it is called where it is written down.
pub(super) const NAME: &str = "walkthrough";

/// The chapter, and the steps of it that end with the picture.
const CHAPTER: &str = "docs/walkthrough.md";
const UP_TO: &str = "## 5.";

/// What the reader has seen at the end, in this order.
const SEEN: [&str; 4] = [
    "visitors so far: 100\n",
    "visitors so far: 200\n",
    "outcome   completed",
    "blackout",
];

/// Clones what is committed, builds it and goes through the chapter. The packages that cargo has
/// loaded are used again; nothing else of this checkout is.
///
/// # Errors
/// A step fails, or something is not seen.
pub(super) fn walks(repo: &Path) -> Result<()> {
    let home = tempfile::tempdir()?;
    let chapter = fs::read_to_string(repo.join(CHAPTER)).context(CHAPTER)?;
    let script = script(&chapter, &repo.display().to_string());
    let mut command = Command::new("sh");
    command.args(["-e", "-c", &script]).current_dir(&home);
    for (variable, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        if let (None, Some(own)) = (std::env::var_os(variable), std::env::home_dir()) {
            command.env(variable, own.join(folder));
        }
    }
    command
        .env("HOME", home.path())
        .env_remove("CARGO_TARGET_DIR");
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
    for words in SEEN {
        let found = rest.split_once(words);
        rest = found
            .with_context(|| format!("'{words}' is not seen in {said}"))?
            .1;
    }
    let picture = home.path().join("first/update.svg");
    let picture = fs::read_to_string(&picture).with_context(|| picture.display().to_string())?;
    ensure!(
        picture.contains("guestbook"),
        "the picture does not show the program"
    );
    Ok(())
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
}
