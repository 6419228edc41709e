//! Two or three threads at one small cache (two shards, batches of two), in every order that they can come.
//!
//! Each model ends with `settle`: every session was handed back by exactly one call or is still there, the
//! counts fit, and no reference is left over. What is asserted beside that says what each thread may see.
//! A deadlock, a panic, or a schedule that never ends makes loom fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread::{self, JoinHandle};

use models::exhaustive::cache::{Cutoff, Expiry, Key};
use models::exhaustive::ledger::{World, keys};

const EARLY: Cutoff = Cutoff::Before(5);
const LATER: i64 = 9;

/// Without a bound on preemptions: these models are small enough for all of them.
fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    static SCHEDULES: AtomicUsize = AtomicUsize::new(0);
    let schedules = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&schedules);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = None;
    builder.max_branches = 10_000;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let schedules = schedules.load(Ordering::Relaxed);
    let all = SCHEDULES.fetch_add(schedules, Ordering::Relaxed) + schedules;
    println!("exhaustive: {name}: {schedules} schedules ({all} so far)");
}

/// Another thread.
fn beside<R: 'static>(
    world: &Arc<World>,
    work: impl FnOnce(&World) -> R + Send + 'static,
) -> JoinHandle<R> {
    let world = Arc::clone(world);
    thread::spawn(move || work(&world))
}

/// Two keys that meet in one shard, or do not.
fn both_ways(model: impl Fn(&str, Key, Key)) {
    let (near, far) = (keys(&[0, 0]), keys(&[0, 1]));
    model("one shard", near[0], near[1]);
    model("two shards", far[0], far[1]);
}

#[test]
fn store_against_flush() {
    both_ways(|shards, a, b| {
        explore(&format!("store against flush, {shards}"), move || {
            let world = World::new();
            let early = world.add(a, 1);
            let storing = beside(&world, move |world| world.add(b, 1));
            let flushed = world.flush(EARLY);
            let late = storing.join().unwrap();
            assert_eq!(flushed[0], early, "what was stored before leaves, and first");
            assert!(flushed.len() == 1 || flushed[1] == late);
            assert_eq!(world.cache.len(), 2 - flushed.len());
            world.settle(1);
        });
    });
}

/// The published times never hide what is due: who knows of a store sees it.
#[test]
fn store_then_is_due() {
    let a = keys(&[0])[0];
    explore("a store is seen", move || {
        let world = World::new();
        let told = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let storing = beside(&world, {
            let told = Arc::clone(&told);
            move |world| {
                world.add(a, 1);
                told.store(true, loom::sync::atomic::Ordering::Release);
            }
        });
        if told.load(loom::sync::atomic::Ordering::Acquire) {
            assert!(world.cache.is_due(EARLY));
            assert_eq!(world.cache.len(), 1);
            assert_eq!(world.flush(EARLY).len(), 1);
        }
        storing.join().unwrap();
        world.settle(1);
    });
}

#[test]
fn stores_at_full_capacity() {
    both_ways(|shards, a, b| {
        explore(&format!("two stores into a full cache, {shards}"), move || {
            let world = World::new();
            let first = world.session();
            world.store(a, &first, 1, 1);
            let storing = beside(&world, move |world| {
                let session = world.session();
                world.store(b, &session, 3, 1);
                assert!(world.cache.len() <= 1, "never more than the size");
            });
            let third = world.session();
            world.store(a, &third, 2, 1);
            assert!(world.cache.len() <= 1, "never more than the size");
            storing.join().unwrap();
            assert_eq!(first.left(), 1);
            assert_eq!(world.cache.len(), 1);
            world.settle(1);
        });
    });
}

#[test]
fn stores_after_the_size_was_lowered() {
    both_ways(|shards, a, b| {
        explore(&format!("two stores into an overfull cache, {shards}"), move || {
            let world = World::new();
            for key in keys(&[0, 1, 1]) {
                world.add(key, 1);
            }
            let storing = beside(&world, move |world| {
                let session = world.session();
                world.store(a, &session, 2, 1);
            });
            let session = world.session();
            world.store(b, &session, 2, 1);
            storing.join().unwrap();
            assert_eq!(world.cache.len(), 1);
            world.settle(1);
        });
    });
}

/// The size is what an eviction leaves, also when another one goes on beside it.
#[test]
fn two_evictions() {
    explore("two evictions", || {
        let world = World::new();
        keys(&[0, 1, 0]).into_iter().for_each(|key| drop(world.add(key, 1)));
        let evicting = beside(&world, |world| world.evict(1));
        world.evict(1);
        evicting.join().unwrap();
        assert_eq!(world.cache.len(), 1);
        world.settle(1);
    });
}

