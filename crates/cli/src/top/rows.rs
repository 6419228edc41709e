//! The rows of the table: of contexts, processes and programs, and how they are sorted.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::rates::{Averages, Process, Rates, together};
use crate::figures::{Block, Limit, Place};
use crate::verdict::Verdict;
use sslsweep_figures::Word;

/// Whose figures a row has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Process(Process, Place),
    /// All processes of this name, and how many there are.
    Program(String, usize),
}

impl Subject {
    /// Returns whether it is the same subject, whatever its number of processes is now.
    pub fn is(&self, other: &Subject) -> bool {
        match (self, other) {
            (Subject::Program(one, _), Subject::Program(other, _)) => one == other,
            _ => self == other,
        }
    }
}

/// A line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    pub subject: Subject,
    pub program: String,
    pub block: Block,
    pub limit: Limit,
    pub verdict: Verdict,
    pub averages: Averages,
    /// The pid namespace, if it is another one than ours.
    pub namespace: Option<String>,
}

impl Row {
    /// Returns whether it is all of its process.
    pub fn is_whole(&self, before: Option<&Row>) -> bool {
        let process = |row: &Row| match row.subject {
            Subject::Process(process, _) => Some(process),
            Subject::Program(..) => None,
        };
        before.is_none_or(|before| process(before) != process(self))
    }

    fn with(&self, other: &Row) -> Row {
        Row {
            subject: self.subject.clone(),
            program: self.program.clone(),
            block: self.block.with(&other.block),
            limit: self.limit.with(other.limit),
            verdict: self.verdict.min(other.verdict),
            averages: together(&self.averages, &other.averages),
            namespace: self.namespace.clone().or_else(|| other.namespace.clone()),
        }
    }

    /// The order of two rows: names rise, figures fall.
    pub fn compare(&self, other: &Row, sort: Sort, window: usize) -> Ordering {
        let figure = |word: Word| other.block.get(word).cmp(&self.block.get(word));
        let by = |of: &dyn Fn(&Rates) -> f64| {
            let of = |row: &Row| row.averages[window].as_ref().map_or(-1.0, of);
            of(other).total_cmp(&of(self))
        };
        let rate = |word: Word| by(&|rates| rates.get(word));
        let order = match sort {
            Sort::Process => Ordering::Equal,
            Sort::Program => self.program.cmp(&other.program),
            Sort::Held => figure(Word::Sessions),
            Sort::Stores => rate(Word::Stores),
            Sort::Hits => rate(Word::Hits),
            Sort::HitRate => by(&|rates| rates.hit_rate().unwrap_or(-1.0)),
            Sort::Misses => rate(Word::Misses),
            Sort::Evictions => rate(Word::Evictions),
            Sort::Flushed => rate(Word::Flushed),
            Sort::Lock => figure(Word::LongestBatch),
            Sort::Verdict => self.verdict.cmp(&other.verdict),
        };
        order.then_with(|| self.subject.cmp(&other.subject))
    }
}

/// The column that rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Process,
    Program,
    Held,
    Stores,
    Hits,
    HitRate,
    Misses,
    Evictions,
    Flushed,
    Lock,
    Verdict,
}

pub const SORTS: [Sort; 11] = [
    Sort::Process,
    Sort::Program,
    Sort::Held,
    Sort::Stores,
    Sort::Hits,
    Sort::HitRate,
    Sort::Evictions,
    Sort::Flushed,
    Sort::Lock,
    Sort::Verdict,
    Sort::Misses,
];

/// A row for each program, of the rows of its processes.
pub fn programs(processes: &[Row]) -> Vec<Row> {
    let mut programs: BTreeMap<&str, (Row, usize)> = BTreeMap::new();
    for row in processes {
        programs
            .entry(&row.program)
            .and_modify(|(sum, count)| (*sum, *count) = (sum.with(row), *count + 1))
            .or_insert_with(|| (row.clone(), 1));
    }
    let named = |(name, (sum, count)): (&str, (Row, usize))| Row {
        subject: Subject::Program(name.to_string(), count),
        ..sum
    };
    programs.into_iter().map(named).collect()
}

/// The pid namespace of a process, if it is another one than ours and can be seen.
pub fn namespace(pid: u32) -> Option<String> {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    let its = of(&pid.to_string())?;
    (Some(&its) != of("self").as_ref()).then(|| crate::text::shown(its))
}
