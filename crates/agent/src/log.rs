//! What the agent says on standard error: each change of state once.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::Error;

/// Writes a line to standard error. A failure is ignored, because nobody could be told.
pub fn say(what: impl Display) {
    let _ = writeln!(io::stderr(), "sslsweep-shared: {what}");
}

/// Lines that others can cause as often as they want: each kind is written once in ten seconds at most.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<HashMap<&'static str, Instant>>);

impl Seldom {
    const PAUSE: Duration = Duration::from_secs(10);

    /// Writes a line, unless there was one of this kind just now.
    pub fn say(&self, kind: &'static str, what: impl Display) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(kind).is_none_or(|last| last.elapsed() >= Self::PAUSE) {
            last.insert(kind, Instant::now());
            say(what);
        }
    }
}

/// A connection of the agent's to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// For what has changed on this machine.
    Publishing,
    /// For what is asked for on this machine.
    Fetching,
    /// For what was removed on other machines.
    Removals,
}

impl Link {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Publishing, Self::Fetching, Self::Removals];

    /// For messages and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publishing => "publishing",
            Self::Fetching => "fetching",
            Self::Removals => "removals",
        }
    }
}

/// Which connections work.
#[derive(Debug, Default)]
pub struct Links {
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    up: [bool; Link::ALL.len()],
    /// Whether the log says at present that the engine can be used, if it says anything.
    told: Option<bool>,
}

impl Links {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after each statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection works.
    pub fn up(&self, link: Link) {
        let mut state = self.state();
        state.up[link as usize] = true;
        if state.up == [true; Link::ALL.len()] && state.told != Some(true) {
            state.told = Some(true);
            say("the engine answers; sessions are shared with other machines");
        }
    }

    /// A connection does not work. Only the first one is told.
    pub fn down(&self, link: Link, error: &Error) {
        let mut state = self.state();
        state.up[link as usize] = false;
        if state.told != Some(false) {
            state.told = Some(false);
            say(format_args!(
                "no sharing with other machines, until the engine answers: {}: {error}",
                link.name()
            ));
        }
    }

    /// Returns whether a connection works.
    pub fn is_up(&self, link: Link) -> bool {
        self.state().up[link as usize]
    }
}
