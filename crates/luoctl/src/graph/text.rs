// SPDX-License-Identifier: MIT OR Apache-2.0
//! The graph as lines.

use super::layout::{rows, word};
use crate::document::Graph;
use crate::output::{Paint, Tone};
use crate::text::{count, list, plain};

/// The graph, level by level: what is needed stands above those that need it.
#[must_use]
pub fn text(graph: &Graph, paint: Paint) -> String {
    if graph.nodes.is_empty() {
        return "no workload is registered\n".to_owned();
    }
    let names = graph.nodes.iter().map(|node| node.name.chars().count());
    let width = names.max().unwrap_or(0);
    let mut text = String::new();
    for (level, row) in rows(graph) {
        let head = match level {
            Some(0) => "need nobody: prepared and restored first, frozen last".to_owned(),
            Some(level) => format!("level {level}"),
            None => "in a circle, or need such: no update is possible".to_owned(),
        };
        let tone = if level.is_some() {
            Tone::Head
        } else {
            Tone::Bad
        };
        text += &format!("{}\n", paint.tone(tone, head));
        for node in row {
            let state = word(node);
            let tone = if node.state.is_none() {
                Tone::Bad
            } else {
                Tone::Plain
            };
            let state = paint.tone(tone, format!("{state:<9}"));
            let mut more = vec![count(node.sessions.len(), "session")];
            if !node.needs.is_empty() {
                more.push(format!("needs {}", list(&node.needs)));
            }
            let name = plain(&node.name);
            text += &format!("  {name:<width$}  {state}  {}\n", more.join(", "));
        }
    }
    text
}
