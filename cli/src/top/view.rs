//! Drawing. Nothing depends on colour, and where the locale has no UTF-8 nothing but ASCII is drawn.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style as Look};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::state::{Row, Sort, State};
use crate::figures::{self, Limit, Place};
use crate::text::{duration, rate, seconds, short};
use sslsweep_figures::{HORIZONS, STEPS, Word};

/// The least that is of use.
const WIDTH: u16 = 40;
const HEIGHT: u16 = 6;

/// From this height on the row picked is told more about below the table.
const WITH_PANE: u16 = 18;
const PANE: u16 = 8;

const HELP: [&str; 16] = [
    "HELD/SIZE  sessions stored, and the most there may be",
    "STO/s      sessions stored in a second",
    "HIT/s      lookups that found one;    MIS/s  that found none",
    "EVI/s      sessions that left for lack of room",
    "EXP/s      sessions that flushes removed",
    "FLUSH      sessions that the last flush removed;  TOOK  how long it took",
    "LOCK       the longest time under a lock",
    "all, other, ended   the sum of a process; of contexts without a line;",
    "                    of contexts that are no more",
    "",
    "up, down, Page Up, Page Down, Home, End   pick a line",
    "<, >    sort by another column            r   the other way round",
    "Enter   all of the line picked            t   a line for each process",
    "p       pause                             ?   this page",
    "q       back, or quit",
    "",
];

/// What the terminal can show.
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

    fn colored(self, color: Color) -> Look {
        if self.color { Look::new().fg(color) } else { Look::new() }
    }

    fn heading(self) -> Look {
        self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
    }
}

// ---- The table ----

struct Column {
    heading: &'static str,
    width: usize,
    sort: Option<Sort>,
    text: fn(&Row) -> String,
}

const fn column(
    heading: &'static str,
    width: usize,
    sort: Option<Sort>,
    text: fn(&Row) -> String,
) -> Column {
    Column { heading, width, sort, text }
}

/// They and the spaces between them fill 80 columns. The program's name takes what a wider terminal has.
const COLUMNS: [Column; 12] = [
    column("PID", 7, Some(Sort::Process), |row| row.key.0.to_string()),
    column("PROGRAM", 8, Some(Sort::Program), |row| row.program.clone()),
    column("CTX", 5, None, |row| match row.key.2 {
        Place::Context(number) => short(number),
        place => place.to_string(),
    }),
    column("HELD/SIZE", 9, Some(Sort::Held), |row| {
        let limit = match row.limit {
            Limit::Most(most) => short(most),
            other => other.to_string(),
        };
        format!("{}/{limit}", short(row.block.get(Word::Sessions)))
    }),
    column("STO/s", 5, Some(Sort::Stores), |row| rated(row, |rates| rates.stores)),
    column("HIT/s", 5, Some(Sort::Hits), |row| rated(row, |rates| rates.hits)),
    column("MIS/s", 5, Some(Sort::Misses), |row| rated(row, |rates| rates.misses)),
    column("EVI/s", 5, Some(Sort::Evictions), |row| rated(row, |rates| rates.evictions)),
    column("EXP/s", 5, Some(Sort::Expiries), |row| rated(row, |rates| rates.expiries)),
    column("FLUSH", 5, Some(Sort::Flush), |row| short(row.block.get(Word::LastRemoved))),
    column("TOOK", 5, Some(Sort::Took), |row| duration(row.block.get(Word::LastTook))),
    column("LOCK", 5, Some(Sort::Lock), |row| duration(row.block.get(Word::LongestBatch))),
];

/// The longest name that is of use.
const LONGEST_NAME: usize = 32;

fn rated(row: &Row, of: fn(&super::state::Rates) -> f64) -> String {
    row.rates.as_ref().map_or("-".to_string(), |rates| rate(of(rates)))
}

/// The columns that have room, each with its width.
fn columns(width: usize) -> Vec<(&'static Column, usize)> {
    let least: usize = COLUMNS.iter().map(|column| column.width + 1).sum::<usize>() - 1;
    let more = width.saturating_sub(least).min(LONGEST_NAME - COLUMNS[1].width);
    let mut used = 0;
    COLUMNS
        .iter()
        .enumerate()
        .map(|(place, column)| (column, column.width + if place == 1 { more } else { 0 }))
        .take_while(|(_, width_of_column)| {
            used += width_of_column + 1;
            used - 1 <= width
        })
        .collect()
}

