//! The table against a map, under random operations, and with threads and forks.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::thread;

use proptest::prelude::*;

use super::super::generation::in_child;
use super::*;
use crate::memory;

fn values(addresses: &Addresses) -> Vec<usize> {
    let mut values = Vec::new();
    addresses.for_each(|value| values.push(value));
    values.sort_unstable();
    values
}

proptest! {
    // Miri interprets each step.
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, ..Default::default() })]

    /// Few keys, so that they meet, come again and move.
    #[test]
    fn is_a_map(steps in prop::collection::vec((0..60usize, 1..5usize, any::<bool>()), 0..400)) {
        let (addresses, mut map) = (Addresses::new(), HashMap::new());
        for (key, value, insert) in steps {
            let key = 16 * key + 16;
            let before = addresses.changes();
            if insert {
                prop_assert_eq!(addresses.insert(key, value), Ok(map.insert(key, value)));
            } else {
                let is_it = map.get(&key) == Some(&value);
                prop_assert_eq!(addresses.remove(key, value), is_it);
                if is_it {
                    map.remove(&key);
                    prop_assert!(addresses.changes() > before);
                }
            }
            for key in (0..62).map(|key| 16 * key) {
                prop_assert_eq!(addresses.get(key), map.get(&key).copied());
            }
            let mut expected: Vec<_> = map.values().copied().collect();
            expected.sort_unstable();
            prop_assert_eq!(values(&addresses), expected);
            let used = addresses.used.load(Ordering::Relaxed);
            prop_assert_eq!(used, map.len());
        }
    }
}

/// Entries that come and go for ever take no more cells than those that are there at once.
#[test]
fn holes_are_used_again() {
    let addresses = Addresses::new();
    for key in 2..if cfg!(miri) { 200 } else { 100_000 } {
        addresses.insert(key, key).unwrap();
        if key > 10 {
            assert!(addresses.remove(key - 8, key - 8));
        }
    }
    assert!(addresses.table().unwrap().cells.len() <= 2 * LEAST);
}

#[test]
fn out_of_memory_nothing_changes() {
    let addresses = Addresses::new();
    let mut failed = 0;
    for key in 2..200 {
        for at in 0.. {
            let (result, starved) = memory::starving(at, || addresses.insert(key, key));
            if result.is_ok() {
                break;
            }
            assert!(starved);
            failed += 1;
            assert_eq!(addresses.get(key), None);
            assert_eq!(values(&addresses), (2..key).collect::<Vec<_>>());
        }
    }
    assert!(failed >= 10, "each table, and what it hangs on: {failed}");
}

/// Readers beside a writer: what stays is always found, with its own value; what comes and goes has its own
/// value if it is found.
#[test]
fn readers_need_no_lock() {
    const STAY: usize = 40;
    const ROUNDS: usize = if cfg!(miri) { 3 } else { 3000 };
    let (addresses, stop) = (Addresses::new(), AtomicBool::new(false));
    // In each other's way: all of few homes.
    let key = |number: usize| 2 + number * 16;
    for number in (0..STAY).map(|number| 2 * number) {
        addresses.insert(key(number), key(number)).unwrap();
    }
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for number in 0..2 * STAY {
                        let found = addresses.get(key(number));
                        let right = found == Some(key(number));
                        assert!(right || (number % 2 == 1 && found.is_none()), "{number}");
                    }
                }
            });
        }
        for _ in 0..ROUNDS {
            for number in (0..STAY).map(|number| 2 * number + 1) {
                addresses.insert(key(number), key(number)).unwrap();
            }
            for number in (0..STAY).map(|number| 2 * number + 1) {
                assert!(addresses.remove(key(number), key(number)));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Forked beside a writer, at any of its steps.
#[test]
#[cfg_attr(miri, ignore = "forks")]
fn a_child_finds_a_whole_table() {
    let (addresses, stop) = (Addresses::new(), AtomicBool::new(false));
    for key in 2..12 {
        addresses.insert(key, key).unwrap();
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for key in 12..14 {
                    addresses.insert(key, key).unwrap();
                }
                for key in 12..14 {
                    addresses.remove(key, key);
                }
            }
        });
        for _ in 0..100 {
            // No memory is taken: three quarters of 16 cells are enough, but for holes.
            assert!(in_child(|| {
                let there = (2..12).all(|key| addresses.get(key) == Some(key));
                let left = (2..12).all(|key| addresses.remove(key, key));
                (12..14).for_each(|key| _ = addresses.remove(key, key));
                let mut visited = 0;
                addresses.for_each(|_| visited += 1);
                there && left && visited == 0 && addresses.insert(5, 6) == Ok(None)
            }));
        }
        stop.store(true, Ordering::Relaxed);
    });
}
