//! What is shown: a row for each context, its rates since the look before, the order, and the row that is picked.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::figures::{Block, Limit, Place, Reading};
use crate::stat;
use sslsweep_figures::Word;

/// What a row is of.
pub type Key = (u32, u64, Place);

/// How often each thing happened in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    pub stores: f64,
    pub hits: f64,
    pub misses: f64,
    pub evictions: f64,
    pub expiries: f64,
    pub flushes: f64,
}

/// A line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    pub key: Key,
    pub program: String,
    pub block: Block,
    pub limit: Limit,
    /// Not known at the first look.
    pub rates: Option<Rates>,
}

/// What to sort by. The order of these is that of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Process,
    Program,
    Held,
    Stores,
    Hits,
    Misses,
    Evictions,
    Expiries,
    Flush,
    Took,
    Lock,
}

pub const SORTS: [(Sort, &str); 11] = [
    (Sort::Process, "PID"),
    (Sort::Program, "PROGRAM"),
    (Sort::Held, "HELD"),
    (Sort::Stores, "STO/s"),
    (Sort::Hits, "HIT/s"),
    (Sort::Misses, "MIS/s"),
    (Sort::Evictions, "EVI/s"),
    (Sort::Expiries, "EXP/s"),
    (Sort::Flush, "FLUSH"),
    (Sort::Took, "TOOK"),
    (Sort::Lock, "LOCK"),
];

/// What a key leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Go,
    Quit,
}

/// All that decides what is on the screen.
pub struct State {
    pid: Option<u32>,
    /// Seconds between two looks, for the title.
    pub interval: Duration,
    rows: Vec<Row>,
    before: Option<(Instant, HashMap<Key, Block>)>,
    /// What to say of what can't be shown.
    pub notice: Option<String>,
    sort: usize,
    reverse: bool,
    picked: usize,
    /// The first row on the screen, and how many there are: the last drawing says.
    pub first: usize,
    pub page: usize,
    paused: bool,
    /// A page of help is shown, or all of the row picked.
    pub help: bool,
    pub details: bool,
    /// A row for each process alone.
    processes_only: bool,
    all_rows: Vec<Row>,
    count: (u64, u64),
}

