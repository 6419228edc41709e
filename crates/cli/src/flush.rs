//! `sslsweep flush`: a flush by the operator. A word in the figures of each process is the request. Every context obeys
//! at its next use, and answers in its own figures.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::arguments::Flush;
use crate::figures::{self, Block, Figures};
use crate::output::{Failure, print, say};
use sslsweep_figures::{REQUEST_ALL, Word};

/// The status if some contexts have yet to flush.
const REQUESTED: u8 = 3;

/// The time that contexts may take.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Asks the processes to flush, and waits for their answers.
pub fn flush(flush: &Flush) -> Result<(), Failure> {
    let reading = figures::read_each(&flush.targets)?;
    reading.notes.iter().for_each(|note| say(note));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let request = sslsweep_figures::request(now, flush.all);
    let mut refused = false;
    let mut refuse = |why: String| {
        refused = true;
        say(&why);
    };
    let mut asked = reading.processes;
    asked.retain(|process| figures::ask(process, request).map_err(&mut refuse).is_ok());
    let after = wait(&asked, request);
    print(&after.iter().map(|process| line(process, request)).collect::<String>())?;
    for process in asked.iter().filter(|it| !after.iter().any(|after| after.pid == it.pid)) {
        let (program, pid) = (&process.program, process.pid);
        if figures::lives(process) {
            refuse(format!(
                "{program} {pid} has been asked, but whether it has flushed is not known: its figures have been removed or damaged"
            ));
        } else {
            say(&format!("{program} {pid} has ended"));
        }
    }
    let waiting: Vec<String> =
        after.iter().filter_map(|process| waiting(process, request)).collect();
    waiting.iter().for_each(|line| say(line));
    match (refused, waiting.is_empty()) {
        (true, _) => Err(Failure::silent(1)),
        (_, false) => Err(Failure::silent(REQUESTED)),
        _ => Ok(()),
    }
}

/// Waits until all have answered, or for too long; returns their figures, without processes that have ended.
fn wait(asked: &[Figures], request: u64) -> Vec<Figures> {
    let until = Instant::now() + PATIENCE;
    loop {
        let after = figures::again(asked);
        if Instant::now() >= until || !after.iter().any(|it| is_unfinished(it, asked, request)) {
            return after;
        }
        sleep(PAUSE);
    }
}

/// The message about contexts that have yet to flush, if there are any.
fn waiting(process: &Figures, request: u64) -> Option<String> {
    let contexts = match outstanding(process, request) {
        0 => None,
        1 => Some("1 context".to_string()),
        contexts => Some(format!("{contexts} contexts")),
    };
    let others = "contexts without figures of their own".to_string();
    let others = others_may_wait(process).then_some(others);
    let all: Vec<String> = contexts.into_iter().chain(others).collect();
    (!all.is_empty()).then(|| {
        format!(
            "requested: done at the next use of the cache, of {} of {} {}",
            all.join(" and of "),
            process.program,
            process.pid
        )
    })
}

/// The line about a process that has flushed.
fn line(process: &Figures, request: u64) -> String {
    let removed: u64 = blocks(process)
        .filter(|block| has_answered(block, process, request))
        .map(|block| block.get(Word::AnsweredRemoved))
        .fold(0, u64::saturating_add);
    let left = process.total().get(Word::Sessions);
    format!("{} {}: {removed} sessions flushed, {left} stored\n", process.program, process.pid)
}

/// The contexts that may hold sessions.
fn blocks(process: &Figures) -> impl Iterator<Item = &Block> {
    process.contexts.iter().chain([&process.others])
}

/// The number of contexts that have yet to flush. Contexts without sessions need not.
fn outstanding(process: &Figures, request: u64) -> usize {
    let waits =
        |block: &&Block| block.get(Word::Sessions) > 0 && !has_answered(block, process, request);
    process.contexts.iter().filter(waits).count()
}

/// Returns whether contexts without a block of their own hold sessions: an answer from one says nothing about the rest.
fn others_may_wait(process: &Figures) -> bool {
    process.others.get(Word::Sessions) > 0
}

/// Returns whether a process has yet to finish: contexts have yet to flush, or their callbacks still run after the
/// sessions have left.
fn is_unfinished(process: &Figures, asked: &[Figures], request: u64) -> bool {
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

/// Returns whether a context has carried out this request, or the one that replaced it and removes as much. (Not any
/// greater number: the clock may have been set back.)
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
            // One has nothing to flush, one flushed earlier, one flushed expired sessions, one flushed all for a later
            // request, and one for a request of a clock that was set back.
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
        assert!(others_may_wait(&process) && is_unfinished(&process, &[], all));
    }
}
