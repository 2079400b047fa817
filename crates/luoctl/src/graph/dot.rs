// SPDX-License-Identifier: MIT OR Apache-2.0
//! The graph for Graphviz.

use super::layout::{rows, word};
use crate::document::Graph;
use crate::text::plain;

/// The graph in the language DOT: an arrow leads from a workload to one that it needs.
#[must_use]
pub fn dot(graph: &Graph) -> String {
    let mut text =
        "digraph luo {\n  rankdir=TB;\n  node [shape=box, fontname=\"sans-serif\"];\n".to_owned();
    for (level, row) in rows(graph) {
        for node in &row {
            let name = identifier(&node.name);
            let label = quote(&format!("{}\n{}", plain(&node.name), word(node)));
            let style = match (node.state, level) {
                (None, _) => ", style=dashed, color=red",
                (_, None) => ", color=red",
                _ => "",
            };
            text += &format!("  {name} [label={label}{style}];\n");
        }
        if level.is_some() && row.len() > 1 {
            let names: Vec<_> = row.iter().map(|node| identifier(&node.name)).collect();
            text += &format!("  {{ rank=same; {}; }}\n", names.join("; "));
        }
    }
    for node in &graph.nodes {
        for need in &node.needs {
            text += &format!("  {} -> {};\n", identifier(&node.name), identifier(need));
        }
    }
    text += "}\n";
    text
}

/// A workload's name, made plain, because the text may be written to a terminal.
fn identifier(name: &str) -> String {
    quote(&plain(name))
}

/// A text as DOT has it.
fn quote(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}
