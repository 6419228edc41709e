//! The cells: questions of the processes, and answers of the agent.

use super::super::slots::Name;
use super::bell::{Bell, Futex, Woken};
use super::sync::{AtomicU64, Ordering, fence, spin_loop};

/// The cells, each with a bit in the pending word. (A model has two.)
pub const CELLS: usize = if cfg!(sslsweep_model) { 2 } else { 64 };

/// The words of a cell: a cache line.
pub const CELL_WORDS: usize = if cfg!(sslsweep_model) { WAITERS + 1 } else { 8 };

// The words.
const NAME: usize = 0;
/// Belongs to the name, so that half of one and half of another is no question.
const CHECK: usize = 2;
/// Counts the answers.
const ANSWERS: usize = 3;
/// Those who sleep until there is an answer. (Whoever is killed there is counted on: a wake-up too many for each answer.)
const WAITERS: usize = 4;

/// The looks at the answer before a process sleeps: some microseconds, in which a sleep and a wake-up would not be over.
const SPINS: usize = if cfg!(sslsweep_model) { 0 } else { 200 };

/// A question that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    cell: usize,
    /// The answers that there were in the cell.
    seen: u64,
}

/// All cells, and the doorbell.
#[derive(Clone, Copy)]
pub struct Cells<'a> {
    words: &'a [AtomicU64],
    pending: &'a AtomicU64,
    bell: Bell<'a>,
}

impl<'a> Cells<'a> {
    /// The cells in these words: [`CELLS`] of [`CELL_WORDS`] each.
    pub fn new(words: &'a [AtomicU64], pending: &'a AtomicU64, bell: Bell<'a>) -> Self {
        Self { words, pending, bell }
    }

    fn cell(self, number: usize) -> &'a [AtomicU64] {
        &self.words[number % CELLS * CELL_WORDS..][..CELL_WORDS]
    }

    // --- A process ---------------------------------------------------------------------------

    /// Asks for the record of a name.
    pub fn ask(self, name: Name) -> Question {
        let number = name.stripe(CELLS);
        let cell = self.cell(number);
        // Before the agent can know of the question.
        let seen = cell[ANSWERS].load(Ordering::Acquire);
        cell[NAME].store(name.0[0], Ordering::Relaxed);
        cell[NAME + 1].store(name.0[1], Ordering::Relaxed);
        cell[CHECK].store(check(name), Ordering::Relaxed);
        // Release, so that the agent sees the name.
        self.pending.fetch_or(1 << number, Ordering::Release);
        Question { cell: number, seen }
    }

    /// Wakes the agent if it sleeps, and waits for an answer. Returns whether there is one.
    pub fn wait<F: Futex>(self, question: Question, futex: &F, deadline: F::Deadline) -> bool {
        self.bell.ring(futex);
        let cell = self.cell(question.cell);
        // Acquire, so that what the agent has put before is found.
        let is_answered = || cell[ANSWERS].load(Ordering::Acquire) != question.seen;
        let is_soon_answered = (0..SPINS).any(|_| {
            spin_loop();
            is_answered()
        });
        if is_soon_answered {
            return true;
        }
        cell[WAITERS].fetch_add(1, Ordering::Relaxed);
        // Pairs with that of `answer`: either the waiter is counted there, or the answer is seen here.
        fence(Ordering::SeqCst);
        while !is_answered() {
            match futex.wait(&cell[ANSWERS], question.seen, deadline) {
                Woken::Perhaps => {}
                Woken::Changed | Woken::Late => break,
            }
        }
        cell[WAITERS].fetch_sub(1, Ordering::Relaxed);
        is_answered()
    }

    // --- The agent ---------------------------------------------------------------------------

    /// Begins: what a former agent has left behind is no matter. Questions stay.
    pub fn attach(self) {
        self.bell.reset();
    }

    /// Takes the cells with questions, by bit.
    pub fn take_pending(self) -> u64 {
        self.pending.swap(0, Ordering::Acquire)
    }

    /// The name in a cell. `None` if two were asked for at once.
    pub fn name(self, number: usize) -> Option<Name> {
        let read = |at: usize| self.cell(number)[at].load(Ordering::Relaxed);
        let name = Name([read(NAME), read(NAME + 1)]);
        (read(CHECK) == check(name)).then_some(name)
    }

    /// Tells all who wait at a cell to look again.
    pub fn answer(self, number: usize, futex: &impl Futex) {
        let cell = self.cell(number);
        cell[ANSWERS].fetch_add(1, Ordering::Release);
        fence(Ordering::SeqCst);
        if cell[WAITERS].load(Ordering::Relaxed) != 0 {
            futex.wake(&cell[ANSWERS]);
        }
    }

    /// Sleeps until a process waits for an answer, or until the deadline, unless there are questions already.
    pub fn sleep<F: Futex>(self, futex: &F, deadline: F::Deadline) {
        self.bell.sleep(|| self.pending.load(Ordering::Relaxed) != 0, futex, deadline);
    }
}

/// A word that fits no other name, and is not 0.
fn check(name: Name) -> u64 {
    (name.0[0].rotate_left(32) ^ name.0[1]).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}
