//! `sslsweep top`: shows the caches again and again. [`state`] holds what is shown and obeys the keys, [`view`] and
//! [`panes`] draw on the [`terminal`]. This file has the clock, and prints lines if there is no terminal.

mod columns;
mod panes;
#[cfg(test)]
mod picture;
mod rates;
mod rows;
mod state;
mod style;
mod terminal;
mod view;

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use sslsweep_figures::files::start_of;

use crate::arguments::Top;
use crate::figures::{self, Reading};
use crate::output::{Failure, print, say};
use crate::selection::Target;
use crate::stat;
use crate::text::plain;
use state::{Next, State};
use terminal::{Event, Screen};

/// The end of watching.
enum End {
    /// It was asked for.
    Asked,
    /// A signal came.
    Signal(i32),
    /// The watched processes have ended, which is no failure.
    Ended(String),
    /// Something else failed.
    Failed(String),
}

/// Shows the caches until told to stop.
pub fn top(options: &Top) -> Result<(), Failure> {
    let reading = figures::read_each(&options.selection.targets)?;
    // Nothing is known about terminals without a name, so they get lines.
    let unable = ["", "dumb", "unknown"];
    let able = std::env::var("TERM").is_ok_and(|name| !unable.contains(&name.as_str()));
    let end = if io::stdout().is_terminal() && able {
        let failed = |error: io::Error| {
            let why = plain(&error);
            Failure::new(
                1,
                format!("the terminal cannot be used: {why}; sslsweep top | cat prints lines"),
            )
        };
        let screen = Screen::new().map_err(failed)?;
        // The screen is dropped before a message is written.
        watch(options, reading, screen).map_err(failed)?
    } else {
        lines(options, reading)?
    };
    match end {
        End::Asked => Ok(()),
        End::Signal(signal) => Ok(signal_hook::low_level::emulate_default_handler(signal)?),
        End::Ended(what) => {
            say(&what);
            Ok(())
        }
        End::Failed(why) => Err(Failure::new(1, why)),
    }
}

/// Reads the figures again; the error is the end, if there are none any more.
fn again(targets: &[Target]) -> Result<Reading, End> {
    let reading = figures::read(targets);
    if targets.is_empty() || !reading.processes.is_empty() {
        return Ok(reading);
    }
    let has_ended = |target: &Target| match target {
        Target::Pid(pid) => start_of(*pid).is_none(),
        Target::Name(_) => true,
    };
    let ended = || match targets {
        [Target::Pid(pid)] => format!("process {pid} has ended"),
        _ => {
            "all processes that were watched have ended, or publish no figures any more".to_string()
        }
    };
    Err(match figures::missing(targets, &reading) {
        _ if targets.iter().all(has_ended) && reading.complaints.is_empty() => End::Ended(ended()),
        Some(why) => End::Failed(why),
        None => return Ok(reading),
    })
}

// ---- Lines ----

fn lines(options: &Top, mut reading: Reading) -> Result<End, Failure> {
    let mut state = State::new(&options.selection, options.interval);
    let mut said = HashSet::new();
    let mut looks = 0;
    loop {
        for complaint in &reading.complaints {
            if said.insert(complaint.clone()) {
                say(complaint);
            }
        }
        if reading.processes.is_empty() {
            print(&format!("{}\n\n", stat::nothing(&reading)))?;
        }
        state.update(reading, Instant::now());
        if !state.rows.is_empty() {
            print(&format!("{}\n", view::lines(&state)))?;
        } else if state.counted.hidden > 0 {
            print("no cache is in force; --idle shows which are idle, and why\n\n")?;
        }
        looks += 1;
        if options.iterations == Some(looks) {
            return Ok(End::Asked);
        }
        if terminal::is_unread(options.interval)? {
            return Ok(End::Failed("nobody reads standard output any more".to_string()));
        }
        reading = match again(&options.selection.targets) {
            Ok(reading) => reading,
            Err(end) => return Ok(end),
        };
    }
}

// ---- The terminal ----

/// The longest time until a signal or the loss of the terminal is noticed.
const SLICE: Duration = Duration::from_millis(200);

fn watch(options: &Top, reading: Reading, screen: Screen) -> io::Result<End> {
    let area = || {
        let (columns, rows) = terminal::size();
        Rect::new(0, 0, columns, rows)
    };
    let mut now = area();
    let viewport = TerminalOptions { viewport: Viewport::Fixed(now) };
    let terminal = Terminal::with_options(CrosstermBackend::new(io::stdout()), viewport)?;
    // Its drop would show the cursor, as the screen's does, and panic if the terminal is gone.
    let mut terminal = ManuallyDrop::new(terminal);
    let style = style::Style::of_environment(options.no_color);
    let mut state = State::new(&options.selection, options.interval);
    state.update(reading, Instant::now());
    let mut due = Instant::now() + options.interval;
    let mut looks = 1;
    loop {
        if now != area() {
            now = area();
            terminal.resize(now)?;
        }
        terminal.draw(|frame| view::draw(frame, &mut state, style))?;
        let left = due.saturating_duration_since(Instant::now());
        match screen.wait(if state.paused { SLICE } else { left.min(SLICE) })? {
            Some(Event::Keys(keys)) if keys.iter().any(|&key| state.key(key) == Next::Quit) => {
                return Ok(End::Asked);
            }
            Some(Event::Keys(_)) => {}
            Some(Event::Redraw) => terminal.clear()?,
            Some(Event::Signal(signal)) => return Ok(End::Signal(signal)),
            Some(Event::Gone) => return Ok(End::Failed("the terminal is gone".to_string())),
            None => {}
        }
        if !state.paused && Instant::now() >= due {
            if options.iterations == Some(looks) {
                return Ok(End::Asked);
            }
            match again(&options.selection.targets) {
                Ok(reading) => state.update(reading, Instant::now()),
                Err(end) => return Ok(end),
            }
            looks += 1;
            due = Instant::now() + options.interval;
        }
    }
}
