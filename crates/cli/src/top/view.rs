//! Drawing: the title, the table, the keys. Nothing depends on colour, and where the locale has no UTF-8 nothing but
//! ASCII is drawn.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style as Look};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, TableState};

use super::panes;
use super::rates::Rates;
use super::rows::{Row, Sort, Subject};
use super::state::{State, Totals};
use crate::figures::{Limit, Place};
use crate::text::{duration, percent, rate, short};
use sslsweep_figures::Word;

/// The least that is of use.
const WIDTH: u16 = 40;
const HEIGHT: u16 = 6;

/// From this height on the row picked is told more about below the table.
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

/// The abilities of the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub color: bool,
    pub unicode: bool,
}

impl Style {
    pub fn of_environment(no_color: bool) -> Style {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(set)
            .unwrap_or_default()
            .to_uppercase();
        Style {
            color: !no_color && set("NO_COLOR").is_none(),
            unicode: locale.contains("UTF-8") || locale.contains("UTF8"),
        }
    }

    pub fn colored(self, color: Color) -> Look {
        if self.color { Look::new().fg(color) } else { Look::new() }
    }

    pub fn heading(self) -> Look {
        self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
    }
}

// ---- The table ----

struct Column {
    heading: &'static str,
    width: u16,
    sort: Option<Sort>,
    text: fn(&Row, Option<&Rates>) -> String,
}

const fn column(
    heading: &'static str,
    width: u16,
    sort: Option<Sort>,
    text: fn(&Row, Option<&Rates>) -> String,
) -> Column {
    Column { heading, width, sort, text }
}

/// The program's name, which takes what a wider terminal has.
const NAME: usize = 1;

/// Eighty columns have room for all but the last three.
const COLUMNS: [Column; 14] = [
    column("PID", 7, Some(Sort::Process), |row, _| match &row.subject {
        Subject::Process((pid, _), _) => pid.to_string(),
        Subject::Program(_, 1) => "1 proc".to_string(),
        Subject::Program(_, many) => format!("{many} procs"),
    }),
    column("PROGRAM", 8, Some(Sort::Program), |row, _| row.program.clone()),
    column("CTX", 5, None, |row, _| match row.subject {
        Subject::Process(_, Place::Context(number)) => short(number),
        Subject::Process(_, place) => place.to_string(),
        Subject::Program(..) => Place::All.to_string(),
    }),
    column("HELD/SIZE", 9, Some(Sort::Held), |row, _| {
        let limit = match row.limit {
            Limit::Most(most) => short(most),
            other => other.to_string(),
        };
        format!("{}/{limit}", short(row.block.get(Word::Sessions)))
    }),
    column("STO/s", 5, Some(Sort::Stores), |_, rates| rated(rates, Word::Stores)),
    column("HIT/s", 5, Some(Sort::Hits), |_, rates| rated(rates, Word::Hits)),
    column("HIT%", 4, Some(Sort::HitRate), |_, rates| percent(rates.and_then(Rates::hit_rate))),
    column("EVI/s", 5, Some(Sort::Evictions), |_, rates| rated(rates, Word::Evictions)),
    column("FLU/s", 5, Some(Sort::Flushed), |_, rates| rated(rates, Word::Flushed)),
    column("LOCK", 5, Some(Sort::Lock), |row, _| duration(row.block.get(Word::LongestBatch))),
    column("STATE", 9, Some(Sort::Verdict), |row, _| row.verdict.word().to_string()),
    column("MIS/s", 5, Some(Sort::Misses), |_, rates| rated(rates, Word::Misses)),
    column("LAST", 5, None, |row, _| short(row.block.get(Word::LastRemoved))),
    column("TOOK", 5, None, |row, _| duration(row.block.get(Word::LastTook))),
];

/// The longest name that is of use.
const LONGEST_NAME: u16 = 32;

/// A rate, or that it is not known yet.
pub fn rated(rates: Option<&Rates>, word: Word) -> String {
    rates.map_or("-".to_string(), |rates| rate(rates.get(word)))
}

