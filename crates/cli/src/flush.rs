//! `sslsweep flush`: an operator's flush. A word in the figures of each process asks for it; every context obeys with its next
//! use, and says so beside its own figures.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::arguments::Flush;
use crate::figures::{self, Block, Figures};
use crate::{Failure, print, say};
use sslsweep_figures::{REQUEST_ALL, Word};

/// The status if some contexts have yet to flush.
const REQUESTED: u8 = 3;

/// How long contexts that are in use may take.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Asks, and waits for the answers.
pub fn flush(flush: &Flush) -> Result<(), Failure> {
    let reading = figures::read(&flush.targets);
    if let Some(why) = figures::missing(&flush.targets, &reading) {
        return Err(Failure::new(1, why));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let request = sslsweep_figures::request(now, flush.all);
    let mut asked = Vec::new();
    let mut refused = false;
    reading.notes.iter().for_each(|note| say(note));
    for process in reading.processes {
        match figures::ask(&process, request) {
            Ok(()) => asked.push(process),
            Err(why) => {
                refused = true;
                say(&why);
            }
        }
    }
    let until = Instant::now() + PATIENCE;
    let mut after = figures::again(&asked);
    while Instant::now() < until && after.iter().any(|process| is_at_it(process, &asked, request)) {
        sleep(PAUSE);
        after = figures::again(&asked);
    }
    print(&after.iter().map(|process| line(process, request)).collect::<String>())?;
    for process in asked.iter().filter(|it| !after.iter().any(|after| after.pid == it.pid)) {
        if figures::lives(process) {
            refused = true;
            say(&format!(
                "{} {} has been asked, but whether it has flushed is not known: its figures have been removed or damaged",
                process.program, process.pid
            ));
        } else {
            say(&format!("{} {} has ended", process.program, process.pid));
        }
    }
    let mut waits = false;
    for process in &after {
        let contexts = match outstanding(process, request) {
            0 => String::new(),
            1 => "1 context".to_string(),
            contexts => format!("{contexts} contexts"),
        };
        let others =
            if others_may_wait(process) { "contexts without figures of their own" } else { "" };
        let both: Vec<&str> =
            [contexts.as_str(), others].into_iter().filter(|it| !it.is_empty()).collect();
        if !both.is_empty() {
            waits = true;
            say(&format!(
                "requested: done at the next use of the cache, of {} of {} {}",
                both.join(" and of "),
                process.program,
                process.pid
            ));
        }
    }
    match (refused, waits) {
        (true, _) => Err(Failure::silent(1)),
        (_, true) => Err(Failure::silent(REQUESTED)),
        _ => Ok(()),
    }
}

/// The line that says what a process has done.
fn line(process: &Figures, request: u64) -> String {
    let removed: u64 = blocks(process)
        .filter(|block| has_answered(block, process, request))
        .map(|block| block.get(Word::AnsweredRemoved))
        .fold(0, u64::saturating_add);
    let left = process.total().get(Word::Sessions);
    format!("{} {}: {removed} sessions flushed, {left} stored\n", process.program, process.pid)
}

/// Those that may hold sessions.
fn blocks(process: &Figures) -> impl Iterator<Item = &Block> {
    process.contexts.iter().chain([&process.others])
}

/// The contexts that have yet to flush: those without sessions need not.
fn outstanding(process: &Figures, request: u64) -> usize {
    let waits =
        |block: &&Block| block.get(Word::Sessions) > 0 && !has_answered(block, process, request);
    process.contexts.iter().filter(waits).count()
}

/// Returns whether contexts without a block of their own hold sessions. The answer of one of them says nothing of the rest.
fn others_may_wait(process: &Figures) -> bool {
    process.others.get(Word::Sessions) > 0
}

/// Returns whether it is worth waiting for a process: contexts have yet to flush, or are in the middle of it, when their
/// sessions have left and their callbacks still run.
fn is_at_it(process: &Figures, asked: &[Figures], request: u64) -> bool {
    let before = asked.iter().find(|it| it.pid == process.pid);
    let flushed = |block: &Block| {
        let former = before.and_then(|before| {
            blocks(before).find(|it| it.get(Word::Number) == block.get(Word::Number))
        });
        former.is_some_and(|former| block.get(Word::Flushed) > former.get(Word::Flushed))
    };
    outstanding(process, request) > 0
        || others_may_wait(process)
        || blocks(process).any(|block| flushed(block) && !has_answered(block, process, request))
}

/// Returns whether a context has carried this request out, or the one that has taken its place and removes as much. (Not
/// any greater one: the clock may have been set back since.)
fn has_answered(block: &Block, process: &Figures, request: u64) -> bool {
    let answered = block.get(Word::Answered);
    answered == request
        || answered != 0
            && answered == process.request
            && answered & REQUEST_ALL >= request & REQUEST_ALL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::{OTHERS, figures};

    #[test]
    fn answers() {
        let (sessions, answered) = (Word::Sessions as usize, Word::Answered as usize);
        let removed = Word::AnsweredRemoved as usize;
        let (expired, all) =
            (sslsweep_figures::request(1000, false), sslsweep_figures::request(1000, true));
        let mut process = figures(&[
            // Has nothing to flush; has flushed earlier; has flushed what had expired; all, by a later request; by one of a
            // clock that has been set back since.
            (2, &[(0, 1)]),
            (3, &[(0, 2), (sessions, 5), (answered, 900), (removed, 100)]),
            (4, &[(0, 3), (sessions, 5), (answered, expired), (removed, 20)]),
            (5, &[(0, 4), (sessions, 5), (answered, all + 10), (removed, 3)]),
            (6, &[(0, 5), (sessions, 5), (answered, u64::MAX), (removed, 40)]),
            (OTHERS, &[(sessions, 1)]),
        ]);
        process.request = all + 10;
        assert_eq!(outstanding(&process, expired), 2);
        assert_eq!(outstanding(&process, all), 3);
        assert_eq!(line(&process, expired), "nginx 4711: 23 sessions flushed, 21 stored\n");
        assert_eq!(line(&process, all), "nginx 4711: 3 sessions flushed, 21 stored\n");
        assert!(others_may_wait(&process) && is_at_it(&process, &[], all));
    }
}
