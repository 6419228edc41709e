//! `sslsweep stat`: the figures once.

use std::fmt::Write as _;

use crate::arguments::Stat;
use crate::figures::{self, Figures, Reading};
use crate::{Failure, metrics, print, say, text};
use sslsweep_figures::Word;

/// Prints what there is. The collector of Prometheus reads text files, so nothing at all is printed as nothing,
/// and not as an error.
pub fn stat(stat: &Stat) -> Result<(), Failure> {
    let reading = figures::read(&stat.selection.targets);
    if let Some(why) = figures::missing(&stat.selection.targets, &reading) {
        return Err(Failure::new(1, why));
    }
    if stat.json {
        print(&format!("{:#}\n", metrics::json(&reading.processes)))?;
    } else if stat.prometheus {
        print(&metrics::prometheus(&reading.processes))?;
    } else if reading.processes.is_empty() {
        say(&nothing(&reading));
    } else {
        print(&table(&reading.processes))?;
    }
    for figures in reading.processes.iter().filter(|figures| figures.left_shared > 0) {
        say(&format!(
            "{} {}: {} contexts are left to libssl, because they lie in memory that processes share",
            figures.program, figures.pid, figures.left_shared
        ));
    }
    reading.notes.iter().chain(&reading.complaints).for_each(|line| say(line));
    // One file that cannot be used is no reason to throw away what the others say.
    if reading.complaints.is_empty() || !reading.processes.is_empty() {
        Ok(())
    } else {
        Err(Failure::silent(1))
    }
}

/// That there is nothing to show, and what to do about it.
pub fn nothing(reading: &Reading) -> String {
    let others = match reading.foreign {
        0 => String::new(),
        many if figures::user() == 0 => format!(" ({many} files of other users cannot be used)"),
        many => format!(" ({many} files of other users: ask as root)"),
    };
    format!(
        "no process publishes statistics{others}; start one with: sslsweep run --stats -- PROGRAM"
    )
}

/// The columns: the heading, and the figure.
const COLUMNS: [(&str, Word); 12] = [
    ("HELD", Word::Sessions),
    ("SIZE", Word::Limit),
    ("STORES", Word::Stores),
    ("HITS", Word::Hits),
    ("MISSES", Word::Misses),
    ("EXTERNAL", Word::ExternalHits),
    ("EVICTED", Word::Evictions),
    ("FLUSHED", Word::Flushed),
    ("REMOVED", Word::Removals),
    ("FLUSHES", Word::Flushes),
    ("LAST", Word::LastRemoved),
    ("LOCKED", Word::LongestBatch),
];

/// A line for each context and one for each process, the counts in full.
fn table(processes: &[Figures]) -> String {
    let mut lines = vec![
        ["PID", "PROGRAM", "CTX"]
            .into_iter()
            .chain(COLUMNS.map(|(name, _)| name))
            .map(String::from)
            .collect(),
    ];
    for figures in processes {
        for (place, block) in figures.places() {
            let mut line =
                vec![figures.pid.to_string(), figures.program.replace(' ', "_"), place.to_string()];
            line.extend(COLUMNS.map(|(_, word)| match (word, block.get(word)) {
                (Word::Limit, _) => figures.limit(place).to_string(),
                (Word::LongestBatch, time) => text::duration(time),
                (_, number) => number.to_string(),
            }));
            lines.push(line);
        }
    }
    aligned(&lines)
}

/// Columns as wide as what is in them; all but the program's name to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| Some(line.get(column)?.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (column, word) in line.iter().enumerate() {
            let (space, width) = (if column == 0 { "" } else { " " }, widths[column]);
            let _ = match column {
                1 => write!(text, "{space}{word:<width$}"),
                _ => write!(text, "{space}{word:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}
