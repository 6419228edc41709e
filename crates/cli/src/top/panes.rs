//! The figures of one row: a short pane below the table, and a page.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::Color;
use ratatui::symbols::bar;
use ratatui::text::Line;
use ratatui::widgets::{Bar, BarChart, BarGroup, Paragraph, Row as TableRow, Table};

use super::rates::{Rates, WINDOWS, rated};
use super::rows::{Row, Subject};
use super::style::Style;
use crate::figures::{Limit, Place};
use crate::system::now;
use crate::text::{duration, percent, seconds, short};
use sslsweep_figures::{HORIZONS, Word};
use sslsweep_share_table::{Event, Kind};

/// Lines of the pane below the table.
pub const PANE: u16 = 10;

/// Bars without UTF-8.
const ASCII: bar::Set = bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "#",
    five_eighths: ":",
    half: ":",
    three_eighths: ":",
    one_quarter: ".",
    one_eighth: ".",
    empty: " ",
};

/// Draws bars, the greatest to the full height. Each value above 0 can be seen.
fn bars(frame: &mut Frame, area: Rect, width: u16, values: &[u64], names: &[String], style: Style) {
    let most = u128::from(values.iter().copied().max().unwrap_or(0).max(1));
    let room = area.height.saturating_sub(u16::from(!names.is_empty()));
    // In steps, eight to a character, because the chart multiplies values, which could overflow.
    let steps = u128::from(room) * 8;
    let bars: Vec<Bar> = values
        .iter()
        .enumerate()
        .map(|(place, &value)| {
            let high = (u128::from(value) * steps).div_ceil(most) as u64;
            let bar = Bar::default().value(high).text_value(String::new());
            match names.get(place) {
                Some(name) => bar.label(Line::from(name.clone())),
                None => bar,
            }
        })
        .collect();
    let chart = BarChart::default()
        .data(BarGroup::default().bars(&bars))
        .max(steps.max(1) as u64)
        .bar_width(width)
        .bar_gap(u16::from(!names.is_empty()))
        .bar_set(if style.unicode { bar::NINE_LEVELS } else { ASCII })
        .bar_style(style.colored(Color::Green));
    frame.render_widget(chart, area);
}

/// Names of the parts of the curve, by the time until sessions expire.
fn parts() -> Vec<String> {
    let mut names: Vec<String> =
        HORIZONS.iter().map(|&horizon| seconds(horizon.unsigned_abs())).collect();
    names[0] = "due".to_string();
    names.extend([">7d".to_string(), "none".to_string()]);
    names
}

/// Draws the curve with a heading.
fn curve(frame: &mut Frame, area: Rect, row: &Row, style: Style) {
    let values = row.block.curve();
    let width = ((area.width + 1) / values.len() as u16).saturating_sub(1).clamp(1, 4);
    let most = short(values.iter().copied().max().unwrap_or(0));
    let [heading, chart] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    // Narrow bars have no names.
    let (names, order) = if width >= 3 { (parts(), "") } else { (Vec::new(), ", due to never") };
    frame.render_widget(
        format!("sessions by time left to expiry{order}; top of scale: {most}"),
        heading,
    );
    bars(frame, chart, width, values, &names, style);
}

/// Draws a histogram of durations with a heading, and names every eighth step.
fn histogram(frame: &mut Frame, area: Rect, name: &str, values: &[u64], style: Style) {
    let [heading, chart, names] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
            .areas(area);
    let most = short(values.iter().copied().max().unwrap_or(0));
    frame.render_widget(format!("{name}; top of scale: {most}"), heading);
    bars(frame, chart, 1, values, &[], style);
    let steps = (0..values.len()).step_by(8);
    let text: String =
        steps.map(|step| format!("{:<8}", format!("<{}", duration(1000 << step)))).collect();
    frame.render_widget(text, names);
}

/// The row in words.
fn name(row: &Row) -> String {
    let (pid, place) = match &row.subject {
        Subject::Program(name, 1) => return format!("{name}, 1 process"),
        Subject::Program(name, many) => return format!("{name}, {many} processes together"),
        Subject::Process((pid, _), place) => (pid, place),
    };
    let place = match place {
        Place::All => "all contexts".to_string(),
        Place::Context(number) => format!("context {number}"),
        Place::Others => "contexts without a line".to_string(),
        Place::Ended => "contexts that have ended".to_string(),
    };
    format!("{} {pid}, {place}", row.program)
}

