// SPDX-License-Identifier: MIT OR Apache-2.0
//! The graph as a picture: a row for each level, those that need others above those
//! they need.

use std::collections::BTreeMap;

use super::layout::{rows, word};
use crate::document::{Graph, Node};
use crate::text::xml;

/// Pixels.
const LETTER: usize = 8;
const BOX_HEIGHT: usize = 44;
const GAP: usize = 28;
const ROW: usize = 104;
const MARGIN: usize = 20;

/// Where a workload is drawn.
struct Place<'a> {
    node: &'a Node,
    left: usize,
    top: usize,
    width: usize,
}

impl Place<'_> {
    fn middle(&self) -> usize {
        self.left + self.width / 2
    }
}

fn width(node: &Node) -> usize {
    let letters = node.name.chars().count().max(word(node).len());
    letters * LETTER + 2 * LETTER
}

/// The graph as SVG 1.1.
#[must_use]
pub fn svg(graph: &Graph) -> String {
    let mut rows = rows(graph);
    // Workloads that need others stand above those; workloads in a circle stand above all.
    rows.reverse();
    let row_width = |row: &[&Node]| {
        let boxes: usize = row.iter().map(|node| width(node)).sum();
        boxes + row.len().saturating_sub(1) * GAP
    };
    let widest = rows
        .iter()
        .map(|(_, row)| row_width(row))
        .max()
        .unwrap_or(0);
    let mut places = BTreeMap::new();
    for (index, (_, row)) in rows.iter().enumerate() {
        let mut left = MARGIN + (widest - row_width(row)) / 2;
        for &node in row {
            let place = Place {
                node,
                left,
                top: MARGIN + index * ROW,
                width: width(node),
            };
            left += place.width + GAP;
            places.insert(node.name.as_str(), place);
        }
    }
    let height = rows.len().saturating_sub(1) * ROW + BOX_HEIGHT;
    draw(&places, widest + 2 * MARGIN, height + 2 * MARGIN)
}

fn draw(places: &BTreeMap<&str, Place<'_>>, width: usize, height: usize) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"13\">\n\
         <title>Workloads and what they need</title>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for place in places.values() {
        for need in &place.node.needs {
            if let Some(needed) = places.get(need.as_str()) {
                text += &arrow(place, needed);
            }
        }
    }
    for place in places.values() {
        text += &draw_box(place);
    }
    text += "</svg>\n";
    text
}

fn arrow(from: &Place<'_>, to: &Place<'_>) -> String {
    let (x1, x2) = (from.middle(), to.middle());
    let path = if from.top < to.top {
        let (y1, y2) = (from.top + BOX_HEIGHT, to.top);
        let bend = (y2 - y1) / 2;
        format!("M{x1} {y1}C{x1} {} {x2} {} {x2} {y2}", y1 + bend, y2 - bend)
    } else {
        // Both are in a circle, so the arrow goes over the boxes.
        let (y1, y2) = (from.top, to.top);
        let over = y1.min(y2).saturating_sub(MARGIN);
        format!("M{x1} {y1}C{x1} {over} {x2} {over} {x2} {y2}")
    };
    format!("<path d=\"{path}\" fill=\"none\" stroke=\"black\" marker-end=\"url(#tip)\"/>\n")
}

fn draw_box(place: &Place<'_>) -> String {
    let Place {
        node,
        left,
        top,
        width,
    } = place;
    let (fill, stroke) = match (node.state, node.level) {
        (None, _) => ("#fff", "#c00\" stroke-dasharray=\"4 3"),
        (_, None) => ("#fdd", "#c00"),
        _ => ("#eef4ff", "#246"),
    };
    let (x, name, state) = (place.middle(), xml(&node.name), word(node));
    format!(
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{BOX_HEIGHT}\" rx=\"6\" \
         fill=\"{fill}\" stroke=\"{stroke}\"/>\n\
         <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{name}</text>\n\
         <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#555\">{state}\
         </text>\n",
        top + 18,
        top + 35
    )
}