impl State {
    pub fn new(pid: Option<u32>) -> State {
        State {
            pid,
            interval: Duration::from_secs(1),
            rows: Vec::new(),
            before: None,
            notice: None,
            sort: 0,
            reverse: false,
            picked: 0,
            first: 0,
            page: 1,
            paused: false,
            help: false,
            details: false,
            processes_only: false,
            all_rows: Vec::new(),
            count: (0, 0),
        }
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn picked(&self) -> Option<(usize, &Row)> {
        Some((self.picked, self.rows.get(self.picked)?))
    }

    pub fn paused(&self) -> bool {
        self.paused
    }

    pub fn sort(&self) -> (Sort, &'static str) {
        SORTS[self.sort]
    }

    pub fn reversed(&self) -> bool {
        self.reverse
    }

    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// How many processes and contexts there are, also contexts without a line of their own.
    pub fn count(&self) -> (u64, u64) {
        self.count
    }

    /// Takes a further look.
    pub fn update(&mut self, reading: Reading, now: Instant) {
        self.notice = match reading.complaints.first() {
            Some(complaint) => Some(complaint.clone()),
            None if reading.processes.is_empty() => Some(stat::nothing(&reading)),
            None => None,
        };
        let before = self.before.take();
        let mut blocks = HashMap::new();
        self.all_rows.clear();
        self.count = reading.processes.iter().fold((0, 0), |(processes, contexts), figures| {
            let living = figures.begun.saturating_sub(figures.ended);
            (processes + 1, living.saturating_add(contexts))
        });
        for figures in reading.processes {
            let known = before.as_ref().is_some_and(|(_, before)| {
                before.contains_key(&(figures.pid, figures.start, Place::All))
            });
            blocks.insert((figures.pid, figures.start, Place::All), figures.total());
            for (place, block) in figures.places() {
                let key = (figures.pid, figures.start, place);
                let rates = before.as_ref().filter(|_| known && place != Place::Ended).map(
                    |(then, before)| {
                        // A context that was not there has begun since then.
                        rates(
                            before.get(&key).unwrap_or(&Block::EMPTY),
                            &block,
                            now.duration_since(*then),
                        )
                    },
                );
                blocks.insert(key, block);
                let (program, limit) = (figures.program.clone(), figures.limit(place));
                self.all_rows.push(Row { key, program, block, limit, rates });
            }
        }
        self.before = Some((now, blocks));
        self.arrange();
    }

    /// Makes the rows anew; the one picked stays so, or the one that has come to its place is.
    fn arrange(&mut self) {
        let picked = self.rows.get(self.picked).map(|row| row.key);
        let only = self.processes_only;
        let mut last = None;
        // The first row of a process is its sum, or all there is.
        self.rows = self
            .all_rows
            .iter()
            .filter(|row| {
                last.replace((row.key.0, row.key.1)) != Some((row.key.0, row.key.1)) || !only
            })
            .cloned()
            .collect();
        let (sort, _) = self.sort();
        self.rows.sort_by(|one, other| {
            let order = compare(sort, one, other).then_with(|| one.key.cmp(&other.key));
            if self.reverse { order.reverse() } else { order }
        });
        let place = picked.and_then(|key| self.rows.iter().position(|row| row.key == key));
        self.pick(place.unwrap_or(self.picked));
    }

    fn pick(&mut self, place: usize) {
        self.picked = place.min(self.rows.len().saturating_sub(1));
    }

    /// Does what a key asks for.
    pub fn key(&mut self, key: KeyEvent) -> Next {
        if key.kind == KeyEventKind::Release {
            return Next::Go;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Next::Quit,
            _ if control => {}
            // The way back, and out.
            KeyCode::Char('q') | KeyCode::Esc if self.help || self.details => {
                (self.help, self.details) = (false, false);
            }
            KeyCode::Char('q') | KeyCode::Esc => return Next::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = !self.help,
            KeyCode::Enter => self.details = !self.details && !self.rows.is_empty(),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Up | KeyCode::Char('k') => self.pick(self.picked.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.pick(self.picked + 1),
            KeyCode::PageUp => self.pick(self.picked.saturating_sub(self.page.max(1))),
            KeyCode::PageDown => self.pick(self.picked + self.page.max(1)),
            KeyCode::Home | KeyCode::Char('g') => self.pick(0),
            KeyCode::End | KeyCode::Char('G') => self.pick(usize::MAX),
            KeyCode::Char('>') | KeyCode::Right => self.sort_by(self.sort + 1),
            KeyCode::Char('<') | KeyCode::Left => self.sort_by(self.sort + SORTS.len() - 1),
            KeyCode::Char('r') => {
                self.reverse = !self.reverse;
                self.arrange();
            }
            KeyCode::Char('t') => {
                self.processes_only = !self.processes_only;
                self.arrange();
            }
            _ => {}
        }
        Next::Go
    }

    fn sort_by(&mut self, sort: usize) {
        self.sort = sort % SORTS.len();
        self.arrange();
    }
}

/// Names rise, figures fall.
fn compare(sort: Sort, one: &Row, other: &Row) -> Ordering {
    let figure = |word: Word| other.block.get(word).cmp(&one.block.get(word));
    let rate = |of: fn(&Rates) -> f64| {
        let of = |row: &Row| row.rates.as_ref().map_or(-1.0, of);
        of(other).total_cmp(&of(one))
    };
    match sort {
        Sort::Process => Ordering::Equal,
        Sort::Program => one.program.cmp(&other.program),
        Sort::Held => figure(Word::Sessions),
        Sort::Stores => rate(|rates| rates.stores),
        Sort::Hits => rate(|rates| rates.hits),
        Sort::Misses => rate(|rates| rates.misses),
        Sort::Evictions => rate(|rates| rates.evictions),
        Sort::Expiries => rate(|rates| rates.expiries),
        Sort::Flush => figure(Word::LastRemoved),
        Sort::Took => figure(Word::LastTook),
        Sort::Lock => figure(Word::LongestBatch),
    }
}

fn rates(before: &Block, now: &Block, elapsed: Duration) -> Rates {
    let elapsed = elapsed.as_secs_f64().max(0.001);
    let rate = |word: Word| now.get(word).saturating_sub(before.get(word)) as f64 / elapsed;
    Rates {
        stores: rate(Word::Stores),
        hits: rate(Word::Hits),
        misses: rate(Word::Misses),
        evictions: rate(Word::Evictions),
        expiries: rate(Word::Flushed),
        flushes: rate(Word::Flushes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::figures;

    fn look(stores: [u64; 2]) -> Reading {
        let figures = figures(&[
            (2, &[(0, 1), (Word::Stores as usize, stores[0])]),
            (3, &[(0, 2), (Word::Stores as usize, stores[1])]),
        ]);
        Reading { processes: vec![figures], ..Reading::default() }
    }

    fn press(state: &mut State, keys: &[KeyCode]) {
        for &code in keys {
            assert_eq!(state.key(KeyEvent::new(code, KeyModifiers::NONE)), Next::Go);
        }
    }

    fn places(state: &State) -> Vec<Place> {
        state.rows().iter().map(|row| row.key.2).collect()
    }

    #[test]
    fn rates_between_two_looks() {
        let mut state = State::new(None);
        let now = Instant::now();
        state.update(look([5, 0]), now);
        assert!(state.rows().iter().all(|row| row.rates.is_none()));
        state.update(look([9, 2]), now + Duration::from_secs(2));
        let stores: Vec<_> =
            state.rows().iter().map(|row| row.rates.map(|rates| rates.stores)).collect();
        assert_eq!(stores, [Some(3.0), Some(2.0), Some(1.0)]);
        state.update(look([0, 2]), now + Duration::from_secs(3));
        assert_eq!(
            state.rows()[1].rates.map(|rates| rates.stores),
            Some(0.0),
            "what falls is damaged, not negative"
        );
        assert_eq!(state.count(), (1, 2));
    }

    #[test]
    fn keys() {
        let (one, two) = (Place::Context(1), Place::Context(2));
        let mut state = State::new(None);
        let now = Instant::now();
        state.update(look([0, 0]), now);
        state.update(look([2, 5]), now + Duration::from_secs(1));
        assert_eq!(places(&state), [Place::All, one, two]);
        press(&mut state, &[KeyCode::Down]);
        assert_eq!(state.picked().map(|(_, row)| row.key.2), Some(one));
        press(&mut state, &[KeyCode::Char('>'); 3]);
        assert_eq!((state.sort().1, places(&state)), ("STO/s", vec![Place::All, two, one]));
        assert_eq!(
            state.picked().map(|(place, row)| (place, row.key.2)),
            Some((2, one)),
            "it stays picked"
        );
        press(&mut state, &[KeyCode::Char('r')]);
        assert_eq!(places(&state), [one, two, Place::All]);
        press(&mut state, &[KeyCode::Char('r'), KeyCode::Char('<'), KeyCode::Char('t')]);
        assert_eq!((state.sort().1, places(&state)), ("HELD", vec![Place::All]));
        press(
            &mut state,
            &[
                KeyCode::Char('p'),
                KeyCode::End,
                KeyCode::PageUp,
                KeyCode::Enter,
                KeyCode::Char('q'),
            ],
        );
        assert!(state.paused() && !state.details);
        assert_eq!(state.key(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE)), Next::Quit);
        assert_eq!(state.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Next::Quit);
    }

    #[test]
    fn nothing_to_show() {
        let mut state = State::new(None);
        state.update(look([1, 1]), Instant::now());
        press(&mut state, &[KeyCode::End]);
        state.update(Reading::default(), Instant::now());
        press(&mut state, &[KeyCode::Down, KeyCode::Enter, KeyCode::Char('t'), KeyCode::PageDown]);
        assert!(state.picked().is_none() && !state.details);
        assert!(state.notice.is_some_and(|notice| notice.contains("run --stats")));
    }
}
