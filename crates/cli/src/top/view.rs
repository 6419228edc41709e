//! Draws the title, the table and the keys. Nothing depends on colour, and without UTF-8 in the locale all is ASCII.

use ratatui::Frame;
use ratatui::buffer::{self, Buffer};
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style as Look};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, TableState, Widget};

use super::columns::{COLUMNS, Column};
use super::panes;
use super::rows::Subject;
use super::state::{State, Totals};
use super::style::Style;
use crate::figures::Place;

/// The least size that is of use.
const WIDTH: u16 = 40;
const HEIGHT: u16 = 6;

/// The least height with a pane below the table.
const WITH_PANE: u16 = 18;

const HELP: [&str; 19] = [
    "HELD/SIZE   sessions stored now, and the most there may be",
    "STO/s       sessions stored per second",
    "HIT/s       lookups per second that found a session, MIS/s  that found none",
    "HIT%        part of the lookups that found a session",
    "EVI/s       sessions evicted per second to make room",
    "FLU/s       sessions removed per second by flushes",
    "LOCK        longest time that a flush has held a lock",
    "STATE       in force: sessions are stored; or why the cache is idle: off,",
    "            external (a cache of the program's own), tickets (which need no",
    "            cache), no stores, client, unused (no handshake yet)",
    "LAST        sessions that the last flush removed, TOOK  how long it took",
    "CTX         number of the context; all: the sum; other: contexts without a",
    "            line; ended: contexts that have ended",
    "",
    "Up, Down, Page Up, Page Down, Home, End  pick a line",
    "Enter  all figures of the line picked   <, >  sort by another column",
    "a      rates over 1, 10 or 60 seconds   r     reverse the order",
    "t      contexts, processes, programs    i     show idle ones, or hide them",
    "p      pause                            q     back, or quit",
];

const KEYS: &str =
    "q quit  ? help  Enter details  < > sort  r reverse  a average  t totals  i idle";

// ---- The table ----

/// The greatest width of a program's name.
const LONGEST_NAME: u16 = 32;

/// The columns that have room.
fn columns(width: u16) -> &'static [Column] {
    let fits = |&count: &usize| needed_width(&COLUMNS[..count]) <= width;
    &COLUMNS[..(1..=COLUMNS.len()).rev().find(fits).unwrap_or(0)]
}

/// The least width of these columns, with a space between each two.
fn needed_width(columns: &[Column]) -> u16 {
    columns.iter().map(|column| column.width + 1).sum::<u16>().saturating_sub(1)
}

fn table(state: &State, columns: &[Column], style: Style) -> Table<'static> {
    // Words are on the left, figures on the right.
    let aligned = |column: &Column, text: String| match column.heading {
        "PROGRAM" | "STATE" => Line::from(text),
        _ => Line::from(text).alignment(Alignment::Right),
    };
    let header = columns.iter().map(|column| {
        let is_sorted = column.heading == state.sort().heading;
        let extra = if is_sorted { Modifier::REVERSED } else { Modifier::empty() };
        let heading = aligned(column, column.heading.to_string());
        Cell::from(heading).style(style.heading().add_modifier(extra))
    });
    let rows = state.rows.iter().map(|row| {
        let cells = columns
            .iter()
            .map(|column| Cell::from(aligned(column, (column.text)(row, state.rates(row)))));
        let is_sum = matches!(row.subject, Subject::Process(_, Place::All) | Subject::Program(..));
        let look = if row.verdict.is_idle() {
            Look::new().add_modifier(Modifier::DIM)
        } else if is_sum {
            Look::new().add_modifier(Modifier::BOLD)
        } else {
            Look::new()
        };
        TableRow::new(cells).style(look)
    });
    // The program's name takes what is left.
    let widths = columns.iter().map(|column| match column.heading {
        "PROGRAM" => Constraint::Max(LONGEST_NAME),
        _ => Constraint::Length(column.width),
    });
    Table::new(rows, widths)
        .header(TableRow::new(header))
        .row_highlight_style(Look::new().add_modifier(Modifier::REVERSED))
}