/// A line of these columns: all to the right but the name, which is cut where it is too long.
fn line(columns: &[(&Column, usize)], text: impl Fn(&Column) -> String) -> String {
    let words: Vec<String> = columns
        .iter()
        .map(|&(column, width)| match column.heading {
            "PROGRAM" => format!("{:<width$.width$}", text(column)),
            _ => format!("{:>width$.width$}", text(column)),
        })
        .collect();
    words.join(" ")
}

/// The table as lines, for where there is no terminal.
pub fn table(state: &State) -> String {
    let columns = columns(80);
    let lines = std::iter::once(line(&columns, |column| column.heading.to_string()))
        .chain(state.rows().iter().map(|row| line(&columns, |column| (column.text)(row))));
    lines.map(|line| line.trim_end().to_string() + "\n").collect()
}

// ---- Bars ----

/// Columns of bars, from the top line to the bottom one, the greatest as high as there is room.
fn bars(values: &[u64], width: usize, height: usize, unicode: bool) -> Vec<String> {
    let steps: &[&str] = if unicode {
        &["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
    } else {
        &[".", ":", "#"]
    };
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let full = (steps.len() * height) as u128;
    (0..height)
        .rev()
        .map(|level| {
            values
                .iter()
                .map(|&value| {
                    // What is there at all is seen.
                    let high = (u128::from(value) * full).div_ceil(u128::from(most)) as usize;
                    let cell = high.saturating_sub(level * steps.len()).min(steps.len());
                    let cell = if cell == 0 { " " } else { steps[cell - 1] };
                    format!("{} ", cell.repeat(width - 1))
                })
                .collect()
        })
        .collect()
}

/// What the parts of the curve are called: sessions that expire in less than that.
fn parts() -> Vec<String> {
    let mut names: Vec<String> =
        HORIZONS.iter().map(|&horizon| seconds(horizon.unsigned_abs())).collect();
    names[0] = "due".to_string();
    names.extend([">7d".to_string(), "never".to_string()]);
    names
}

/// The curve with its names below, in this many columns.
fn curve(row: &Row, columns: usize, height: usize, style: Style) -> Vec<Line<'static>> {
    let values = row.block.curve();
    let width = (columns.saturating_sub(14) / values.len()).clamp(2, 4);
    let most = values.iter().copied().max().unwrap_or(0);
    let mut lines: Vec<Line> = bars(values, width, height, style.unicode)
        .into_iter()
        .enumerate()
        .map(|(place, bars)| {
            let left = match place {
                0 => "expiring",
                1 => "within",
                _ => "",
            };
            Line::from(vec![
                Span::raw(format!("{left:<9}")),
                Span::styled(bars, style.colored(Color::Green)),
            ])
        })
        .collect();
    // Where they have no room side by side, every other one is named.
    let every = if width >= 4 { 1 } else { 2 };
    let cell = width * every;
    let names: String =
        parts().iter().step_by(every).map(|name| format!("{name:<cell$.cell$}")).collect();
    let names = if every == 1 { names + "r" } else { names };
    lines.push(Line::from(format!("{:<9}{names}", format!("of {}", short(most)))));
    lines
}

/// A histogram of durations.
fn histogram(name: &str, values: &[u64], height: usize, style: Style) -> Vec<Line<'static>> {
    let mut lines: Vec<Line> = bars(values, 3, height, style.unicode)
        .into_iter()
        .enumerate()
        .map(|(place, bars)| {
            let left = if place == 0 { name } else { "" };
            Line::from(vec![
                Span::raw(format!("{left:<8}")),
                Span::styled(bars, style.colored(Color::Green)),
            ])
        })
        .collect();
    let most = values.iter().copied().max().unwrap_or(0);
    let names: String = (0..STEPS)
        .step_by(4)
        .map(|step| format!("{:<12}", format!("<{}", duration(1000 << step))))
        .collect();
    lines.push(Line::from(format!("{:<8}{names}", format!("of {}", short(most)))));
    lines
}

// ---- The screen ----