/// The columns that have room, each with its width.
fn columns(width: u16) -> Vec<(&'static Column, u16)> {
    let mut left = width + 1;
    let mut columns: Vec<_> = COLUMNS
        .iter()
        .take_while(|column| {
            let room = left.checked_sub(column.width + 1);
            left = room.unwrap_or(left);
            room.is_some()
        })
        .map(|column| (column, column.width))
        .collect();
    if let Some((column, width)) = columns.get_mut(NAME) {
        *width += left.min(LONGEST_NAME - column.width);
    }
    columns
}

/// Words stand to the left, figures to the right.
fn is_word(column: &Column) -> bool {
    matches!(column.heading, "PROGRAM" | "STATE")
}

/// The table as lines, for where there is no terminal: with all columns.
pub fn lines(state: &State) -> String {
    let line = |text: &dyn Fn(&Column) -> String| {
        let words: Vec<String> = COLUMNS
            .iter()
            .map(|column| {
                let (width, text) = (usize::from(column.width), text(column));
                match is_word(column) {
                    true => format!("{text:<width$.width$}"),
                    false => format!("{text:>width$}"),
                }
            })
            .collect();
        words.join(" ").trim_end().to_string() + "\n"
    };
    let rows = state.rows().iter();
    let rows = rows.map(|row| line(&|column| (column.text)(row, state.rates(row))));
    std::iter::once(line(&|column| column.heading.to_string())).chain(rows).collect()
}

fn table(frame: &mut Frame, area: Rect, state: &mut State, style: Style) {
    let columns = columns(area.width);
    let aligned = |column: &Column, text: String| match is_word(column) {
        true => Line::from(text),
        false => Line::from(text).alignment(Alignment::Right),
    };
    let header = columns.iter().map(|(column, _)| {
        let is_sorted = column.sort == Some(state.sort());
        let extra = if is_sorted { Modifier::REVERSED } else { Modifier::empty() };
        let heading = aligned(column, column.heading.to_string());
        Cell::from(heading).style(style.heading().add_modifier(extra))
    });
    let rows = state.rows().iter().map(|row| {
        let cells = columns
            .iter()
            .map(|(column, _)| Cell::from(aligned(column, (column.text)(row, state.rates(row)))));
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
    let widths = columns.iter().map(|(_, width)| Constraint::Length(*width));
    let table = Table::new(rows, widths)
        .header(TableRow::new(header))
        .row_highlight_style(Look::new().add_modifier(Modifier::REVERSED));
    let page = usize::from(area.height.saturating_sub(1));
    let picked = state.picked().map(|(place, _)| place);
    // Only as far down as the row picked asks for.
    let first = state.first.min(state.rows().len().saturating_sub(page));
    let mut scrolled = TableState::new().with_offset(first).with_selected(picked);
    frame.render_stateful_widget(table, area, &mut scrolled);
    (state.first, state.page) = (scrolled.offset(), page);
}

// ---- The screen ----

/// Draws all of it.
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
    table(frame, body, state, style);
    if let (true, Some((_, row))) = (is_told, state.picked()) {
        panes::pane(frame, pane, row, state.rates(row), style);
    }
    if state.rows().is_empty() && state.counted().hidden > 0 {
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
    let all = state.counted();
    let mut text = format!(
        "  {}, {}",
        counted(all.processes, "process", "es"),
        counted(all.contexts, "context", "s")
    );
    if all.hidden > 0 {
        let (what, plural) = match state.totals() {
            Totals::Contexts => ("idle line", "s"),
            Totals::Processes => ("idle process", "es"),
            Totals::Programs => ("idle program", "s"),
        };
        text += &format!(", {} hidden", counted(all.hidden as u64, what, plural));
    }
    text += &format!("  rates over {}s", state.window().as_secs_f64());
    let heading = COLUMNS.iter().find(|column| column.sort == Some(state.sort()));
    let way = if state.reversed() { ", reversed" } else { "" };
    text += &format!("  by {}{way}", heading.map_or("", |column| column.heading));
    let mut spans = vec![Span::styled("sslsweep", style.heading())];
    if state.paused() {
        spans.push(Span::styled("  PAUSED", bold(Color::Yellow)));
    }
    spans.push(Span::raw(text));
    let namespace = state.picked().and_then(|(_, row)| row.namespace.clone());
    spans.extend(namespace.map(|it| Span::styled(format!("  in {it}"), bold(Color::Yellow))));
    Line::from(spans)
}

#[cfg(test)]
pub mod tests;
