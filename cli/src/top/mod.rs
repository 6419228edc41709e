//! `sslsweep top`: what the caches do, again and again. [`state`] is what is shown, and what keys change; [`view`]
//! draws it; here are the clock, the terminal, and lines where there is none.

#[cfg(test)]
mod picture;
mod state;
mod view;

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::arguments::Top;
use crate::figures::{self, Reading};
use crate::selection::Target;
use crate::{Failure, print, say, stat};
use state::{Next, State};

/// How a process that was watched came to be shown no longer.
enum End {
    /// It has ended, which is no failure.
    Ended(u32),
    /// There is something else in the way.
    Failed(String),
}

/// Shows what there is until told to stop.
pub fn top(options: &Top) -> Result<(), Failure> {
    let reading = figures::read(&options.selection.targets);
    if let Some(why) = figures::missing(&options.selection.targets, &reading) {
        return Err(Failure::new(1, why));
    }
    let able =
        std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb" && !terminal.is_empty());
    let end = if io::stdout().is_terminal() && able {
        screen(options, reading)?
    } else {
        lines(options, reading)?
    };
    match end {
        None => Ok(()),
        Some(End::Ended(pid)) => {
            say(&format!("process {pid} has ended"));
            Ok(())
        }
        Some(End::Failed(why)) => Err(Failure::new(1, why)),
    }
}

/// A further reading, or that there will be none.
fn again(targets: &[Target]) -> Result<Reading, End> {
    let reading = figures::read(targets);
    if targets.is_empty() || !reading.processes.is_empty() {
        return Ok(reading);
    }
    Err(match (targets, figures::missing(targets, &reading)) {
        ([Target::Pid(pid)], _) if figures::start_of(*pid).is_none() => End::Ended(*pid),
        (_, Some(why)) => End::Failed(why),
        (_, None) => return Ok(reading),
    })
}

/// The one process that is shown.
fn only(targets: &[Target]) -> Option<u32> {
    match targets {
        [Target::Pid(pid)] => Some(*pid),
        _ => None,
    }
}

// ---- Lines ----

fn lines(options: &Top, mut reading: Reading) -> Result<Option<End>, Failure> {
    let mut state = State::new(only(&options.selection.targets));
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
        if !state.rows().is_empty() {
            print(&format!("{}\n", view::table(&state)))?;
        }
        looks += 1;
        if options.iterations == Some(looks) {
            return Ok(None);
        }
        std::thread::sleep(options.interval);
        reading = match again(&options.selection.targets) {
            Ok(reading) => reading,
            Err(end) => return Ok(Some(end)),
        };
    }
}

// ---- The terminal ----

/// The terminal as we need it; as it was when this ends, however it does.
struct Screen;

impl Screen {
    fn new() -> io::Result<Screen> {
        let screen = Screen;
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            report(panic);
        }));
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

/// How long keys, signals and the loss of the terminal may wait.
const SLICE: Duration = Duration::from_millis(200);

fn screen(options: &Top, reading: Reading) -> Result<Option<End>, Failure> {
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
    }
    let end = {
        let _screen = Screen::new()?;
        watch(options, reading, &signal)
    };
    match signal.load(Ordering::Relaxed) {
        0 => end,
        number => {
            signal_hook::low_level::emulate_default_handler(number as i32)?;
            Ok(None)
        }
    }
}

fn watch(options: &Top, reading: Reading, signal: &AtomicUsize) -> Result<Option<End>, Failure> {
    let mut terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
    let style = view::Style::of_environment(options.no_color);
    let mut state = State::new(only(&options.selection.targets));
    state.interval = options.interval;
    state.update(reading, Instant::now());
    let mut due = Instant::now() + options.interval;
    let mut looks = 1;
    loop {
        terminal.draw(|frame| view::draw(frame, &mut state, style))?;
        let wait = due.saturating_duration_since(Instant::now());
        let wait = if state.paused() { SLICE } else { wait.min(SLICE) };
        if event::poll(wait)? {
            match event::read()? {
                Event::Key(key) if state.key(key) == Next::Quit => return Ok(None),
                // A size that changed is seen at the next drawing.
                _ => {}
            }
        }
        if signal.load(Ordering::Relaxed) != 0 || !io::stdout().is_terminal() {
            return Ok(None);
        }
        if !state.paused() && Instant::now() >= due {
            if options.iterations == Some(looks) {
                return Ok(None);
            }
            match again(&options.selection.targets) {
                Ok(reading) => state.update(reading, Instant::now()),
                Err(end) => return Ok(Some(end)),
            }
            looks += 1;
            due = Instant::now() + options.interval;
        }
    }
}
