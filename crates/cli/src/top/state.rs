//! The state of the screen: the rows and their order, the selected row, and the effect of keys.

use std::time::{Duration, Instant};

use super::columns::{COLUMNS, Column, sorting};
use super::rates::{History, Rates, WINDOWS};
use super::rows::{Row, Subject, namespace, programs};
use super::terminal::Key;
use crate::figures::{Figures, Place, Reading, Verdict};
use crate::selection::Selection;
use crate::stat;

/// The kind of thing that has a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Totals {
    Contexts,
    Processes,
    Programs,
}

/// The effect of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Go,
    Quit,
}

/// Numbers of processes, of contexts, including those without a line, and of lines that are hidden because they are idle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    pub processes: u64,
    pub contexts: u64,
    pub hidden: usize,
}

/// Everything that decides what is on the screen. Drawing sets `first` and `page`; only [`State::update`] and
/// [`State::key`] change the rest.
pub struct State {
    /// The time between two looks.
    pub interval: Duration,
    history: History,
    /// A row for each context and process.
    all: Vec<Row>,
    /// The rows that are shown.
    pub rows: Vec<Row>,
    /// The reason why something cannot be shown.
    pub notice: Option<String>,
    sort: usize,
    /// The order is reversed.
    pub reverse: bool,
    picked: usize,
    /// The first row on the screen.
    pub first: usize,
    /// The number of rows on the screen.
    pub page: usize,
    /// No more looks are taken.
    pub paused: bool,
    /// The page of help is shown.
    pub help: bool,
    /// The page of the selected row is shown.
    pub details: bool,
    /// The kind of thing that has a row.
    pub totals: Totals,
    idle: bool,
    window: usize,
    /// The numbers of the last look.
    pub counted: Counted,
}

impl State {
    /// The state before the first look.
    pub fn new(selection: &Selection, interval: Duration) -> State {
        State {
            interval,
            history: History::default(),
            all: Vec::new(),
            rows: Vec::new(),
            notice: None,
            sort: 0,
            reverse: false,
            picked: 0,
            first: 0,
            page: 1,
            paused: false,
            help: false,
            details: false,
            totals: Totals::Contexts,
            idle: selection.shows_idle(),
            window: 0,
            counted: Counted::default(),
        }
    }

    /// The selected row and its place.
    pub fn picked(&self) -> Option<(usize, &Row)> {
        Some((self.picked, self.rows.get(self.picked)?))
    }

