//! In how many caches a session is stored, asked without a lock (C6, P10); and whether a session has been changed since.
//!
//! Two sessions that are alive begin at least 512 bytes apart, as one has 648 bytes or more. So a byte for each
//! piece of that size of the address space counts for one session alone. The bytes lie in leaves of two megabytes'
//! worth, made when a session there is first stored and kept; an address with no leaf is of none.
//!
//! (A table from session to contexts was rejected: it would cost each stored session memory and a lock for what few
//! programs do. ex_data of the session was too: its index belongs to the default `OSSL_LIB_CTX` of the moment.)

use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};

use crate::cache::Handle;
use crate::libssl::{Session, SessionRef};
use crate::memory;
use crate::sync::{Addresses, is_alone};

/// A session has more bytes than this.
const PIECE: usize = 512;
const PIECES: usize = 4096;

/// How often the sessions of so many neighbouring pieces are stored.
struct Leaf {
    key: usize,
    counts: [AtomicU8; PIECES],
}

static LEAVES: Addresses = Addresses::new();

/// Leaves where they are found at once, which each store and each removal does: those of two gigabytes side by side. A
/// place goes to the first leaf that is made for it.
static NEAR: [AtomicPtr<Leaf>; 1024] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 1024];

/// As a key, of which the lowest two are taken.
fn key(address: usize) -> usize {
    address / (PIECE * PIECES) + 2
}

#[inline]
fn count(address: usize) -> Option<&'static AtomicU8> {
    let key = key(address);
    // SAFETY: null or a leaf, of which none is freed.
    let near = unsafe { NEAR[key % NEAR.len()].load(Ordering::Acquire).as_ref() };
    let leaf = match near.filter(|leaf| leaf.key == key) {
        Some(leaf) => leaf,
        // SAFETY: what is in there is a leaf, and none is freed.
        None => unsafe { &*(LEAVES.get(key)? as *const Leaf) },
    };
    leaf.counts.get(address / PIECE % PIECES)
}

/// Makes sure that a session can be counted. Returns whether there was memory for that.
#[inline]
pub(super) fn make_countable(session: SessionRef<'_>) -> bool {
    count(session.address()).is_some() || make_leaf(session.address())
}

#[cold]
fn make_leaf(address: usize) -> bool {
    let key = key(address);
    let leaf = Leaf { key, counts: [const { AtomicU8::new(0) }; PIECES] };
    let Some(leaf) = memory::boxed(leaf) else { return false };
    let made = Box::into_raw(leaf);
    let there = LEAVES.get_or_insert(key, made as usize);
    if there == Ok(made as usize) {
        let near = &NEAR[key % NEAR.len()];
        let null = std::ptr::null_mut();
        let _ = near.compare_exchange(null, made, Ordering::AcqRel, Ordering::Relaxed);
    } else {
        // SAFETY: nobody else has seen it.
        drop(unsafe { Box::from_raw(made) });
    }
    there.is_ok()
}

/// Rises after each change that the program makes to a session's time, timeout or key.
static CHANGES: Line = Line(AtomicUsize::new(0));

/// In a cache line of its own: each store reads it.
#[repr(align(64))]
struct Line(AtomicUsize);

/// How many changes there have been, of whatever session. Whoever stores a session asks before he looks at its time, and
/// once more after he has counted it: [`note_change`].
#[inline]
pub(super) fn changes() -> usize {
    CHANGES.0.load(Ordering::SeqCst)
}

/// The program has just changed this session. Returns in how many caches it may be stored; none is certain.
///
/// With none the caller does nothing more. Of the four steps, that a change is noted here and the count read, and that a
/// store counts the session and asks for [`changes`], all threads see one order. So the caller sees the count, or the store
/// sees that there was a change and looks at the session again: one that is being stored while its time is set ends up
/// with the new expiry.
#[inline]
pub(super) fn note_change(session: SessionRef<'_>) -> u8 {
    if is_alone() {
        CHANGES.0.store(CHANGES.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    } else {
        CHANGES.0.fetch_add(1, Ordering::SeqCst);
    }
    counted(session.address())
}

#[inline]
fn counted(address: usize) -> u8 {
    count(address).map_or(0, |count| count.load(Ordering::SeqCst))
}

/// A count at its end stays there: such a session is asked about in vain, once it has left.
#[inline]
fn change(address: usize, change: impl Fn(u8) -> Option<u8>) {
    let Some(count) = count(address) else { return };
    let change = |now| if now == u8::MAX { None } else { change(now) };
    if is_alone() {
        change(count.load(Ordering::Relaxed))
            .into_iter()
            .for_each(|to| count.store(to, Ordering::Relaxed));
    } else {
        let _ = count.fetch_update(Ordering::SeqCst, Ordering::Relaxed, change);
    }
}

impl Handle for Session {
    #[inline]
    fn enters(&self) {
        change(self.get().address(), |count| count.checked_add(1));
    }

    #[inline]
    fn left(&self) {
        change(self.get().address(), |count| count.checked_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that no allocator gives out, of each test its own.
    const FAR: usize = 1 << 60;

    fn is_counted(address: usize) -> bool {
        counted(address) > 0
    }

    #[test]
    fn neighbours_are_told_apart() {
        let [here, next] = [FAR, FAR + 656];
        assert!(!is_counted(here));
        change(here, |count| count.checked_add(1));
        assert!(!is_counted(here), "without a leaf");
        assert!(make_leaf(here) && make_leaf(next));
        change(here, |count| count.checked_add(1));
        change(here, |count| count.checked_add(1));
        assert!(is_counted(here) && !is_counted(next) && !is_counted(here + (1 << 21)));
        change(here, |count| count.checked_sub(1));
        assert!(is_counted(here));
        change(here, |count| count.checked_sub(1));
        change(here, |count| count.checked_sub(1));
        assert!(!is_counted(here), "and not below nothing");
    }

    #[test]
    fn a_full_count_stays() {
        let here = FAR + (1 << 30);
        assert!(make_leaf(here));
        (0..300).for_each(|_| change(here, |count| count.checked_add(1)));
        (0..300).for_each(|_| change(here, |count| count.checked_sub(1)));
        assert!(is_counted(here));
    }

    #[test]
    fn out_of_memory_nothing_can_be_counted() {
        let here = FAR + (2 << 30);
        let mut at = 0;
        loop {
            let (made, starved) = memory::starving(at, || make_leaf(here));
            if made {
                break;
            }
            assert!(starved && !is_counted(here));
            at += 1;
        }
        assert!(at > 0 && count(here).is_some());
    }
}