fn heading(row: &Row, width: u16, style: Style) -> Line<'static> {
    let rule = if style.unicode { "─" } else { "-" };
    let text = format!("{} {} ", rule.repeat(2), name(row));
    let rest = usize::from(width).saturating_sub(text.chars().count());
    Line::styled(text + &rule.repeat(rest), style.heading())
}

/// The state of the cache, and the setting that changes it.
fn state(row: &Row, style: Style) -> Vec<Line<'static>> {
    let color = if row.verdict.is_idle() { Color::Yellow } else { Color::Green };
    let mut lines = vec![Line::styled(row.verdict.sentence(), style.colored(color))];
    let remedy = row.verdict.remedy(&row.program);
    lines.extend(remedy.map(|it| Line::from(format!("setting that uses the cache: {it}"))));
    lines
}

/// The last flush, in words.
fn last_flush(row: &Row) -> String {
    let figure = |word: Word| row.block.get(word);
    if figure(Word::Flushes) == 0 {
        return "no flush has removed anything yet".to_string();
    }
    if figure(Word::LastFlush) == 0 {
        return "the last flush was in a context that has ended".to_string();
    }
    let ago = now().saturating_sub(figure(Word::LastFlush));
    format!(
        "last flush {} ago: {} removed in {}",
        seconds(ago),
        figure(Word::LastRemoved),
        duration(figure(Word::LastTook))
    )
}

/// Draws the pane below the table.
pub fn pane(frame: &mut Frame, area: Rect, row: &Row, rates: Option<&Rates>, style: Style) {
    let figure = |word: Word| row.block.get(word);
    let mut lines = vec![heading(row, area.width, style)];
    lines.extend(state(row, style));
    let mut below = vec![Line::from(last_flush(row))];
    // A setting takes the place of this line.
    if lines.len() == 2 {
        below.push(Line::from(format!(
            "{} flushes ({}/s) removed {}; longest lock {}",
            short(figure(Word::Flushes)),
            rated(rates, Word::Flushes),
            short(figure(Word::Flushed)),
            duration(figure(Word::LongestBatch))
        )));
    }
    below.extend(fleet(row).map(Line::from));
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(lines.len() as u16),
        Constraint::Fill(1),
        Constraint::Length(below.len() as u16),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(lines), top);
    curve(frame, middle, row, style);
    frame.render_widget(Paragraph::new(below), bottom);
}

/// The counters with their averages, a line for each.
fn counters(row: &Row, interval: Duration) -> Table<'static> {
    let line = |name: &str, total: String, rates: [String; WINDOWS.len()]| {
        let figures = [total].into_iter().chain(rates);
        let figures = figures.map(|figure| Line::from(figure).alignment(Alignment::Right));
        TableRow::new([Line::from(name.to_string())].into_iter().chain(figures))
    };
    let windows = WINDOWS.map(|window| format!("/s {}s", window.max(interval).as_secs_f64()));
    let mut lines = vec![line("", "total".to_string(), windows)];
    for (name, word) in [
        ("sessions stored", Word::Stores),
        ("lookups that hit", Word::Hits),
        ("lookups that missed", Word::Misses),
        ("sessions evicted", Word::Evictions),
        ("sessions flushed", Word::Flushed),
        ("flushes", Word::Flushes),
    ] {
        let rates = row.averages.map(|rates| rated(rates.as_ref(), word));
        lines.push(line(name, row.block.get(word).to_string(), rates));
    }
    let rates = row.averages.map(|rates| percent(rates.and_then(|rates| rates.hit_rate())));
    lines.push(line("hit rate, percent", percent(row.block.hit_rate()), rates));
    Table::new(lines, [26, 14, 8, 8, 8]).column_spacing(0)
}

