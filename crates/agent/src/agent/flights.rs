//! Names that are being fetched. A removal that is heard of meanwhile cancels the fetch, whose answer may be older.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sslsweep_segment::Name;

/// The names, and whether their fetch was cancelled.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<Name, bool>>);

/// All names at a moment. What is put or killed while this is held is in order with each other.
pub(super) struct Landing<'a>(MutexGuard<'a, HashMap<Name, bool>>);

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to fetch these names.
    pub(super) fn begin(&self, names: &[Name]) {
        self.lock().extend(names.iter().map(|name| (*name, false)));
    }

    /// Holds up what would change names.
    pub(super) fn land(&self) -> Landing<'_> {
        Landing(self.lock())
    }
}

impl Landing<'_> {
    /// The name was removed.
    pub(super) fn cancel(&mut self, name: Name) {
        if let Some(cancelled) = self.0.get_mut(&name) {
            *cancelled = true;
        }
    }

    /// Everything may have been removed.
    pub(super) fn cancel_all(&mut self) {
        self.0.values_mut().for_each(|cancelled| *cancelled = true);
    }

    /// Ends the fetch of a name. Returns whether its answer may be used.
    pub(super) fn end(&mut self, name: Name) -> bool {
        self.0.remove(&name) == Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_cancels_the_fetch_of_its_name_alone() {
        let flights = Flights::default();
        let [a, b, c] = [1, 2, 3].map(|byte| Name::from_bytes([byte; 16]));
        flights.begin(&[a, b]);
        flights.land().cancel(a);
        flights.land().cancel(c);
        let mut landing = flights.land();
        assert_eq!([a, b, c].map(|name| landing.end(name)), [false, true, false]);
        assert!(!landing.end(b), "only once");
        drop(landing);
        flights.begin(&[a, c]);
        flights.land().cancel_all();
        assert_eq!([a, c].map(|name| flights.land().end(name)), [false, false]);
    }
}