#[test]
fn lookup_against_flush() {
    let a = keys(&[0])[0];
    explore("lookups against flush", move || {
        let world = World::new();
        let session = world.add(a, 1);
        let flushing = beside(&world, |world| assert_eq!(world.flush(EARLY).len(), 1));
        let (first, second) = (world.cache.get(a), world.cache.get(a));
        assert!(first.is_some() || second.is_none(), "what has gone does not come back");
        assert!(first.into_iter().chain(second).all(|found| found == session));
        flushing.join().unwrap();
        assert_eq!(world.cache.get(a), None);
        world.settle(0);
    });
}

#[test]
fn lookup_against_removal() {
    both_ways(|shards, a, b| {
        explore(&format!("lookups against removal, {shards}"), move || {
            let world = World::new();
            let (session, other) = (world.add(a, 1), world.add(b, 1));
            let removing = beside(&world, move |world| assert!(world.take(a).is_some()));
            let (first, second) = (world.cache.get(a), world.cache.get(a));
            assert!(first.is_some() || second.is_none(), "what has gone does not come back");
            assert!(first.into_iter().chain(second).all(|found| found == session));
            assert_eq!(world.cache.get(b), Some(other), "others are found throughout");
            removing.join().unwrap();
            world.settle(1);
        });
    });
}

#[test]
fn lookup_against_replacement() {
    let a = keys(&[0])[0];
    explore("lookups against replacement", move || {
        let world = World::new();
        let former = world.add(a, 1);
        let replacing = beside(&world, move |world| world.add(a, 2));
        let found =
            [world.cache.get(a), world.cache.get(a)].map(|found| found.expect("one is there"));
        let latter = replacing.join().unwrap();
        assert!(
            found[0] == former && (found[1] == former || found[1] == latter)
                || found[0] == latter && found[1] == latter
        );
        assert_eq!(former.left(), 1);
        world.settle(1);
    });
}

#[test]
fn lookup_against_eviction_into_its_slot() {
    let near = keys(&[0, 0]);
    let (a, b) = (near[0], near[1]);
    explore("lookups against a store that takes the place", move || {
        let world = World::new();
        let (former, latter) = (world.session(), world.session());
        world.store(a, &former, 1, 1);
        let storing = beside(&world, {
            let latter = latter.clone();
            move |world| world.store(b, &latter, 1, 1)
        });
        let (old, new) = (world.cache.get(a), world.cache.get(b));
        assert!(old.is_none_or(|found| found == former));
        assert!(new.is_none_or(|found| found == latter));
        storing.join().unwrap();
        world.settle(1);
    });
}

#[test]
fn removal_against_flush() {
    both_ways(|shards, a, b| {
        explore(&format!("removal against flush, {shards}"), move || {
            let world = World::new();
            let (session, _) = (world.add(a, 1), world.add(b, 1));
            let removing = beside(&world, move |world| world.take(a));
            let flushed = world.flush(EARLY);
            let taken = removing.join().unwrap();
            assert_eq!(flushed.contains(&session), taken.is_none(), "one of them has it");
            world.settle(0);
        });
    });
}

/// Of racing 0-RTT replays one gets the ticket.
#[test]
fn two_removals_of_one_session() {
    let a = keys(&[0])[0];
    explore("two removals of one session", move || {
        let world = World::new();
        let session = world.add(a, 1);
        let removing = beside(&world, {
            let session = session.clone();
            move |world| world.take_exactly(a, &session)
        });
        let mine = world.take_exactly(a, &session);
        assert_ne!(mine, removing.join().unwrap(), "one of them has it");
        world.settle(0);
    });
}

#[test]
fn removal_of_one_object_against_its_replacement() {
    let a = keys(&[0])[0];
    explore("removal of this object against replacement", move || {
        let world = World::new();
        let former = world.add(a, 1);
        let replacing = beside(&world, move |world| {
            let latter = world.session();
            world.store(a, &latter, 1, 0)
        });
        let taken = world.take_exactly(a, &former);
        assert_eq!(replacing.join().unwrap().is_none(), taken);
        assert_eq!(world.cache.len(), 1, "the new one stays");
        world.settle(1);
    });
}

#[test]
fn two_flushes() {
    explore("two flushes of three sessions", || {
        let world = World::new();
        let sessions: Vec<_> = keys(&[0, 1, 0]).into_iter().map(|key| world.add(key, 1)).collect();
        let flushing = beside(&world, |world| world.flush(EARLY));
        let (mine, yours) = (world.flush(EARLY), flushing.join().unwrap());
        assert_eq!(mine.len() + yours.len(), 3);
        for flushed in [mine, yours] {
            let places = flushed.iter().map(|f| sessions.iter().position(|s| s == f));
            assert!(places.is_sorted(), "each first stored first");
        }
        world.settle(0);
    });
}