    /// The column by which the rows are sorted.
    pub fn sort(&self) -> &'static Column {
        sorting().nth(self.sort).unwrap_or(&COLUMNS[0])
    }

    /// The rates that are shown.
    pub fn rates<'a>(&self, row: &'a Row) -> Option<&'a Rates> {
        row.averages[self.window].as_ref()
    }

    /// The time over which the rates are averages.
    pub fn window(&self) -> Duration {
        WINDOWS[self.window].max(self.interval)
    }

    /// Takes another look.
    pub fn update(&mut self, reading: Reading, now: Instant) {
        self.notice = match reading.complaints.first() {
            Some(complaint) => Some(complaint.clone()),
            None if reading.processes.is_empty() => Some(stat::nothing(&reading)),
            None => None,
        };
        self.history.begin(now);
        self.all.clear();
        self.counted = Counted::default();
        for figures in reading.processes {
            self.counted.processes += 1;
            let living = figures.begun.saturating_sub(figures.ended);
            self.counted.contexts = self.counted.contexts.saturating_add(living);
            self.take(&figures);
        }
        self.arrange();
    }

    fn take(&mut self, figures: &Figures) {
        let process = (figures.pid, figures.start);
        let namespace = namespace(figures.pid);
        // The history needs the sum of each process, even if the sum has no row.
        let whole = self.history.add(process, Place::All, &figures.total());
        for (place, block) in figures.places() {
            let averages = match place {
                Place::All => whole,
                _ => self.history.add(process, place, &block),
            };
            // A sum has no mode, so it has the state of its process.
            let verdict = match (place, Verdict::at(figures, place, &block)) {
                (Place::Others | Place::Ended, Verdict::Unknown) => Verdict::of_process(figures),
                (_, verdict) => verdict,
            };
            self.all.push(Row {
                subject: Subject::Process(process, place),
                program: figures.program.clone(),
                limit: figures.limit(place),
                verdict,
                block,
                averages,
                sharing: figures.sharing,
                namespace: namespace.clone(),
            });
        }
    }

    /// Makes the rows. The same row stays selected, or the row that is now in its place.
    fn arrange(&mut self) {
        let picked = self.rows.get(self.picked).map(|row| row.subject.clone());
        // The first row of a process is its sum, or its only row.
        let whole = self.all.iter().enumerate().filter(|&(place, row)| {
            self.totals == Totals::Contexts
                || row.is_whole(place.checked_sub(1).map(|it| &self.all[it]))
        });
        let mut rows: Vec<Row> = whole.map(|(_, row)| row.clone()).collect();
        if self.totals == Totals::Programs {
            rows = programs(&rows);
        }
        let all = rows.len();
        rows.retain(|row| self.idle || !row.verdict.is_idle());
        self.counted.hidden = all - rows.len();
        let sort = self.sort();
        rows.sort_by(|one, other| {
            let order = sort.compare(one, other, self.window);
            if self.reverse { order.reverse() } else { order }
        });
        self.rows = rows;
        let place =
            picked.and_then(|subject| self.rows.iter().position(|row| row.subject.is(&subject)));
        self.pick(place.unwrap_or(self.picked));
        self.details &= !self.rows.is_empty();
    }

    fn pick(&mut self, place: usize) {
        self.picked = place.min(self.rows.len().saturating_sub(1));
    }

    /// Obeys a key.
    pub fn key(&mut self, key: Key) -> Next {
        match key {
            Key::Control('c') => return Next::Quit,
            // First back to the table, then out.
            Key::Char('q') | Key::Escape if self.help || self.details => {
                (self.help, self.details) = (false, false);
            }
            Key::Char('q') | Key::Escape => return Next::Quit,
            Key::Char('?' | 'h') | Key::Help => self.help = !self.help,
            Key::Enter => self.details = !self.details && !self.rows.is_empty(),
            Key::Char('p' | ' ') => self.paused = !self.paused,
            Key::Up | Key::Char('k') => self.pick(self.picked.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.pick(self.picked + 1),
            Key::PageUp => self.pick(self.picked.saturating_sub(self.page.max(1))),
            Key::PageDown => self.pick(self.picked + self.page.max(1)),
            Key::Home | Key::Char('g') => self.pick(0),
            Key::End | Key::Char('G') => self.pick(usize::MAX),
            Key::Char('>') | Key::Right => self.sort = (self.sort + 1) % sorting().count(),
            Key::Char('<') | Key::Left => {
                self.sort = self.sort.checked_sub(1).unwrap_or(sorting().count() - 1);
            }
            Key::Char('r') => self.reverse = !self.reverse,
            Key::Char('i') => self.idle = !self.idle,
            Key::Char('a') => self.window = (self.window + 1) % WINDOWS.len(),
            Key::Char('t') => {
                self.totals = match self.totals {
                    Totals::Contexts => Totals::Processes,
                    Totals::Processes => Totals::Programs,
                    Totals::Programs => Totals::Contexts,
                };
            }
            _ => return Next::Go,
        }
        self.arrange();
        Next::Go
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::figures;
    use sslsweep_figures::{MODE_KNOWN, Word};

    fn look(stores: [u64; 2]) -> Reading {
        let figures = figures(&[
            (2, &[(0, 1), (Word::Stores as usize, stores[0])]),
            (3, &[(0, 2), (Word::Stores as usize, stores[1])]),
        ]);
        Reading { processes: vec![figures], ..Reading::default() }
    }

    fn state() -> State {
        State::new(&Selection::default(), Duration::from_secs(1))
    }

    fn press(state: &mut State, keys: &[Key]) {
        for &key in keys {
            assert_eq!(state.key(key), Next::Go);
        }
    }

    fn place(row: &Row) -> Option<Place> {
        match row.subject {
            Subject::Process(_, place) => Some(place),
            Subject::Program(..) => None,
        }
    }

    fn places(state: &State) -> Vec<Place> {
        state.rows.iter().filter_map(place).collect()
    }

    fn stores(state: &State) -> Vec<Option<f64>> {
        let stores = |row| state.rates(row).map(|rates| rates.get(Word::Stores));
        state.rows.iter().map(stores).collect()
    }

    #[test]
    fn rates_between_two_looks() {
        let mut state = state();
        let now = Instant::now();
        state.update(look([5, 0]), now);
        assert_eq!(stores(&state), [None; 3]);
        state.update(look([9, 2]), now + Duration::from_secs(2));
        assert_eq!(stores(&state), [3.0, 2.0, 1.0].map(Some));
        assert_eq!(state.counted, Counted { processes: 1, contexts: 2, hidden: 0 });
    }

    #[test]
    fn keys() {
        let (one, two) = (Place::Context(1), Place::Context(2));
        let mut state = state();
        let now = Instant::now();
        state.update(look([0, 0]), now);
        state.update(look([2, 5]), now + Duration::from_secs(1));
        assert_eq!(places(&state), [Place::All, one, two]);
        press(&mut state, &[Key::Down]);
        assert_eq!(state.picked().and_then(|(_, row)| place(row)), Some(one));
        press(&mut state, &[Key::Char('>'); 3]);
        assert_eq!((state.sort().heading, places(&state)), ("STO/s", vec![Place::All, two, one]));
        assert_eq!(state.picked().map(|(at, row)| (at, place(row))), Some((2, Some(one))));
        press(&mut state, &[Key::Char('r')]);
        assert_eq!(places(&state), [one, two, Place::All]);
        press(&mut state, &[Key::Char('r'), Key::Char('<'), Key::Char('t')]);
        assert_eq!((state.sort().heading, places(&state)), ("HELD/SIZE", vec![Place::All]));
        press(&mut state, &[Key::Char('p'), Key::End, Key::PageUp, Key::Enter, Key::Char('q')]);
        assert!(state.paused && !state.details);
        assert_eq!(state.key(Key::Char('q')), Next::Quit);
        assert_eq!(state.key(Key::Control('c')), Next::Quit);
    }

    #[test]
    fn windows() {
        let mut state = state();
        let now = Instant::now();
        for (second, stores) in [(0, 0), (8, 10), (10, 20)] {
            state.update(look([stores, 0]), now + Duration::from_secs(second));
        }
        assert_eq!((state.window().as_secs(), stores(&state)[0]), (1, Some(5.0)));
        press(&mut state, &[Key::Char('a')]);
        assert_eq!((state.window().as_secs(), stores(&state)[0]), (10, Some(2.0)));
        press(&mut state, &[Key::Char('a'), Key::Char('a')]);
        state.interval = Duration::from_secs(5);
        assert_eq!(state.window().as_secs(), 5, "no shorter than the time between two looks");
    }

    #[test]
    fn programs_are_the_sums_of_their_processes() {
        let mut state = state();
        let now = Instant::now();
        let reading = |stores: u64| {
            let mut reading = look([stores, 0]);
            let second = Figures { pid: 9, ..reading.processes[0].clone() };
            let other = Figures { program: "stunnel".into(), ..second.clone() };
            reading.processes.extend([second, Figures { pid: 10, ..other }]);
            reading
        };
        state.update(reading(1), now);
        state.update(reading(4), now + Duration::from_secs(1));
        press(&mut state, &[Key::Char('t'), Key::Char('t')]);
        let subjects: Vec<_> = state.rows.iter().map(|row| row.subject.clone()).collect();
        let program = |name: &str, count| Subject::Program(name.to_string(), count);
        assert_eq!(subjects, [program("nginx", 2), program("stunnel", 1)]);
        assert_eq!(stores(&state), [Some(6.0), Some(3.0)]);
        assert_eq!(state.rows[0].block.get(Word::Stores), 8);
        press(&mut state, &[Key::Char('t')]);
        assert_eq!(state.rows.len(), 9);
    }

    #[test]
    fn idle_ones_are_hidden_unless_asked_for() {
        let off = |number: u64| [(0, number), (Word::Mode as usize, MODE_KNOWN)];
        let one = figures(&[(2, &[(0, 1), (Word::Sessions as usize, 1)]), (3, &off(2))]);
        let two = Figures { pid: 9, ..figures(&[(2, &off(1)), (3, &off(2))]) };
        let reading =
            || Reading { processes: vec![one.clone(), two.clone()], ..Reading::default() };
        let mut state = state();
        state.update(reading(), Instant::now());
        assert_eq!(places(&state), [Place::All, Place::Context(1)]);
        assert_eq!(state.counted, Counted { processes: 2, contexts: 4, hidden: 4 });
        press(&mut state, &[Key::Char('i')]);
        assert_eq!((state.rows.len(), state.counted.hidden), (6, 0));
        let asked = Selection { targets: vec![], idle: true };
        let mut state = State::new(&asked, Duration::from_secs(1));
        state.update(reading(), Instant::now());
        assert_eq!(state.rows.len(), 6);
    }

    #[test]
    fn nothing_to_show() {
        let mut state = state();
        state.update(look([1, 1]), Instant::now());
        press(&mut state, &[Key::End]);
        state.update(Reading::default(), Instant::now());
        press(&mut state, &[Key::Down, Key::Enter, Key::Char('t'), Key::PageDown]);
        assert!(state.picked().is_none() && !state.details);
        assert!(state.notice.is_some_and(|notice| notice.contains("run --stats")));
    }
}