/// Draws all of it.
pub fn draw(frame: &mut Frame, state: &mut State, style: Style) {
    let area = frame.area();
    if area.width < WIDTH || area.height < HEIGHT {
        frame.render_widget(
            Paragraph::new(vec![Line::from("terminal too small"), Line::from("(40x6, please)")]),
            area,
        );
        return;
    }
    let rows = |from: u16, count: u16| {
        Rect::new(area.x, area.y + from, area.width, count.min(area.height - from))
    };
    frame.render_widget(Paragraph::new(title(state, style)), rows(0, 1));
    let keys = if state.help || state.details {
        "q back"
    } else {
        "q quit  ? help  <> sort  r reverse  Enter details  t processes  p pause"
    };
    frame.render_widget(Paragraph::new(keys), rows(area.height - 1, 1));

    let body = rows(1, area.height - 2);
    match state.picked() {
        _ if state.help => frame.render_widget(Paragraph::new(HELP.map(Line::from).to_vec()), body),
        Some((_, row)) if state.details => {
            frame.render_widget(Paragraph::new(details(row, body, style)), body)
        }
        picked => {
            let pane = match picked {
                Some((_, row)) if area.height >= WITH_PANE => pane(row, area.width.into(), style),
                _ => Vec::new(),
            };
            let high = body.height - if pane.is_empty() { 0 } else { PANE };
            let table = table_lines(state, area.width.into(), high.into(), style);
            frame.render_widget(Paragraph::new(table), rows(1, high));
            frame.render_widget(Paragraph::new(pane), rows(1 + high, PANE.min(body.height - high)));
        }
    }
}

fn title(state: &State, style: Style) -> Line<'static> {
    if let Some(notice) = &state.notice {
        return Line::styled(
            notice.clone(),
            style.colored(Color::Red).add_modifier(Modifier::BOLD),
        );
    }
    let (processes, contexts) = state.count();
    let counted = |number: u64, what: &str, plural: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { plural })
    };
    let of = match state.pid() {
        Some(pid) => format!("process {pid}"),
        None => counted(processes, "process", "es"),
    };
    let way = if state.reversed() { ", reversed" } else { "" };
    let mut spans = vec![
        Span::styled("sslsweep", style.heading()),
        Span::raw(format!("  {of}, {}", counted(contexts, "context", "s"))),
    ];
    if state.paused() {
        spans.push(Span::styled(
            "  PAUSED",
            style.colored(Color::Yellow).add_modifier(Modifier::BOLD),
        ));
    } else {
        spans.push(Span::raw(format!("  every {}s", state.interval.as_secs_f64())));
    }
    spans.push(Span::raw(format!("  by {}{way}", state.sort().1)));
    Line::from(spans)
}

fn table_lines(state: &mut State, width: usize, height: usize, style: Style) -> Vec<Line<'static>> {
    let columns = columns(width);
    let page = height.saturating_sub(1);
    let picked = state.picked().map_or(0, |(place, _)| place);
    state.page = page;
    // Only as far as the row picked asks for.
    state.first = state.first.min(state.rows().len().saturating_sub(page)).min(picked);
    if picked >= state.first + page {
        state.first = picked + 1 - page;
    }
    let mut heading = Vec::new();
    for &(column, width) in &columns {
        let sorted = column.sort == Some(state.sort().0);
        let look = style.heading().add_modifier(if sorted {
            Modifier::REVERSED
        } else {
            Modifier::empty()
        });
        heading.push(Span::styled(
            line(&[(column, width)], |column| column.heading.to_string()),
            look,
        ));
        heading.push(Span::raw(" "));
    }
    heading.pop();
    let mut lines = vec![Line::from(heading)];
    for (place, row) in state.rows().iter().enumerate().skip(state.first).take(page) {
        let text = line(&columns, |column| (column.text)(row));
        let look = match row.key.2 {
            _ if place == picked => Look::new().add_modifier(Modifier::REVERSED),
            Place::All => Look::new().add_modifier(Modifier::BOLD),
            _ => Look::new(),
        };
        lines.push(Line::styled(format!("{text:<width$}"), look));
    }
    lines
}

fn name(row: &Row) -> String {
    let place = match row.key.2 {
        Place::All => "all contexts".to_string(),
        Place::Context(number) => format!("context {number}"),
        Place::Others => "contexts without a line".to_string(),
        Place::Ended => "contexts that have ended".to_string(),
    };
    format!("{} {}, {place}", row.program, row.key.0)
}

/// The last flush, in words.
fn last_flush(row: &Row) -> String {
    let figure = |word: Word| row.block.get(word);
    if figure(Word::Flushes) == 0 {
        return "no flush has removed anything yet".to_string();
    }
    let ago = figures::now().saturating_sub(figure(Word::LastFlush));
    format!(
        "last flush {} ago: {} removed in {}",
        seconds(ago),
        figure(Word::LastRemoved),
        duration(figure(Word::LastTook))
    )
}