/// What was detached and turns out not to be due goes back, but takes nobody's place.
#[test]
fn putting_back_against_stores() {
    let a = keys(&[0])[0];
    for again in [false, true] {
        explore(
            if again { "putting back, stored again" } else { "putting back, key taken" },
            move || {
                let world = World::new();
                let moved = world.add(a, 1);
                let storing = beside(&world, {
                    let moved = moved.clone();
                    move |world| {
                        let session = if again { moved } else { world.session() };
                        world.store(a, &session, LATER, 0);
                        session
                    }
                });
                world.flush_but(a, &moved, LATER);
                let stored = storing.join().unwrap();
                assert!(stored.left() < 2);
                let there = world.cache.get(a);
                assert!(there.is_none() || there == Some(stored), "the last one that was stored");
                world.settle(1);
            },
        );
    }
}

#[test]
fn a_later_expiry_against_flush() {
    both_ways(|shards, a, b| {
        explore(&format!("a later expiry against flush, {shards}"), move || {
            let world = World::new();
            let (moving, _) = (world.add(a, 1), world.add(b, 1));
            let changing = beside(&world, {
                let moving = moving.clone();
                move |world| world.cache.re_expire(a, &moving, Expiry::from_seconds(LATER))
            });
            let flushed = world.flush(EARLY);
            let moved = changing.join().unwrap();
            assert_eq!(moved, !flushed.contains(&moving), "moved in time, or flushed");
            assert_eq!(world.cache.len(), usize::from(moved));
            assert!(!world.cache.is_due(EARLY));
            world.settle(1);
        });
    });
}

#[test]
fn an_earlier_expiry_against_flush() {
    let a = keys(&[0])[0];
    explore("an earlier expiry against flush", move || {
        let world = World::new();
        let moving = world.add(a, LATER);
        let changing = beside(&world, {
            let moving = moving.clone();
            move |world| world.cache.re_expire(a, &moving, Expiry::from_seconds(1))
        });
        let flushed = world.flush(EARLY).len();
        assert!(changing.join().unwrap(), "it is stored while its time is not up");
        assert_eq!(flushed + world.flush(EARLY).len(), 1);
        world.settle(0);
    });
}

#[test]
fn one_key_from_two_threads() {
    let a = keys(&[0])[0];
    explore("one key from two threads", move || {
        let world = World::new();
        let storing = beside(&world, move |world| {
            let session = world.session();
            world.store(a, &session, 1, 0)
        });
        let mine = world.session();
        let replaced = world.store(a, &mine, 2, 0);
        assert_ne!(replaced.is_some(), storing.join().unwrap().is_some(), "one replaces the other");
        world.settle(1);
    });
}

#[test]
fn one_object_from_two_threads() {
    let a = keys(&[0])[0];
    explore("one object from two threads", move || {
        let world = World::new();
        let session = world.session();
        let storing = beside(&world, {
            let session = session.clone();
            move |world| world.store(a, &session, 1, 0)
        });
        let mine = world.store(a, &session, 2, 0);
        let yours = storing.join().unwrap();
        assert_eq!(mine.or(yours), Some(session), "to one of them it was present");
        world.settle(1);
    });
}

#[test]
fn a_new_key_against_flush_and_lookup() {
    both_ways(|shards, a, b| {
        explore(&format!("a new key against flush, {shards}"), move || {
            let world = World::new();
            let moving = world.add(a, 1);
            let changing = beside(&world, {
                let moving = moving.clone();
                move |world| world.re_key(a, b, &moving)
            });
            let found = [world.cache.get(a), world.cache.get(b)];
            assert!(found.into_iter().flatten().all(|found| found == moving));
            assert_eq!(world.flush(EARLY), [moving], "under the one or the other");
            changing.join().unwrap();
            world.settle(0);
        });
    });
}

#[test]
fn a_new_key_against_a_store_there() {
    both_ways(|shards, a, b| {
        explore(&format!("a new key against a store under it, {shards}"), move || {
            let world = World::new();
            let moving = world.add(a, 1);
            let storing = beside(&world, move |world| world.add(b, 1));
            world.re_key(a, b, &moving);
            let other = storing.join().unwrap();
            assert_eq!(moving.left() + other.left(), 1, "whoever came later has the key");
            assert_eq!(world.cache.get(a), None);
            world.settle(1);
        });
    });
}

