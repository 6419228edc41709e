//! Prints the time that sealing and opening take: `cargo run --release -p sslsweep-seal --example seal_speed`.

use std::hint::black_box;
use std::time::Instant;

use sslsweep_seal::{Keys, OVERHEAD};

const ROUNDS: u32 = 20_000;

/// The nanoseconds of one call: the best of ten series, so that others on the machine count little.
fn nanoseconds(mut call: impl FnMut()) -> u128 {
    let series = (0..10).map(|_| {
        let begin = Instant::now();
        (0..ROUNDS).for_each(|_| call());
        begin.elapsed().as_nanos() / u128::from(ROUNDS)
    });
    series.min().unwrap_or_default()
}

fn main() -> std::io::Result<()> {
    let keys = Keys::random()?;
    let (name, associated) = ([1; 16], [2; 70]);
    for length in [100, 300, 400] {
        let (mut plaintext, mut record) = (vec![3; length], vec![0; length + OVERHEAD]);
        let seal = nanoseconds(|| {
            black_box(keys.seal(0, &name, &associated, black_box(&plaintext), &mut record));
        });
        let mut is_open = true;
        let open = nanoseconds(|| {
            is_open &= keys.open(&name, &associated, black_box(&record), &mut plaintext).is_ok();
        });
        record[8] ^= 1;
        let refuse = nanoseconds(|| {
            is_open &= keys.open(&name, &associated, black_box(&record), &mut plaintext).is_err();
        });
        assert!(is_open, "what was timed has failed");
        println!("{length} bytes: seal {seal} ns, open {open} ns, refuse {refuse} ns");
    }
    let id = keys.make_id(&[4; 24]);
    let make = nanoseconds(|| {
        black_box(keys.make_id(black_box(&[4; 24])));
    });
    let check = nanoseconds(|| {
        black_box(keys.is_ours(black_box(&id)));
    });
    println!("ids: make {make} ns, recognise {check} ns");
    Ok(())
}
