//! Ids chosen by an attacker (docs/security.md). What they cost is counted, not timed.

use std::process::Command;

use super::oracle::Session;
use super::{Cache, Expiry, Key, KeyMaker, Stored, count};

/// The most that a lookup touches on the average: a row of the index, and a slot. (Now and then one whose cell is alike.)
const MOST_TOUCHED: u64 = 3;

fn store_all(cache: &Cache<Session>, maker: &KeyMaker, ids: &[[u8; 32]]) {
    for (id, number) in ids.iter().zip(0..) {
        let key = maker.key(0x303, id);
        let stored = cache.store(key, Session::new(number), Expiry::from_seconds(1), 0);
        assert_eq!(stored, Stored::Added { evicted: None });
    }
}

/// Touches for each lookup of these ids, which are stored (`found`) or not.
fn touched(cache: &Cache<Session>, maker: &KeyMaker, ids: &[[u8; 32]], found: bool) -> u64 {
    let (counts, ()) = count::of(|| {
        for id in ids {
            assert_eq!(cache.get(maker.key(0x303, id)).is_some(), found);
        }
    });
    counts.touched / ids.len() as u64
}

/// Ids that differ in four bytes only, of which the first is at `from`.
fn ids(count: u32, from: usize, rest: u8) -> Vec<[u8; 32]> {
    let number = |number: u32| {
        let mut id = [rest; 32];
        id[from..from + 4].copy_from_slice(&number.to_be_bytes());
        id
    };
    (0..count).map(number).collect()
}

/// C4: wherever ids differ and whatever else they share, a lookup costs the same. From the fifth byte on they
/// are one list in libssl's own table, which hashes four.
#[test]
fn c4_ids_with_much_in_common_cost_as_much_as_others() {
    let count = 100_000;
    for from in [0, 4, 14, 28] {
        let (cache, maker) = (Cache::default(), KeyMaker::of_another_process());
        let (stored, others) = (ids(count, from, 0), ids(count, from, 1));
        store_all(&cache, &maker, &stored);
        assert!(touched(&cache, &maker, &stored, true) <= MOST_TOUCHED, "from {from}");
        assert!(touched(&cache, &maker, &others, false) <= MOST_TOUCHED, "from {from}");
        assert_eq!(cache.validate(), Ok(()));
    }
}

/// C4: ids as regular as can be cost the same under all secrets. (Sums of products are progressions then, and under one
/// secret in fifty these would meet in the same cells: see [`super::key`].)
#[test]
fn c4_regular_ids_cost_as_much_as_others_under_any_secrets() {
    let regular: [fn(u32) -> [u64; 4]; 3] = [
        |number| [number.into(), 0, 0, 0],
        |number| [0, 0, 0, u64::from(number) << 32],
        |number| [u64::from(number % 71), u64::from(number / 71), 0, 0],
    ];
    for word in regular {
        let ids: Vec<[u8; 32]> = (0..5_000)
            .map(|number| {
                let mut id = [0; 32];
                for (bytes, word) in id.chunks_exact_mut(8).zip(word(number)) {
                    bytes.copy_from_slice(&word.to_le_bytes());
                }
                id
            })
            .collect();
        let costs: Vec<u64> = (0..200)
            .map(|_| {
                let (cache, maker) = (Cache::default(), KeyMaker::of_another_process());
                store_all(&cache, &maker, &ids);
                let (counts, ()) = count::of(|| {
                    assert!(ids.iter().all(|id| cache.get(maker.key(0x303, id)).is_some()));
                });
                counts.touched
            })
            .collect();
        let mean = costs.iter().sum::<u64>() / costs.len() as u64;
        assert!(costs.iter().all(|&cost| cost <= 2 * mean), "{mean} on the average: {costs:?}");
    }
}

/// C4: ids that meet in one process (nobody outside can tell which) do not in another one, since each has
/// secrets of its own.
#[test]
fn c4_ids_that_meet_under_some_secrets_do_not_under_others() {
    let (known, other) = (KeyMaker::of_another_process(), KeyMaker::of_another_process());
    // One shard, and one 256th of what its directory tells apart: it has to grow for them alone.
    let meets = |key: Key| key.shard() == 7 && key.hash() >> 56 == 3;
    let chosen: Vec<_> =
        ids(2_000_000, 0, 0).into_iter().filter(|id| meets(known.key(0x303, id))).collect();
    assert!(chosen.len() > 2_000_000 / 8192, "{}", chosen.len());

    let most_touched = |maker: &KeyMaker| {
        let cache = Cache::default();
        let stores =
            chosen.chunks(1).map(|id| count::of(|| store_all(&cache, maker, id)).0.touched);
        let most = stores.max().expect("some were chosen");
        assert_eq!(cache.validate(), Ok(()));
        assert!(touched(&cache, maker, &chosen, true) <= MOST_TOUCHED, "lookups cost the same");
        most
    };
    let (met, spread) = (most_touched(&known), most_touched(&other));
    assert!(spread <= 100, "{spread}");
    assert!(
        met > 3 * spread,
        "{met} and {spread}: the ids do meet under the secrets they were chosen for"
    );
    let in_one_shard = chosen.iter().filter(|id| other.key(0x303, &id[..]).shard() == 7).count();
    assert!(in_one_shard <= chosen.len() / 4, "{in_one_shard} of {}", chosen.len());
}

/// C4: processes have different secrets.
#[test]
fn c4_each_process_has_secrets_of_its_own() {
    const TELL: &str = "SSLSWEEP_TEST_TELL_KEY";
    let key = format!("{:?}", KeyMaker::new().unwrap().key(0x303, &[7; 32]));
    if std::env::var_os(TELL).is_some() {
        println!("{key}");
        return;
    }
    let this = std::env::current_exe().expect("the test knows where it is");
    let told = || {
        let name = "cache::security::c4_each_process_has_secrets_of_its_own";
        let run =
            Command::new(&this).args([name, "--exact", "--nocapture"]).env(TELL, "1").output();
        let told = String::from_utf8(run.expect("it runs once more").stdout).expect("text");
        let at = told.find("Key(").expect("it tells its key");
        told[at..at + key.len()].to_owned()
    };
    let (one, other) = (told(), told());
    assert_eq!(one.len(), "Key()".len() + 32);
    assert!(one != other && one != key && other != key, "{one} {other} {key}");
}

/// The work of a lookup depends on the fingerprint, of one width, and on nothing of the id: not on how many of
/// its first bytes a stored one shares. (A clock would be no proof; the id itself is not kept.)
#[test]
fn a_lookup_does_not_depend_on_how_much_of_an_id_matches() {
    assert_eq!(size_of::<Key>(), 16, "no room for an id");
    let (cache, maker) = (Cache::default(), KeyMaker::of_another_process());
    let (stored, tries) = (ids(20_000, 0, 0), 20_000);
    store_all(&cache, &maker, &stored);
    let costs = [0, 8, 16, 24, 31].map(|shared| {
        let (counts, ()) = count::of(|| {
            for id in &stored[..tries] {
                let mut id = *id;
                id[shared..].iter_mut().for_each(|byte| *byte ^= 0x80);
                assert!(cache.get(maker.key(0x303, &id)).is_none());
            }
        });
        assert_eq!(counts.locks, tries as u64, "one lock each");
        counts.touched
    });
    let (least, most) = (costs.iter().min().unwrap(), costs.iter().max().unwrap());
    assert!(most * 2 <= least * 3, "the same but for chance: {costs:?}");
}
