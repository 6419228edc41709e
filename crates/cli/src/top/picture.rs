//! The picture in the documentation: the [`view`] of a sample as SVG.

use std::fmt::Write as _;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::style::Style;
use super::view;

/// The size of a character.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 18.0;
const MARGIN: f32 = 12.0;

// Plain colours, because not every viewer of SVG knows variables.
const RULES: &str = "text { font: 14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; white-space: pre }
    .back { fill: #ffffff } text, .bar { fill: #24292f } .bold { font-weight: bold } .dim { opacity: 0.6 }
    .cyan { fill: #0b6e7f } .green { fill: #1a7f37 } .yellow { fill: #7d5a00 } .red { fill: #b3261e } .reversed { fill: #ffffff }
    @media (prefers-color-scheme: dark) {
      .back { fill: #0d1117 } text, .bar { fill: #d6dde5 } .reversed { fill: #0d1117 }
      .cyan { fill: #56c8d8 } .green { fill: #56d364 } .yellow { fill: #e3b341 } .red { fill: #ff7b72 }
    }";

fn classes(cell: &Cell) -> String {
    let mut classes = Vec::new();
    if cell.modifier.contains(Modifier::BOLD) {
        classes.push("bold");
    }
    match cell.fg {
        _ if cell.modifier.contains(Modifier::REVERSED) => classes.push("reversed"),
        Color::Cyan => classes.push("cyan"),
        Color::Green => classes.push("green"),
        Color::Yellow => classes.push("yellow"),
        Color::Red => classes.push("red"),
        _ => {}
    }
    if cell.modifier.contains(Modifier::DIM) {
        classes.push("dim");
    }
    classes.join(" ")
}

fn svg(buffer: &Buffer) -> String {
    let area = buffer.area;
    let (width, height) = (
        f32::from(area.width) * WIDTH + 2.0 * MARGIN,
        f32::from(area.height) * HEIGHT + 2.0 * MARGIN,
    );
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"sslsweep top in a terminal\">\n  <style>\n    {RULES}\n  </style>\n  <rect class=\"back\" width=\"100%\" height=\"100%\" rx=\"8\"/>\n"
    );
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let class = classes(&buffer[(x, y)]);
            let end = (x..area.width)
                .find(|&at| classes(&buffer[(at, y)]) != class)
                .unwrap_or(area.width);
            let run: String = (x..end).map(|at| buffer[(at, y)].symbol()).collect();
            let (left, top) = (MARGIN + f32::from(x) * WIDTH, MARGIN + f32::from(y) * HEIGHT);
            let long = f32::from(end - x) * WIDTH;
            if class.contains("reversed") {
                let _ = writeln!(
                    text,
                    "  <rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{long:.1}\" height=\"{HEIGHT}\"/>"
                );
            }
            if !run.trim().is_empty() {
                let run = run.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                let _ = writeln!(
                    text,
                    "  <text xml:space=\"preserve\" class=\"{class}\" x=\"{left:.1}\" y=\"{:.1}\" textLength=\"{long:.1}\" lengthAdjust=\"spacingAndGlyphs\">{run}</text>",
                    top + 13.5
                );
            }
            x = end;
        }
    }
    text.push_str("</svg>\n");
    text
}

#[test]
fn documentation() {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a buffer");
    let mut state = view::tests::sample();
    // The picture shows idle lines, too.
    state.key(super::terminal::Key::Char('i'));
    terminal
        .draw(|frame| view::draw(frame, &mut state, Style { color: true, unicode: true }))
        .expect("it draws");
    crate::documents::check("docs/plots/top.svg", &svg(terminal.backend().buffer()));
}
