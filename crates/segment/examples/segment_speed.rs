//! The speed of a segment's operations on records of 300 bytes: as it fills to a million, and where several threads or
//! processes work on the same eight slots. `make bench-sharing` runs it.

use std::thread;
use std::time::Instant;

use sslsweep_segment::{Name, Segment};

const RECORD: [u8; 300] = [7; 300];
const NOW: u64 = 1_000;
const ROUNDS: u64 = 20_000;

/// Spreads numbers as a hash does (splitmix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

fn name(number: u64) -> Name {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mixed(number).to_be_bytes());
    bytes[8..].copy_from_slice(&mixed(!number).to_be_bytes());
    Name::from_bytes(bytes)
}

/// Nanoseconds for one call.
fn each(calls: u64, mut call: impl FnMut(u64)) -> f64 {
    let begun = Instant::now();
    (0..calls).for_each(&mut call);
    begun.elapsed().as_secs_f64() * 1e9 / calls as f64
}

fn growth() {
    let segment = Segment::family(1 << 30).expect("a gibibyte of address space");
    println!(
        "{:>10}{:>10}{:>10}{:>10}{:>12}",
        "sessions", "put ns", "get ns", "miss ns", "evictions"
    );
    let mut filled = 0;
    for until in [1_000, 10_000, 100_000, 1_000_000] {
        let put = each(until - filled, |number| {
            let _ = segment.put(name(filled + number), &RECORD, NOW + 3600, NOW);
        });
        filled = until;
        let get = each(ROUNDS, |number| {
            std::hint::black_box(segment.get(name(number * 7919 % until), NOW));
        });
        let miss = each(ROUNDS, |number| {
            std::hint::black_box(segment.get(name(u64::MAX - number), NOW));
        });
        let evictions = segment.counts().evictions;
        println!("{until:>10}{put:>10.0}{get:>10.0}{miss:>10.0}{evictions:>12}");
    }
}

/// Puts, gets and forgets in one bucket. Prints the time of one, and ends this worker's part.
fn work(segment: &Segment, worker: u64) -> f64 {
    each(ROUNDS, |round| {
        let name = name((round + worker) % 8);
        match round % 16 {
            0 => segment.forget(name, NOW + 1, NOW),
            1..4 => {
                let _ = segment.put(name, &RECORD, NOW + 3600, NOW);
            }
            _ => {
                std::hint::black_box(segment.get(name, NOW));
            }
        }
    })
}

fn contention() {
    let segment = Segment::family(12_288).expect("one bucket");
    println!("alone: {:.0} ns for an operation", work(&segment, 0));
    let both = thread::scope(|scope| {
        let other = scope.spawn(|| work(&segment, 1));
        [work(&segment, 0), other.join().unwrap_or(f64::NAN)]
    });
    println!("2 threads on the same slots: {:.0} and {:.0} ns", both[0], both[1]);
    let begun = Instant::now();
    let children: Vec<_> = (0..8)
        .map(|worker| {
            // SAFETY: the child uses the segment alone, and ends without a word.
            match unsafe { libc::fork() } {
                0 => {
                    work(&segment, worker);
                    // SAFETY: it ends here.
                    unsafe { libc::_exit(0) }
                }
                child => child,
            }
        })
        .collect();
    for child in children {
        let mut status = 0;
        // SAFETY: a child of ours, and room for its status.
        unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!(status, 0, "a child has not ended");
    }
    let took = begun.elapsed().as_secs_f64() * 1e9 / (8 * ROUNDS) as f64;
    let lost = segment.census(NOW).busy;
    println!(
        "8 processes on the same slots: {took:.0} ns of the machine's time each, {lost} slots lost"
    );
}

fn main() {
    growth();
    contention();
}
