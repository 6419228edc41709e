//! Which outcome this process saw last, for each server name of a context that has a servername callback.
//!
//! When a session is looked up, the callback has not run yet, and nobody can foresee what it will do. But it has run for a full
//! handshake before, and should do the same again.

use std::sync::Mutex;

use sha2::{Digest as _, Sha256};

use crate::openssl::Digest;

/// The names that are remembered. (Clients can invent some.)
const MOST: usize = 1024;

type Name = [u8; 16];

/// The outcomes of one context.
#[derive(Debug, Default)]
pub(crate) struct Seen(
    // In the order of names. Only tried: a fork may have left it locked, and no handshake waits.
    Mutex<Vec<(Name, Digest)>>,
);

fn short(name: Option<&[u8]>) -> Name {
    let digest: Digest = name.map_or([0; 32], |name| Sha256::digest(name).into());
    *digest.first_chunk().unwrap_or(&[0; 16])
}

impl Seen {
    /// A full handshake for this name had this outcome.
    pub(crate) fn note(&self, name: Option<&[u8]>, outcome: Digest) {
        let name = short(name);
        let Ok(mut seen) = self.0.try_lock() else { return };
        match seen.binary_search_by_key(&name, |&(name, _)| name) {
            Ok(at) => seen[at].1 = outcome,
            Err(at) if seen.len() < MOST && seen.try_reserve(1).is_ok() => {
                seen.insert(at, (name, outcome));
            }
            // In place of a neighbour, which is none that anybody could choose.
            Err(at) => {
                let last = seen.len().wrapping_sub(1);
                if let Some(place) = seen.get_mut(at.min(last)) {
                    *place = (name, outcome);
                }
            }
        }
    }

    pub(crate) fn outcome(&self, name: Option<&[u8]>) -> Option<Digest> {
        let name = short(name);
        let seen = self.0.try_lock().ok()?;
        let at = seen.binary_search_by_key(&name, |&(name, _)| name).ok()?;
        Some(seen[at].1)
    }

    /// What was seen holds no longer.
    pub(crate) fn forget(&self) {
        if let Ok(mut seen) = self.0.try_lock() {
            seen.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_outcome_counts() {
        let seen = Seen::default();
        assert_eq!(seen.outcome(Some(b"a")), None);
        seen.note(Some(b"a"), [1; 32]);
        seen.note(None, [2; 32]);
        seen.note(Some(b"a"), [3; 32]);
        assert_eq!(seen.outcome(Some(b"a")), Some([3; 32]));
        assert_eq!(seen.outcome(None), Some([2; 32]));
        assert_eq!(seen.outcome(Some(b"")), None);
        seen.forget();
        assert_eq!(seen.outcome(Some(b"a")), None);
    }

    #[test]
    fn names_are_bounded_and_never_mixed() {
        let seen = Seen::default();
        let outcome = |number: u32| Digest::from(Sha256::digest(number.to_ne_bytes()));
        for number in 0..5000u32 {
            seen.note(Some(&number.to_ne_bytes()), outcome(number));
        }
        assert_eq!(seen.0.lock().unwrap().len(), MOST);
        let found = |number: &u32| seen.outcome(Some(&number.to_ne_bytes())).is_some();
        let found: Vec<_> = (0..5000).filter(found).collect();
        assert!(found.contains(&4999) && found.len() <= MOST);
        for number in found {
            assert_eq!(seen.outcome(Some(&number.to_ne_bytes())), Some(outcome(number)));
        }
    }
}
