//! A mutual exclusion that outlives its holder: see [`super`].
//!
//! | state | in the lowest two bits | above them |
//! |---|---|---|
//! | `FREE` | 0 | 0 |
//! | `LOCKED` | held, and nobody sleeps | the holder's [`generation`] |
//! | `CONTENDED` | held, and somebody may sleep | the same |
//! | `HANDED` | left to a thread that has waited | the former holder's |
//!
//! It needs no memory and knows nothing of threads. (parking_lot's own `RawMutex` registers a destructor for a thread at its
//! first wait, for which the C library takes the dynamic loader's lock, and ends the process if it has no memory.)

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::lock_api::{self, GuardNoSend, RawMutex, RawMutexFair};

use super::alone::is_alone;
use super::generation::generation;
use crate::system;

const FREE: u32 = 0;
const LOCKED: u32 = 1;
const CONTENDED: u32 = 2;
const HANDED: u32 = 3;
const STATE: u32 = 3;

/// Looks at a held lock before a thread sleeps: most are held for less time than a sleep takes to begin.
const SPINS: u32 = 60;

/// How a lock was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Had {
    /// It was free, and what it guards is whole.
    Free,
    /// From a holder that does not exist in this process, who may have been half way through a change.
    TakenOver,
}

/// The lock itself, with a word for its state.
#[derive(Debug)]
pub(crate) struct Raw(AtomicU32);

/// The right to the value; unlocks when dropped.
pub(crate) type MutexGuard<'a, T> = lock_api::MutexGuard<'a, Raw, T>;

/// A value under a lock. No poison: a panic unlocks.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(lock_api::Mutex<Raw, T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(lock_api::Mutex::new(value))
    }

    /// Locks. Taken over from a holder that does not exist in this process, the value is forgotten and begins
    /// empty: it may be half changed, so that even dropping it is not safe.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T>
    where
        T: Default,
    {
        self.lock_or_mend(|value| std::mem::forget(std::mem::take(value)))
    }

    /// Locks, for a value that is changed in another way: `mend` makes it whole after the lock was taken over.
    #[inline]
    pub(crate) fn lock_or_mend(&self, mend: impl FnOnce(&mut T)) -> MutexGuard<'_, T> {
        let had = self.raw().acquire();
        let mut guard = self.guard();
        if had == Had::TakenOver {
            mend(&mut guard);
        }
        guard
    }

    /// Locks; `None` if the holder does not exist in this process.
    #[inline]
    pub(crate) fn lock_unless_dead(&self) -> Option<MutexGuard<'_, T>> {
        let own = generation();
        if !self.raw().take(own | LOCKED) {
            self.raw().wait(own, false)?;
        }
        Some(self.guard())
    }

    /// Locks if nobody holds the lock.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock()
    }

    #[inline]
    fn raw(&self) -> &Raw {
        // SAFETY: only the functions above use it, and unlock what they have not locked at no time.
        unsafe { self.0.raw() }
    }

    /// For a lock that this thread has just had.
    #[inline]
    fn guard(&self) -> MutexGuard<'_, T> {
        // SAFETY: called by the functions above alone, once for each time that they lock.
        unsafe { self.0.make_guard_unchecked() }
    }
}

// SAFETY: one thread at a time changes the word from FREE or HANDED, or from a holder that does not exist.
unsafe impl RawMutex for Raw {
    const INIT: Self = Self(AtomicU32::new(FREE));

    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock(&self) {
        self.acquire();
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.take(generation() | LOCKED)
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.release();
    }
}

// SAFETY: as above.
unsafe impl RawMutexFair for Raw {
    /// Unlocks for a thread that is asleep, if there is one: no other can come before it.
    unsafe fn unlock_fair(&self) {
        let held = self.0.load(Ordering::Relaxed);
        if held & STATE != CONTENDED {
            return self.release();
        }
        let word = &raw const self.0;
        let handed = held & !STATE | HANDED;
        self.0.store(handed, Ordering::Release);
        // Nobody was asleep any more: it is free again, and whoever fell asleep meanwhile is woken.
        if !system::wake_one(word)
            && self.0.compare_exchange(handed, FREE, Ordering::Release, Ordering::Relaxed).is_ok()
        {
            system::wake_one(word);
        }
    }
}

impl Raw {
    #[inline]
    fn release(&self) {
        if is_alone() {
            // Nobody sleeps.
            return self.0.store(FREE, Ordering::Release);
        }
        let word = &raw const self.0;
        if self.0.swap(FREE, Ordering::Release) & STATE == CONTENDED {
            // The word may be gone: whoever had the lock since may have freed it.
            system::wake_one(word);
        }
    }

    #[inline]
    fn acquire(&self) -> Had {
        let own = generation();
        if self.take(own | LOCKED) {
            return Had::Free;
        }
        loop {
            // (It is `None` only where nothing is taken over.)
            if let Some(had) = self.wait(own, true) {
                return had;
            }
        }
    }

    /// Waits until the lock is this thread's. `None` if the holder is dead and nothing is to be taken over.
    #[cold]
    fn wait(&self, own: u32, take_over: bool) -> Option<Had> {
        let (mut spins, mut slept) = (0, false);
        loop {
            let state = self.0.load(Ordering::Relaxed);
            let alive = state & !STATE == own;
            let had = match state & STATE {
                FREE => Had::Free,
                // Between two holders, so nobody was inside. Only a thread that has slept was meant.
                HANDED if !alive || slept => Had::Free,
                _ if !alive && take_over => Had::TakenOver,
                _ if !alive => return None,
                LOCKED if spins < SPINS => {
                    spins += 1;
                    std::hint::spin_loop();
                    continue;
                }
                LOCKED => {
                    let contended = own | CONTENDED;
                    let _ = self.change(state, contended);
                    continue;
                }
                _ => {
                    system::sleep_while(&self.0, state);
                    slept = true;
                    continue;
                }
            };
            // A thread that has slept can't know whether others still do.
            if self.change(state, own | if slept { CONTENDED } else { LOCKED }) {
                return Some(had);
            }
        }
    }

