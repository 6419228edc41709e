//! Rates per second: averages of counters over 1, 10 and 60 seconds.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::figures::{Block, Place};
use crate::text::rate;
use sslsweep_figures::Word;

/// A process: its pid and its start.
pub type Process = (u32, u64);

/// The times of the averages.
pub const WINDOWS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];

/// The counters that have rates.
const COUNTERS: [Word; 7] = [
    Word::Stores,
    Word::Hits,
    Word::Misses,
    Word::ExternalMisses,
    Word::Evictions,
    Word::Flushed,
    Word::Flushes,
];

type Counts = [u64; COUNTERS.len()];

/// The rates per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates([f64; COUNTERS.len()]);

impl Rates {
    /// The rate of one of these counters.
    pub fn get(&self, word: Word) -> f64 {
        let place = COUNTERS.iter().position(|&counter| counter == word);
        place.map_or(0.0, |place| self.0[place])
    }

    /// The sums of these rates and the other's.
    pub fn with(&self, other: &Rates) -> Rates {
        Rates(std::array::from_fn(|place| self.0[place] + other.0[place]))
    }

    /// The part of the lookups that found a session, as in [`Block::hit_rate`]; `None` without lookups.
    pub fn hit_rate(&self) -> Option<f64> {
        let hits = self.get(Word::Hits);
        let all = hits + (self.get(Word::Misses) - self.get(Word::ExternalMisses)).max(0.0);
        (all > 0.0).then(|| hits / all)
    }
}

/// A rate in words; a dash if it is not known yet.
pub fn rated(rates: Option<&Rates>, word: Word) -> String {
    rates.map_or("-".to_string(), |rates| rate(rates.get(word)))
}

/// The rates of a row, by window; `None` at the first look.
pub type Averages = [Option<Rates>; WINDOWS.len()];

/// The sums of two rows' rates.
pub fn together(one: &Averages, other: &Averages) -> Averages {
    std::array::from_fn(|window| match (one[window], other[window]) {
        (Some(one), Some(other)) => Some(one.with(&other)),
        (one, other) => one.or(other),
    })
}

/// The counters at one moment.
struct Look {
    at: Instant,
    counts: HashMap<(Process, Place), Counts>,
}

/// The looks of the last minute.
#[derive(Default)]
pub struct History {
    looks: VecDeque<Look>,
}

impl History {
    /// Begins a look, and forgets looks that no average needs any more.
    pub fn begin(&mut self, at: Instant) {
        let [shortest, .., longest] = WINDOWS;
        while self.looks.get(1).is_some_and(|look| at.duration_since(look.at) >= longest) {
            self.looks.pop_front();
        }
        // Older than the last second, one look for each second is enough.
        let old = self.looks.iter().rposition(|look| at.duration_since(look.at) > 2 * shortest);
        let is_close = |&old: &usize| {
            old > 0 && self.looks[old].at.duration_since(self.looks[old - 1].at) < shortest
        };
        if let Some(old) = old.filter(is_close) {
            self.looks.remove(old);
        }
        self.looks.push_back(Look { at, counts: HashMap::new() });
    }

    /// Adds the figures of one place in a process, and returns its rates.
    pub fn add(&mut self, process: Process, place: Place, block: &Block) -> Averages {
        let Some((now, before)) = self.looks.make_contiguous().split_last_mut() else {
            return Averages::default();
        };
        let counts = COUNTERS.map(|word| block.get(word));
        now.counts.insert((process, place), counts);
        // Contexts that have ended were counted before.
        if place == Place::Ended {
            return Averages::default();
        }
        WINDOWS.map(|window| {
            // The youngest look that is old enough and knows the process, or the oldest that does.
            let from = before
                .iter()
                .rposition(|look| now.at.duration_since(look.at) >= window)
                .unwrap_or(0);
            let known = |look: &&Look| look.counts.contains_key(&(process, Place::All));
            let then = before[from..].iter().find(known)?;
            // A context that this look does not know has begun since.
            let old = then.counts.get(&(process, place)).copied().unwrap_or_default();
            let elapsed = now.at.duration_since(then.at).as_secs_f64().max(0.001);
            Some(Rates(std::array::from_fn(|counter| {
                counts[counter].saturating_sub(old[counter]) as f64 / elapsed
            })))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::figures;

    fn block(stores: u64, hits: u64, misses: u64) -> Block {
        let words = [(Word::Stores, stores), (Word::Hits, hits), (Word::Misses, misses)]
            .map(|(word, value)| (word as usize, value));
        figures(&[(2, &[&[(0, 1)], &words[..]].concat())]).contexts[0]
    }

    fn stores(averages: Averages) -> [Option<f64>; 3] {
        averages.map(|rates| rates.map(|rates| rates.get(Word::Stores)))
    }

    #[test]
    fn averages_over_their_windows() {
        let (mut history, start, process) = (History::default(), Instant::now(), (1, 1));
        let mut look = |second: f64, count: u64| {
            history.begin(start + Duration::from_secs_f64(second));
            stores(history.add(process, Place::All, &block(count, 0, 0)))
        };
        assert_eq!(look(0.0, 5), [None; 3], "the first look");
        assert_eq!(look(1.0, 15), [Some(10.0); 3], "of what there is");
        for second in 2..=100 {
            let [short, ..] = look(f64::from(second), 15);
            assert_eq!(short, Some(0.0));
        }
        assert_eq!(look(101.0, 75), [Some(60.0), Some(6.0), Some(1.0)]);
        assert_eq!(look(102.0, 0), [Some(0.0); 3], "what falls is damaged, not negative");
    }

    #[test]
    fn frequent_looks_are_averaged_over_a_second_and_not_all_kept() {
        let (mut history, start, process) = (History::default(), Instant::now(), (1, 1));
        let mut last = [None; 3];
        for tenth in 0..1000_u32 {
            history.begin(start + Duration::from_millis(100) * tenth);
            last = stores(history.add(process, Place::All, &block(u64::from(tenth) * 3, 0, 0)));
        }
        for rate in last {
            assert!(rate.is_some_and(|rate| (rate - 30.0).abs() < 0.01), "{last:?}");
        }
        assert!(history.looks.len() < 100, "{}", history.looks.len());
    }

    #[test]
    fn a_new_context_of_a_known_process_is_counted_from_nothing() {
        let (mut history, start, process) = (History::default(), Instant::now(), (1, 1));
        history.begin(start);
        history.add(process, Place::All, &block(1, 0, 0));
        history.begin(start + Duration::from_secs(2));
        let new = history.add(process, Place::Context(2), &block(8, 0, 0));
        assert_eq!(stores(new), [Some(4.0); 3]);
        let other = history.add((2, 2), Place::All, &block(8, 0, 0));
        assert_eq!(stores(other), [None; 3], "a process that was not there");
        let ended = history.add(process, Place::Ended, &block(8, 0, 0));
        assert_eq!(stores(ended), [None; 3]);
        assert_eq!(stores(together(&new, &new)), [Some(8.0); 3]);
        assert_eq!(stores(together(&new, &other)), [Some(4.0); 3]);
    }

    #[test]
    fn hit_rates() {
        let (mut history, start, process) = (History::default(), Instant::now(), (1, 1));
        history.begin(start);
        history.add(process, Place::All, &block(0, 1000, 1000));
        history.begin(start + Duration::from_secs(2));
        let [rates, ..] = history.add(process, Place::All, &block(0, 1006, 1002));
        assert_eq!(rates.and_then(|rates| rates.hit_rate()), Some(0.75), "not of what was before");
        assert_eq!(Rates::default().hit_rate(), None);
    }
}
