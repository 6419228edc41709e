//! The processes of a program together.

use super::block::Block;
use super::process::{Figures, Limit, Place};
use super::sharing::Sharing;
use super::verdict::Verdict;

/// The processes of one program.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its processes, at least one.
    pub processes: Vec<&'a Figures>,
}

/// The processes by program, in the order of the first of each.
pub fn programs(processes: &[Figures]) -> Vec<Program<'_>> {
    let mut programs: Vec<Program> = Vec::new();
    for figures in processes {
        match programs.iter_mut().find(|program| program.name == figures.program) {
            Some(program) => program.processes.push(figures),
            None => programs.push(Program { name: &figures.program, processes: vec![figures] }),
        }
    }
    programs
}

impl Program<'_> {
    /// The sums of all its processes.
    pub fn total(&self) -> Block {
        self.processes.iter().fold(Block::EMPTY, |sum, figures| sum.with(&figures.total()))
    }

    /// The sums of the counts of sharing of its processes.
    pub fn sharing(&self) -> Sharing {
        let all = self.processes.iter().map(|figures| &figures.sharing);
        all.fold(Sharing::default(), |sum, sharing| sum.with(sharing))
    }

    /// The limit of all its processes together.
    pub fn limit(&self) -> Limit {
        let limits = self.processes.iter().map(|figures| figures.limit(Place::All));
        limits.reduce(Limit::with).unwrap_or(Limit::Unknown)
    }

    /// The verdict of all its processes together.
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.processes.iter().map(|figures| Verdict::of_process(figures));
        verdicts.min().unwrap_or(Verdict::Unused)
    }
}