    /// Takes the lock if it is free.
    #[inline]
    fn take(&self, locked: u32) -> bool {
        if !is_alone() {
            return self.change(FREE, locked);
        }
        let free = self.0.load(Ordering::Relaxed) == FREE;
        if free {
            self.0.store(locked, Ordering::Relaxed);
        }
        free
    }

    fn change(&self, from: u32, to: u32) -> bool {
        self.0.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;
    use std::thread;

    use super::super::generation::in_child;
    use super::*;

    #[test]
    fn threads_take_turns() {
        const TIMES: u64 = if cfg!(miri) { 20 } else { 100_000 };
        let sum = Mutex::new(0u64);
        thread::scope(|scope| {
            for number in 0..4 {
                let sum = &sum;
                scope.spawn(move || {
                    for time in 0..TIMES {
                        let mut guard = sum.lock();
                        let before = *guard;
                        *guard = before + 1;
                        if (time + number) % 3 == 0 {
                            MutexGuard::unlock_fair(guard)
                        } else {
                            drop(guard)
                        }
                    }
                });
            }
        });
        assert_eq!(*sum.lock(), 4 * TIMES);
        assert_eq!(sum.raw().0.load(Ordering::Relaxed) & STATE, FREE);
    }

    #[test]
    fn what_is_held_is_not_had() {
        let mutex = Mutex::new(1);
        let guard = mutex.try_lock().expect("free");
        assert!(mutex.try_lock().is_none());
        drop(guard);
        assert!(mutex.try_lock().is_some() && mutex.lock_unless_dead().is_some());
    }

    /// Returns whether a thread sleeps. `thread` is its folder in `/proc`.
    fn sleeps(thread: &Path) -> bool {
        let stat = fs::read_to_string(thread.join("stat")).unwrap();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" S"))
    }

    /// Handed over, the lock goes to the thread that sleeps, though the one that had it asks again at once.
    #[test]
    #[cfg_attr(miri, ignore = "waits until a thread sleeps")]
    fn a_sleeper_comes_first() {
        for _ in 0..100 {
            let order = Mutex::new(Vec::new());
            thread::scope(|scope| {
                let guard = order.lock();
                let (tell, told) = mpsc::channel();
                let order = &order;
                scope.spawn(move || {
                    tell.send(fs::canonicalize("/proc/thread-self").unwrap()).unwrap();
                    order.lock().push("sleeper");
                });
                let sleeper = told.recv().unwrap();
                // CONTENDED: the thread is about to sleep. S: the kernel has it among those that a wake-up finds.
                while order.raw().0.load(Ordering::Relaxed) & STATE != CONTENDED
                    || !sleeps(&sleeper)
                {
                    thread::yield_now();
                }
                MutexGuard::unlock_fair(guard);
                order.lock().push("again");
            });
            let order = order.lock();
            assert!(*order == ["sleeper", "again"], "{order:?}");
        }
    }

    fn held_elsewhere<T: Default + Send>(
        mutex: &Mutex<T>,
        change: impl FnOnce(&mut T) + Send,
        child: impl Fn() -> bool,
    ) -> bool {
        let (held, done) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut guard = mutex.lock();
                change(&mut guard);
                held.store(true, Ordering::Release);
                while !done.load(Ordering::Acquire) {
                    thread::yield_now();
                }
            });
            while !held.load(Ordering::Acquire) {
                thread::yield_now();
            }
            let right = in_child(child);
            done.store(true, Ordering::Release);
            right
        })
    }

    #[test]
    #[cfg_attr(miri, ignore = "forks")]
    fn a_child_takes_the_lock_over_and_begins_empty() {
        let mutex = Mutex::new(Some(1));
        assert!(held_elsewhere(
            &mutex,
            |value| *value = Some(2),
            || {
                let dead = mutex.try_lock().is_none() && mutex.lock_unless_dead().is_none();
                let empty = mutex.lock().is_none();
                *mutex.lock() = Some(3);
                dead && empty && *mutex.lock_unless_dead().unwrap() == Some(3)
            }
        ));
        assert_eq!(*mutex.lock(), Some(2), "the parent has its own");
    }

    #[test]
    #[cfg_attr(miri, ignore = "forks")]
    fn a_child_mends_what_it_takes_over() {
        let mutex = Mutex::new((1, 1));
        assert!(held_elsewhere(
            &mutex,
            |value| value.0 = 2,
            || {
                let mended = *mutex.lock_or_mend(|value| value.1 = value.0) == (2, 2);
                mended && *mutex.lock_or_mend(|value| value.0 = 5) == (2, 2)
            }
        ));
    }

    /// In each state that a fork can find it in.
    #[test]
    fn every_state_of_a_dead_holder_ends() {
        for (state, empty) in [(LOCKED, true), (CONTENDED, true), (HANDED, false)] {
            let mutex = Mutex::new(Some(1));
            mutex.raw().0.store((generation() + 4) | state, Ordering::Relaxed);
            assert_eq!(mutex.lock().is_none(), empty, "{state}");
            assert!(mutex.try_lock().is_some(), "{state}");
        }
    }
}