fn pane(row: &Row, width: usize, style: Style) -> Vec<Line<'static>> {
    let rule = if style.unicode { "─" } else { "-" };
    let heading = format!("{} {} ", rule.repeat(2), name(row));
    let length = heading.chars().count();
    let mut lines =
        vec![Line::styled(heading + &rule.repeat(width.saturating_sub(length)), style.heading())];
    lines.extend(curve(row, width, 4, style));
    let figure = |word: Word| row.block.get(word);
    lines.push(Line::from(last_flush(row)));
    lines.push(Line::from(format!(
        "{} flushes ({}/s) removed {}; the longest batch held a lock for {}",
        short(figure(Word::Flushes)),
        rated(row, |rates| rates.flushes),
        short(figure(Word::Flushed)),
        duration(figure(Word::LongestBatch))
    )));
    lines
}

fn details(row: &Row, body: Rect, style: Style) -> Vec<Line<'static>> {
    let figure = |word: Word| row.block.get(word);
    let mut lines = vec![
        Line::styled(name(row), style.heading()),
        Line::from(match row.limit {
            Limit::Unknown => format!("stored {}", figure(Word::Sessions)),
            Limit::Any => format!("stored {} of any number", figure(Word::Sessions)),
            Limit::Most(most) => format!("stored {} of {most}", figure(Word::Sessions)),
        }),
        Line::from(format!(
            "stores {}  hits {}  misses {}  external hits {}",
            figure(Word::Stores),
            figure(Word::Hits),
            figure(Word::Misses),
            figure(Word::ExternalHits)
        )),
        Line::from(format!(
            "evicted {}  flushed {} in {} flushes  removed {}",
            figure(Word::Evictions),
            figure(Word::Flushed),
            figure(Word::Flushes),
            figure(Word::Removals)
        )),
        Line::from(format!(
            "{}; longest batch {}",
            last_flush(row),
            duration(figure(Word::LongestBatch))
        )),
        Line::from(""),
    ];
    let height = if body.height >= 22 { 4 } else { 2 };
    lines.extend(curve(row, body.width.into(), height, style));
    lines.push(Line::from(""));
    lines.extend(histogram("flushes", row.block.times(Word::FlushTimes), height.min(3), style));
    lines.extend(histogram("batches", row.block.times(Word::BatchTimes), height.min(3), style));
    lines
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::figures::Reading;
    use crate::figures::tests::figures;
    use proptest::prelude::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use std::time::{Duration, Instant};

    const ASCII: Style = Style { color: false, unicode: false };

    /// A process with two contexts, seen twice.
    pub fn sample() -> State {
        let look = |more: u64| {
            let word = |word: Word| word as usize;
            let mut first = vec![
                (0, 1),
                (word(Word::Sessions), 18_240),
                (word(Word::Limit), 20_480),
                (word(Word::Stores), 91_000 + 310 * more),
                (word(Word::Hits), 240_000 + 1270 * more),
                (word(Word::Misses), 6_000 + 12 * more),
                (word(Word::Evictions), 500 + 2 * more),
                (word(Word::Flushed), 72_000 + 306 * more),
                (word(Word::Flushes), 357 + more),
                (word(Word::LongestBatch), 21_300),
                // After now, whenever that is, which makes it no time ago.
                (word(Word::LastFlush), u64::MAX),
                (word(Word::LastRemoved), 306),
                (word(Word::LastTook), 148_000),
            ];
            let parts = [0, 310, 640, 905, 1800, 4100, 6200, 3900, 380, 5, 0, 0, 0, 0, 0, 0];
            first.extend(
                parts.iter().enumerate().map(|(part, &value)| (word(Word::Curve) + part, value)),
            );
            first.extend(
                [(7, 140), (8, 201), (9, 16)]
                    .map(|(step, value)| (word(Word::FlushTimes) + step, value)),
            );
            first.extend(
                [(3, 900), (4, 1400), (5, 20)]
                    .map(|(step, value)| (word(Word::BatchTimes) + step, value)),
            );
            let second = [
                (0, 2),
                (word(Word::Sessions), 12),
                (word(Word::Stores), 40),
                (word(Word::Misses), 3),
                (word(Word::Curve) + 15, 12),
            ];
            Reading { processes: vec![figures(&[(2, &first), (3, &second)])], ..Reading::default() }
        };
        let mut state = State::new(None);
        let now = Instant::now();
        state.update(look(0), now);
        state.update(look(1), now + Duration::from_secs(1));
        state
    }

    fn screen(state: &mut State, width: u16, height: u16, style: Style) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a buffer");
        terminal.draw(|frame| draw(frame, state, style)).expect("it draws");
        let buffer = terminal.backend().buffer();
        (0..height)
            .map(|y| {
                (0..width)
                    .map(|x| buffer[(x, y)].symbol())
                    .collect::<String>()
                    .trim_end()
                    .to_string()
            })
            .collect()
    }

    #[test]
    fn eighty_columns() {
        let mut state = sample();
        let lines = screen(&mut state, 80, 24, ASCII);
        assert_eq!(lines[0], "sslsweep  1 process, 2 contexts  every 1s  by PID");
        assert_eq!(
            lines[1],
            "    PID PROGRAM    CTX HELD/SIZE STO/s HIT/s MIS/s EVI/s EXP/s FLUSH  TOOK  LOCK"
        );
        assert_eq!(
            lines[2],
            "   4711 nginx      all   18k/any   310  1270    12   2.0   306   306 148us  21us"
        );
        assert_eq!(
            lines[3],
            "   4711 nginx        1   18k/20k   310  1270    12   2.0   306   306 148us  21us"
        );
        assert_eq!(
            lines[4],
            "   4711 nginx        2    12/any     0     0     0     0     0     0     0     0"
        );
        assert!(lines[15].starts_with("-- nginx 4711, all contexts ---"));
        assert_eq!(
            lines[20],
            "of 6200  due 10s 30s 1m  2m  5m  10m 30m 1h  2h  6h  12h 1d  7d  >7d never"
        );
        assert!(
            lines[22].contains(
                "358 flushes (1.0/s) removed 72k; the longest batch held a lock for 21us"
            )
        );
        assert!(lines.iter().all(|line| line.is_ascii()));
    }

    #[test]
    fn details_and_help() {
        let mut state = sample();
        for code in [KeyCode::Down, KeyCode::Enter] {
            state.key(KeyEvent::new(code, KeyModifiers::NONE));
        }
        let lines = screen(&mut state, 80, 24, ASCII);
        assert_eq!(lines[2], "stored 18240 of 20480");
        assert_eq!(lines[3], "stores 91310  hits 241270  misses 6012  external hits 0");
        assert_eq!(lines[4], "evicted 502  flushed 72306 in 358 flushes  removed 0");
        assert!(
            lines.iter().any(|line| line.starts_with("of 1400 <1.0us      <16us")),
            "{lines:#?}"
        );
        state.key(KeyEvent::new(KeyCode::Char('?'), KeyModifiers::NONE));
        assert!(screen(&mut state, 80, 24, ASCII)[1].starts_with("HELD/SIZE  sessions stored"));
    }

    #[test]
    fn bars_show_what_is_there() {
        assert_eq!(
            bars(&[0, 1, 1000, 500], 2, 2, false),
            ["    # . ".to_string().replace(" . ", "   "), "  . # # ".to_string()]
        );
        assert_eq!(bars(&[u64::MAX, 0], 2, 1, true), ["█   "]);
    }

    #[test]
    fn small_terminals() {
        for (width, height) in [(20, 24), (1, 1), (39, 24), (80, 5)] {
            let lines = screen(&mut sample(), width, height, ASCII);
            let wanted: String = "terminal too small".chars().take(width.into()).collect();
            assert_eq!(lines[0], wanted);
        }
        let lines = screen(&mut sample(), 40, 6, ASCII);
        assert_eq!(lines[1], "    PID PROGRAM    CTX HELD/SIZE STO/s");
    }

    #[test]
    fn a_table_of_any_width_is_at_most_that_wide() {
        for width in 40..200 {
            let used: usize = columns(width).iter().map(|(_, width)| width + 1).sum();
            assert!(used - 1 <= width, "{width}");
        }
    }

    proptest! {
        /// Whatever is picked, shown and pressed, in terminals of any size.
        #[test]
        fn any_keys(width in 1_u16..200, height in 1_u16..60, keys in proptest::collection::vec(0_usize..14, 0..20), unicode: bool) {
            const KEYS: [KeyCode; 14] = [KeyCode::Up, KeyCode::Down, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home,
                KeyCode::End, KeyCode::Enter, KeyCode::Esc, KeyCode::Char('?'), KeyCode::Char('<'), KeyCode::Char('>'),
                KeyCode::Char('r'), KeyCode::Char('t'), KeyCode::Char('p')];
            let mut state = sample();
            for key in keys {
                state.key(KeyEvent::new(KEYS[key], KeyModifiers::NONE));
                screen(&mut state, width, height, Style { color: true, unicode });
            }
        }
    }
}