/// The last session leaves, and its storage with it, while another one comes.
#[test]
fn giving_storage_up_against_a_store() {
    both_ways(|shards, a, b| {
        explore(&format!("giving storage up against a store, {shards}"), move || {
            let world = World::new();
            world.add(a, 1);
            let removing = beside(&world, move |world| assert!(world.take(a).is_some()));
            let session = world.add(b, 1);
            assert_eq!(world.cache.get(b), Some(session));
            removing.join().unwrap();
            world.settle(1);
        });
    });
}

#[test]
fn the_first_stores() {
    both_ways(|shards, a, b| {
        explore(&format!("the first stores, {shards}"), move || {
            let world = World::new();
            let storing = beside(&world, move |world| {
                let session = world.add(a, 1);
                assert_eq!(world.cache.get(a), Some(session));
            });
            let session = world.add(b, 1);
            assert_eq!(world.cache.get(b), Some(session));
            storing.join().unwrap();
            world.settle(2);
        });
    });
}

#[test]
fn three_stores_at_full_capacity() {
    explore("three stores into a full cache", || {
        let world = World::new();
        world.add(keys(&[1])[0], 1);
        let storing = keys(&[0, 1]).into_iter().map(|key| {
            beside(&world, move |world| {
                let session = world.session();
                world.store(key, &session, 1, 1);
            })
        });
        let storing: Vec<_> = storing.collect();
        let session = world.session();
        world.store(keys(&[0])[0], &session, 1, 1);
        assert_eq!(world.cache.len(), 1, "never more than the size, and never empty again");
        storing.into_iter().for_each(|storing| storing.join().unwrap());
        assert_eq!(world.cache.statistics().evicted, 3);
        world.settle(1);
    });
}

#[test]
fn store_flush_and_removal() {
    both_ways(|shards, a, b| {
        explore(&format!("store, flush and removal, {shards}"), move || {
            let world = World::new();
            world.add(a, 1);
            let storing = beside(&world, move |world| {
                let session = world.session();
                world.store(b, &session, 1, 1);
            });
            let removing = beside(&world, move |world| world.take(a));
            world.flush(EARLY);
            removing.join().unwrap();
            storing.join().unwrap();
            world.settle(1);
        });
    });
}

#[test]
fn store_lookup_and_flush_of_one_key() {
    let a = keys(&[0])[0];
    explore("store, lookup and flush of one key", move || {
        let world = World::new();
        let former = world.add(a, 1);
        let storing = beside(&world, move |world| world.add(a, LATER));
        let flushing = beside(&world, |world| world.flush(EARLY));
        let found = world.cache.get(a);
        let latter = storing.join().unwrap();
        assert!(found.is_none_or(|found| found == former || found == latter));
        assert!(!flushing.join().unwrap().contains(&latter));
        assert_eq!(world.cache.get(a), Some(latter));
        world.settle(1);
    });
}

#[test]
fn a_later_expiry_flush_and_removal() {
    let a = keys(&[0])[0];
    explore("a later expiry, flush and removal", move || {
        let world = World::new();
        let moving = world.add(a, 1);
        let changing = beside(&world, {
            let moving = moving.clone();
            move |world| world.cache.re_expire(a, &moving, Expiry::from_seconds(LATER))
        });
        let flushing = beside(&world, |world| world.flush(EARLY).len());
        let taken = world.take(a).is_some();
        let (moved, flushed) = (changing.join().unwrap(), flushing.join().unwrap());
        assert_eq!(flushed + usize::from(taken), 1, "one of them has it");
        assert!(!(moved && flushed == 1), "not one that was moved in time");
        world.settle(0);
    });
}

/// Who is found has been used, and stays.
#[test]
fn lookup_against_eviction_of_the_least_recently_used() {
    both_ways(|shards, a, b| {
        let c = keys(&[0])[0];
        explore(&format!("lookup against an eviction, {shards}"), move || {
            let world = World::least_recently_used();
            let (older, newer) = (world.add(a, 1), world.add(b, 1));
            let looking = beside(&world, move |world| world.cache.get(a).is_some());
            let third = world.session();
            world.store(c, &third, 1, 2);
            let found = looking.join().unwrap();
            assert_eq!((older.left(), newer.left()), if found { (0, 1) } else { (1, 0) });
            world.settle(2);
        });
    });
}

#[test]
fn lookup_where_it_counts_flush_and_removal() {
    both_ways(|shards, a, b| {
        explore(&format!("lookup where it counts, flush and removal, {shards}"), move || {
            let world = World::least_recently_used();
            world.add(a, 1);
            world.add(b, LATER);
            let looking = beside(&world, move |world| drop(world.cache.get(a)));
            let removing = beside(&world, move |world| world.take(b));
            world.flush(EARLY);
            looking.join().unwrap();
            removing.join().unwrap();
            assert!(world.cache.is_empty());
            world.settle(0);
        });
    });
}