/// The counts of sharing of the row's process or program, in lines of this width; none if it shares nothing.
fn sharing(row: &Row, width: u16) -> Vec<String> {
    let words = |name: &str| name.replace('_', " ");
    let mut parts = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|&kind| row.sharing.sum(kind) > 0) {
        let what =
            if kind == Kind::Aside { "SSL_CTX aside".to_string() } else { words(kind.name()) };
        let with_reason = row.sharing.counted(kind).filter(|(event, _)| !event.reason().is_empty());
        let reasons: Vec<String> = with_reason
            .map(|(event, count)| format!("{} {}", short(count), words(event.reason())))
            .collect();
        let sum = format!("{} {what}", short(row.sharing.sum(kind)));
        match &reasons[..] {
            [] => parts.push(sum),
            [one] => parts.push(format!("{sum} ({one})")),
            [first, between @ .., last] => {
                parts.push(format!("{sum} ({first}"));
                parts.extend_from_slice(between);
                parts.push(format!("{last})"));
            }
        }
    }
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            None => lines.push(format!("sharing{}: {part}", owner(row))),
            Some(line) => {
                line.push(',');
                if line.len() + 1 + part.len() < usize::from(width) {
                    line.push_str(&format!(" {part}"));
                } else {
                    lines.push(format!("  {part}"));
                }
            }
        }
    }
    lines
}

/// The questions of the row's process or program to the fleet, with their answers; none if it asks nobody.
fn fleet(row: &Row) -> Option<String> {
    let asks = [Kind::Asked, Kind::Waits, Kind::Foreign].into_iter();
    asks.map(|kind| row.sharing.sum(kind)).find(|&sum| sum > 0)?;
    let figures = [
        ("asked", Event::Asked),
        ("answered", Event::Answered),
        ("missed", Event::Missed),
        ("skipped", Event::Skipped),
        ("foreign", Event::Foreign),
        ("gap", Event::RefusedGap),
    ]
    .map(|(name, event)| format!("{name} {}", short(row.sharing.get(event))));
    Some(format!("fleet{}: {}", owner(row), figures.join(", ")))
}

/// Whose sharing is shown in the row of a part of a process.
fn owner(row: &Row) -> &'static str {
    match row.subject {
        Subject::Process(_, Place::All) | Subject::Program(..) => "",
        Subject::Process(..) => " of the process",
    }
}

/// Lines of [`counters`].
const COUNTERS: u16 = 8;

/// Draws the page with all figures of the row.
pub fn details(frame: &mut Frame, area: Rect, row: &Row, interval: Duration, style: Style) {
    let figure = |word: Word| row.block.get(word);
    let mut above = vec![heading(row, area.width, style)];
    above.extend(state(row, style));
    above.push(Line::from(match row.limit {
        Limit::Unknown => format!("{} sessions stored now", figure(Word::Sessions)),
        Limit::Any => format!("{} sessions stored now, any number may be", figure(Word::Sessions)),
        Limit::Most(most) => format!("{} sessions stored now of {most}", figure(Word::Sessions)),
    }));
    let mut below = vec![
        format!(
            "removed one by one {}, left at a context's end {}; external hits {}",
            short(figure(Word::Removals)),
            short(figure(Word::LeftAtEnd)),
            short(figure(Word::ExternalHits))
        ),
        format!(
            "handshakes accepted {}, connected {}; resumed by cache or ticket {}",
            short(figure(Word::Accepted)),
            short(figure(Word::Connected)),
            short(figure(Word::Resumed))
        ),
        format!("{}; longest lock {}", last_flush(row), duration(figure(Word::LongestBatch))),
    ];
    below.extend(sharing(row, area.width));
    let (first, last) = (above.len() as u16, below.len() as u16);
    let [text, rest] =
        Layout::vertical([Constraint::Length(first + COUNTERS + last), Constraint::Fill(1)])
            .areas(area);
    // If there is little room, the upper parts keep theirs.
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Min(first),
        Constraint::Length(COUNTERS),
        Constraint::Max(last),
    ])
    .areas(text);
    frame.render_widget(Paragraph::new(above), top);
    frame.render_widget(counters(row, interval), middle);
    frame.render_widget(
        Paragraph::new(below.into_iter().map(Line::from).collect::<Vec<_>>()),
        bottom,
    );
    // The pane shows the curve, too, so it is the first to go.
    let curve_height = if rest.height >= 11 { rest.height / 2 } else { 0 };
    let [above, below] =
        Layout::vertical([Constraint::Length(curve_height), Constraint::Fill(1)]).areas(rest);
    if above.height > 2 {
        curve(frame, above, row, style);
    }
    if below.height > 2 {
        let [left, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(below);
        histogram(frame, left, "time of flushes", row.block.times(Word::FlushTimes), style);
        histogram(frame, right, "time of locks", row.block.times(Word::BatchTimes), style);
    }
}
