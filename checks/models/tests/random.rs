//! More threads that do more than can be explored in every order: random schedules, evenly chosen and by PCT
//! (which finds a defect of few interruptions with a known probability).
//!
//! What each thread does is random as well. At the end the account of `settle` must be right.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};

use models::random::cache::{Cutoff, Expiry, Key};
use models::random::ledger::{World, keys};

const THREADS: usize = 4;
const STEPS: usize = 8;
/// Of the cache. Two of the keys are too many for it.
const SIZE: usize = 4;

/// The seed of the schedules: SEED from the environment, to repeat a run, or a random one.
fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(number) => number.parse().expect("SEED is a number"),
        Err(_) => RandomState::new().build_hasher().finish(),
    }
}

/// SCHEDULES of each kind; from the environment for a longer run.
fn schedules() -> usize {
    match std::env::var("SCHEDULES") {
        Ok(number) => number.parse().expect("SCHEDULES is a number"),
        Err(_) => 20_000,
    }
}

fn explore<S: Scheduler + 'static>(
    name: &str,
    scheduler: S,
    model: impl Fn() + Send + Sync + 'static,
) {
    let schedules = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&schedules);
    let mut config = Config::default();
    config.silence_warnings = true; // of orderings weaker than SeqCst: those are loom's part
    Runner::new(scheduler, config).run(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("random: {name}: {} schedules", schedules.load(Ordering::Relaxed));
}

fn any_expiry() -> i64 {
    thread_rng().gen_range(0..5)
}

fn step(world: &World, keys: &[Key], size: usize) {
    let any_key = || keys[thread_rng().gen_range(0..keys.len())];
    let key = any_key();
    match thread_rng().gen_range(0..12) {
        0..5 => {
            let session = world.session();
            world.store(key, &session, any_expiry(), size);
            if size > 0 {
                assert!(world.cache.len() <= size, "never more than the size");
            }
        }
        5 => drop(world.take(key)),
        6 => {
            // As the 0-RTT path does: look it up, then take this very one.
            if let Some(session) = world.cache.get(key) {
                world.take_exactly(key, &session);
            }
        }
        7 => {
            if let Some(session) = world.cache.get(key) {
                world.cache.re_expire(key, &session, Expiry::from_seconds(any_expiry()));
            }
        }
        8 => {
            if let Some(session) = world.cache.get(key) {
                world.re_key(key, any_key(), &session);
            }
        }
        9 => {
            if let Some(session) = world.cache.get(key) {
                // Most often it is there already, or it has left and comes back.
                world.store(key, &session, any_expiry(), size);
            }
        }
        10 => drop(world.flush(Cutoff::Before(any_expiry()))),
        _ => drop(world.flush(Cutoff::All)),
    }
}

fn crowd(size: usize, world: fn() -> Arc<World>) -> impl Fn() + Send + Sync + 'static {
    let keys: Arc<[Key]> = keys(&[0, 1, 0, 1, 0, 1]).into();
    move || {
        let world = world();
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (world, keys) = (Arc::clone(&world), Arc::clone(&keys));
                thread::spawn(move || (0..STEPS).for_each(|_| step(&world, &keys, size)))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        world.settle(if size == 0 { keys.len() } else { size });
    }
}

#[test]
fn a_crowd_at_a_small_cache() {
    explore(
        "four threads, a small cache",
        RandomScheduler::new_from_seed(seed(), schedules()),
        crowd(SIZE, World::new),
    );
}

#[test]
fn a_crowd_at_an_unlimited_cache() {
    explore(
        "four threads, no limit",
        RandomScheduler::new_from_seed(seed(), schedules()),
        crowd(0, World::new),
    );
}

#[test]
fn a_crowd_with_few_interruptions() {
    explore(
        "four threads, a small cache, PCT",
        PctScheduler::new_from_seed(seed(), 4, schedules()),
        crowd(SIZE, World::new),
    );
}

#[test]
fn a_crowd_where_lookups_count() {
    explore(
        "four threads, a small cache, least recently used",
        RandomScheduler::new_from_seed(seed(), schedules()),
        crowd(SIZE, World::least_recently_used),
    );
}