/// The table with all columns as lines, for output that is no terminal.
pub fn lines(state: &State) -> String {
    let width = needed_width(&COLUMNS);
    let height = u16::try_from(state.rows.len() + 1).unwrap_or(u16::MAX);
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    let style = Style { color: false, unicode: false };
    Widget::render(table(state, &COLUMNS, style), buffer.area, &mut buffer);
    let line = |cells: &[buffer::Cell]| -> String {
        let line: String = cells.iter().map(buffer::Cell::symbol).collect();
        line.trim_end().to_string() + "\n"
    };
    buffer.content.chunks(width.into()).map(line).collect()
}

/// Draws the table, scrolled no further down than the selected row asks for.
fn scrolled(frame: &mut Frame, area: Rect, state: &mut State, style: Style) {
    state.page = usize::from(area.height.saturating_sub(1));
    let first = state.first.min(state.rows.len().saturating_sub(state.page));
    let picked = state.picked().map(|(place, _)| place);
    let mut place = TableState::new().with_offset(first).with_selected(picked);
    let table = table(state, columns(area.width), style);
    frame.render_stateful_widget(table, area, &mut place);
    state.first = place.offset();
}

// ---- The screen ----

/// Draws the screen.
pub fn draw(frame: &mut Frame, state: &mut State, style: Style) {
    let area = frame.area();
    if area.width < WIDTH || area.height < HEIGHT {
        let text = vec![Line::from("terminal too small"), Line::from("(40x6, please)")];
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let [top, body, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
            .areas(area);
    frame.render_widget(title(state, style), top);
    let is_table = !(state.help || state.details && state.picked().is_some());
    frame.render_widget(if is_table { KEYS } else { "q back" }, bottom);
    if state.help {
        frame.render_widget(Paragraph::new(HELP.map(Line::from).to_vec()), body);
        return;
    }
    if let (false, Some((_, row))) = (is_table, state.picked()) {
        panes::details(frame, body, row, state.window(), style);
        return;
    }
    let is_told = area.height >= WITH_PANE && state.picked().is_some();
    let pane = if is_told { panes::PANE } else { 0 };
    let [body, pane] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(pane)]).areas(body);
    scrolled(frame, body, state, style);
    if let (true, Some((_, row))) = (is_told, state.picked()) {
        panes::pane(frame, pane, row, state.rates(row), style);
    }
    if state.rows.is_empty() && state.counted.hidden > 0 {
        let [_, below] = Layout::vertical([Constraint::Length(2), Constraint::Fill(1)]).areas(body);
        let text = "no cache is in force; press i to see which are idle, and why";
        frame.render_widget(text, below);
    }
}

fn title(state: &State, style: Style) -> Line<'static> {
    let bold = |color| style.colored(color).add_modifier(Modifier::BOLD);
    if let Some(notice) = &state.notice {
        return Line::styled(notice.clone(), bold(Color::Red));
    }
    let counted = |number: u64, what: &str, plural: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { plural })
    };
    let all = state.counted;
    let mut text = format!(
        "  {}, {}",
        counted(all.processes, "process", "es"),
        counted(all.contexts, "context", "s")
    );
    if all.hidden > 0 {
        let (what, plural) = match state.totals {
            Totals::Contexts => ("idle line", "s"),
            Totals::Processes => ("idle process", "es"),
            Totals::Programs => ("idle program", "s"),
        };
        text += &format!(", {} hidden", counted(all.hidden as u64, what, plural));
    }
    text += &format!("  rates over {}s", state.window().as_secs_f64());
    let way = if state.reverse { ", reversed" } else { "" };
    text += &format!("  by {}{way}", state.sort().heading);
    let mut spans = vec![Span::styled("sslsweep", style.heading())];
    if state.paused {
        spans.push(Span::styled("  PAUSED", bold(Color::Yellow)));
    }
    spans.push(Span::raw(text));
    let namespace = state.picked().and_then(|(_, row)| row.namespace.clone());
    spans.extend(namespace.map(|it| Span::styled(format!("  in {it}"), bold(Color::Yellow))));
    Line::from(spans)
}

#[cfg(test)]
pub mod tests;
