//! In how many caches a session is stored, asked without a lock (C6, P10).
//!
//! Two sessions that are alive begin at least 512 bytes apart, as one has 648 bytes or more. So a byte for each
//! piece of that size of the address space counts for one session alone. The bytes lie in leaves of two megabytes'
//! worth, made when a session there is first stored and kept; an address with no leaf is of none.
//!
//! (A table from session to contexts was rejected: it would cost each stored session memory and a lock for what few
//! programs do. ex_data of the session was too: its index belongs to the default `OSSL_LIB_CTX` of the moment.)

use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use crate::cache::Handle;
use crate::libssl::{Session, SessionRef};
use crate::memory;
use crate::sync::{Addresses, see_each_other};

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
pub(super) fn make_countable(session: SessionRef<'_>) -> bool {
    make_leaf(session.address())
}

fn make_leaf(address: usize) -> bool {
    if count(address).is_some() {
        return true;
    }
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

/// Returns whether a session may be stored somewhere; `false` is certain.
///
/// The caller has just changed the session, and does nothing more if it is stored nowhere. Whoever stores it counts
/// it first, and looks at the session again after that, with such a fence between the two as well. So at least one of
/// them sees what the other did, the count or the change, and a session that is being stored while its time is set ends
/// up with the new expiry.
#[inline]
pub(super) fn is_stored(session: SessionRef<'_>) -> bool {
    see_each_other();
    is_counted(session.address())
}

fn is_counted(address: usize) -> bool {
    count(address).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
}

/// A count at its end stays there: such a session is asked about in vain, once it has left.
fn change(address: usize, change: impl Fn(u8) -> Option<u8>) {
    if let Some(count) = count(address) {
        let _ = count.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |now| match now {
            u8::MAX => None,
            _ => change(now),
        });
    }
}

impl Handle for Session {
    fn enters(&self) {
        change(self.get().address(), |count| count.checked_add(1));
    }

    fn left(&self) {
        change(self.get().address(), |count| count.checked_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that no allocator gives out, of each test its own.
    const FAR: usize = 1 << 60;

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
