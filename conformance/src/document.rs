// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `docs/conformance.md` says: each case on each implementation.

use crate::case::{Case, Course, Topic};
use crate::difference::Differs;
use crate::implementation::Implementation;
use crate::results::Results;
use crate::run::{Report, Verdict, cases, full_name};
use crate::topics::TOPICS;

/// What came of one implementation.
pub type Column = (Implementation, Results);

/// The document: from verdicts, not from what is declared.
#[must_use]
pub fn render(columns: &[Column]) -> String {
    let mut text = String::from(
        "# Conformance\n\n\
         One suite of behaviour tests (`conformance/`), run on every implementation of\n\
         `/dev/liveupdate` there is. `cargo xtask conformance` runs it on all of them and\n\
         writes this file; `cargo test` runs it on the simulator, and checks that the file\n\
         is in step with the suite.\n\n\
         A cell says *yes* if the implementation does what the case demands. A number is a\n\
         difference that is declared at the case, with its reason at the end. A difference\n\
         that is not declared fails the run, and so does a declaration that is not true.\n\n\
         | | cases | as demanded | differ as declared |\n|---|---|---|---|\n",
    );
    for (on, results) in columns {
        let [passed, differing, ..] = results.counts().map(|(_, count)| count);
        let all = results.reports.len();
        text += &format!("| {} | {all} | {passed} | {differing} |\n", on.title());
    }
    let mut notes = Notes::default();
    for topic in TOPICS {
        text += &table(topic, columns, &mut notes);
    }
    text + &notes.render()
}

fn table(topic: &Topic, columns: &[Column], notes: &mut Notes) -> String {
    let titles: Vec<&str> = columns.iter().map(|(on, _)| on.title()).collect();
    let mut text = format!(
        "\n## {}\n\n| case | kernels | {} |\n|---|---|{}\n",
        topic.name,
        titles.join(" | "),
        "---|".repeat(columns.len())
    );
    for case in topic.cases {
        let cells = columns.iter().map(|(on, results)| {
            let verdict = results.verdict(&full_name(topic, case));
            cell(case, *on, verdict, notes)
        });
        let cells: Vec<String> = cells.collect();
        let (name, kernels) = (case.name, kernels(case));
        text += &format!("| {name} | {kernels} | {} |\n", cells.join(" | "));
    }
    text
}

/// How many kernels a case goes through.
fn kernels(case: &Case) -> usize {
    match case.course {
        Course::Here(_) => 1,
        Course::Shared(..) => 2,
        Course::Alone(steps) => steps.len(),
    }
}

fn cell(case: &Case, on: Implementation, verdict: Option<&Verdict>, notes: &mut Notes) -> String {
    match (verdict, case.difference(on)) {
        (Some(Verdict::Passed), _) => "yes".to_owned(),
        (Some(Verdict::Differs(_)), Some(declared)) => format!("({})", notes.number(declared)),
        (Some(Verdict::Skipped(_)), _) => "skipped".to_owned(),
        (Some(_), _) => "**no**".to_owned(),
        (None, _) => "not run".to_owned(),
    }
}

/// The differences that were seen, in the order of their numbers.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn number(&mut self, differs: &Differs) -> usize {
        let said = format!("{}: {}", differs.on.title(), differs.expect);
        let known = self.0.iter().position(|known| *known == said);
        known.map_or_else(
            || {
                self.0.push(said);
                self.0.len()
            },
            |at| at + 1,
        )
    }

    fn render(&self) -> String {
        let mut text = String::from("\n## What differs\n\n");
        for (at, said) in self.0.iter().enumerate() {
            text += &format!("{}. {said}\n", at + 1);
        }
        text
    }
}

impl Results {
    /// What a run gives in which everything is as the table says.
    #[must_use]
    pub fn as_declared(on: Implementation) -> Self {
        let report = |(topic, case): (&Topic, &Case)| Report {
            name: full_name(topic, case),
            verdict: case.difference(on).map_or(Verdict::Passed, |differs| {
                Verdict::Differs(differs.expect.reason().to_owned())
            }),
        };
        Self {
            reports: cases().map(report).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let column = |on| (on, Results::as_declared(on));
        Implementation::ALL.into_iter().map(column).collect()
    }

    #[test]
    fn a_difference_has_a_number_and_a_reason() {
        let text = render(&columns());
        assert!(text.contains("(1)"));
        for (topic, case) in cases() {
            assert!(
                text.contains(&format!("| {} |", case.name)),
                "{}",
                case.name
            );
            assert!(text.contains(&format!("\n## {}\n", topic.name)));
            for differs in case.differs {
                let note = format!(". {}: {}\n", differs.on.title(), differs.expect);
                assert!(text.contains(&note), "{note}");
            }
        }
    }

    #[test]
    fn the_verdict_counts_not_the_declaration() {
        let mut columns = columns();
        for (_, results) in &mut columns {
            for report in &mut results.reports {
                report.verdict = Verdict::Failed("why".into());
            }
            results.reports.pop();
        }
        let text = render(&columns);
        assert!(text.contains("**no**") && text.contains("not run"));
        assert!(!text.contains("| yes") && !text.contains("(1)"));
    }
}
