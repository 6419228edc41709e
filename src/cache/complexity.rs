//! The cost of operations, asserted by counting: the clock of a shared machine proves nothing.

use super::oracle::Session;
use super::tests::filled;
use super::{BATCH, Cache, Cutoff, Expiry, KeyMaker, Stored, count};
use crate::memory;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];

/// The most that one session costs to detach: its node and bucket, its neighbours' links, its entry.
const MOST_TOUCHED: u64 = 16;

/// F12: a flush costs what it removes, however much is stored.
#[test]
fn f12_a_flush_touches_only_what_it_removes() {
    for stored in SIZES {
        let (cache, _) = filled(stored, i64::from);
        let mut due = Vec::new();
        let (counts, ()) = count::of(|| while cache.take_due(Cutoff::Before(500), &mut due) {});
        assert_eq!(due.len(), 500);
        assert!(counts.touched <= 500 * MOST_TOUCHED, "{stored} stored: {counts:?}");
    }
}

/// F12: nothing due, nothing done; at any size, with no lock.
#[test]
fn f12_a_flush_that_removes_nothing_locks_and_touches_nothing() {
    for stored in SIZES {
        let (cache, _) = filled(stored, |number| i64::from(number % 7) + 1000);
        let mut due = Vec::new();
        let (counts, more) = count::of(|| cache.take_due(Cutoff::Before(1000), &mut due));
        assert!(!more && due.is_empty());
        assert_eq!(counts, count::Counts::default());
    }
}

/// F12: how much one hold of the order's lock can do.
#[test]
fn f12_the_longest_batch() {
    let (cache, _) = filled(100_000, |number| i64::from(number % 1000));
    let (mut due, mut detached) = (Vec::new(), 0);
    loop {
        let (counts, more) = count::of(|| cache.take_due(Cutoff::Before(900), &mut due));
        let batch = due.len() - detached;
        detached = due.len();
        assert!(batch <= BATCH);
        assert!(
            counts.locks <= 1 + BATCH as u64,
            "the order's, and a shard's for each: {counts:?}"
        );
        assert!(counts.touched <= BATCH as u64 * MOST_TOUCHED, "{counts:?}");
        if !more {
            break;
        }
    }
    assert_eq!(detached, 90_000);
}

/// A store costs the same at every size and whatever the mix of timeouts, on the average of many: now and
/// then storage grows.
#[test]
fn a_store_costs_the_same_at_every_size_and_mix() {
    for stored in SIZES {
        for seconds in [1, 97, 10_000] {
            let (cache, maker) = filled(stored, |number| i64::from(number) * 7919 % seconds);
            let more = 1000u32;
            let (counts, ()) = count::of(|| {
                for number in 0..more {
                    let key = maker.key(7, &number.to_be_bytes());
                    let expiry = Expiry::from_seconds(i64::from(number) * 31 % seconds);
                    let added = cache.store(key, Session::new(number), expiry, 0);
                    assert_eq!(added, Stored::Added { evicted: None });
                }
            });
            let each = |count: u64| count as f64 / f64::from(more);
            assert!(each(counts.locks) <= 2.0, "{stored}, {seconds}: {counts:?}");
            assert!(each(counts.touched) <= 200.0, "{stored}, {seconds}: {counts:?}");
        }
    }
}

/// No store does much more than others: a row is split. Now and then a directory doubles, which has a few lines of memory for
/// each thousand sessions of a shard, or seconds.
#[test]
fn the_longest_store() {
    for seconds in [1, 100_000] {
        let (cache, maker) = (Cache::default(), KeyMaker::new().unwrap());
        for number in 0..100_000u32 {
            let key = maker.key(0x303, &number.to_be_bytes());
            let expiry = Expiry::from_seconds(i64::from(number) * 7919 % seconds);
            let (counts, _) = count::of(|| cache.store(key, Session::new(number), expiry, 0));
            assert!(counts.touched <= 1200, "store {number}, {seconds}: {counts:?}");
        }
    }
}

/// A store into a full cache, where another one leaves for it, allocates nothing in the long run, and what
/// is left behind in the index does not pile up.
#[test]
fn evicting_allocates_nothing() {
    let (cache, maker) = filled(10_000, i64::from);
    let churn = |from: u32, to: u32| {
        for number in from..to {
            let key = maker.key(9, &number.to_be_bytes());
            let expiry = Expiry::from_seconds(i64::from(number) + 20_000);
            let added = cache.store(key, Session::new(number), expiry, 10_000);
            assert!(matches!(added, Stored::Added { evicted: Some(_) }));
        }
    };
    churn(0, 20_000);
    let before = memory::allocations();
    churn(20_000, 120_000);
    // The sessions of this test are an allocation each.
    let own = memory::allocations() - before - 100_000;
    assert!(own <= 100_000 / 20, "{own} allocations for 100,000 stores");
    assert_eq!(cache.validate(), Ok(()));
}

/// Growing from nothing: storage grows ahead, so the allocations are few.
#[test]
fn allocations_for_each_store_and_flush() {
    let before = memory::allocations();
    let (cache, _) = filled(100_000, |number| i64::from(number % 977));
    let stored = memory::allocations() - before - 100_000;
    assert!(stored <= 100_000 / 10, "{stored} allocations for 100,000 stores");

    let mut due = Vec::with_capacity(BATCH);
    let before = memory::allocations();
    loop {
        let more = cache.take_due(Cutoff::All, &mut due);
        due.clear();
        if !more {
            break;
        }
    }
    let flushed = memory::allocations() - before;
    assert!(flushed <= 4, "{flushed} allocations to flush 100,000");
}

/// A lookup takes one lock, whatever else goes on, and the index is searched over a few cells.
#[test]
fn a_lookup_takes_one_lock() {
    for stored in SIZES {
        let (cache, maker) = filled(stored, i64::from);
        let (counts, ()) = count::of(|| {
            for number in 0..1000u32 {
                assert!(cache.get(maker.key(0x303, &number.to_be_bytes())).is_some());
                assert!(cache.get(maker.key(0x302, &number.to_be_bytes())).is_none());
            }
        });
        assert_eq!(counts.locks, 2000);
        assert!(counts.touched <= 2000 * 20, "{stored} stored: {counts:?}");
    }
}
