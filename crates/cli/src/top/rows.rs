//! The rows of the table, for contexts, processes and programs.

use std::collections::BTreeMap;

use super::rates::{Averages, Process, together};
use crate::figures::{Block, Limit, Place, Sharing, Verdict};

/// The owner of a row's figures.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A process, or a part of it.
    Process(Process, Place),
    /// All processes of this name, and their number.
    Program(String, usize),
}

impl Subject {
    /// Returns whether the other is the same subject, with any number of processes.
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
    /// The counts of sharing of the process or program. They belong to none of its contexts alone.
    pub sharing: Sharing,
    /// The pid namespace, if it is not ours.
    pub namespace: Option<String>,
}

impl Row {
    /// Returns whether this row is all of its process: it is the first one of it.
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
            sharing: self.sharing.with(&other.sharing),
            namespace: self.namespace.clone().or_else(|| other.namespace.clone()),
        }
    }
}

/// A row for each program, from the rows of its processes.
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

/// The pid namespace of a process, if it is not ours and can be seen.
pub fn namespace(pid: u32) -> Option<String> {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    let its = of(&pid.to_string())?;
    (Some(&its) != of("self").as_ref()).then(|| crate::text::shown(its))
}
