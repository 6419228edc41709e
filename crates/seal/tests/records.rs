//! S6: a record opens exactly where it was sealed for, and the construction is the one that is documented.

use proptest::prelude::*;
use sslsweep_seal::{ID_RANDOM, Keys, OVERHEAD, Opened, Refusal, flags};

const NAME: [u8; 16] = *b"name of a record";
const ASSOCIATED: &[u8] = b"what both sides know";
const PLAINTEXT: &[u8] = b"a session, which nobody else shall see";

/// The line of a key file whose key is this number, over and over.
fn line(number: u8) -> String {
    format!("{number:08x} {}\n", format!("{number:02x}").repeat(32))
}

/// Keys of these numbers, of which the first seals.
fn keys(numbers: &[u8]) -> Keys {
    let text: String = numbers.iter().map(|&number| line(number)).collect();
    Keys::parse(text.as_bytes()).unwrap()
}

fn seal(keys: &Keys, name: &[u8; 16], associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut record = vec![0; plaintext.len() + OVERHEAD];
    assert_eq!(keys.seal(5, name, associated, plaintext, &mut record), Some(record.len()));
    record
}

fn open(
    keys: &Keys,
    name: &[u8; 16],
    associated: &[u8],
    record: &[u8],
) -> Result<Vec<u8>, Refusal> {
    let mut plaintext = vec![0xaa; 512];
    let opened = keys.open(name, associated, record, &mut plaintext);
    match opened {
        Ok(Opened { flags, length }) => {
            assert_eq!(flags, 5);
            assert!(plaintext[length..].iter().all(|&byte| byte == 0xaa), "nothing behind it");
            plaintext.truncate(length);
            Ok(plaintext)
        }
        Err(refusal) => {
            assert!(plaintext.iter().all(|&byte| byte == 0xaa || byte == 0), "nothing of it");
            Err(refusal)
        }
    }
}

/// The record of the constants under key 1, and that key.
fn sealed() -> (Keys, Vec<u8>) {
    let keys = keys(&[1]);
    let record = seal(&keys, &NAME, ASSOCIATED, PLAINTEXT);
    (keys, record)
}

/// Made by Python: `hmac.digest(expand(prk, b"id", 32), random, "sha256")[:8]`, with vectors.py's functions.
#[test]
fn s8_ids_are_made_as_documented() {
    let random: [u8; ID_RANDOM] = std::array::from_fn(|place| place as u8);
    let id = keys(&[1]).make_id(&random);
    assert_eq!(id[..ID_RANDOM], random);
    assert_eq!(id[ID_RANDOM..], [0x38, 0xe5, 0xf2, 0xf6, 0x5b, 0x97, 0xcf, 0x17]);
}

#[test]
fn s8_an_id_is_that_of_every_holder_of_a_key_and_of_nobody_else() {
    let (one, other, both) = (keys(&[1]), keys(&[2]), keys(&[2, 1]));
    let id = one.make_id(&[7; ID_RANDOM]);
    assert!(one.is_ours(&id) && both.is_ours(&id), "also a key that no longer seals");
    assert!(!other.is_ours(&id));
    assert!(other.is_ours(&both.make_id(&[7; ID_RANDOM])), "the first key makes ids");
    for place in 0..id.len() * 8 {
        let mut changed = id;
        changed[place / 8] ^= 1 << (place % 8);
        assert!(!one.is_ours(&changed), "bit {place}");
    }
    for length in 0..id.len() {
        assert!(!one.is_ours(&id[..length]), "{length} bytes");
    }
    assert!(!one.is_ours(&[&id[..], &[0]].concat()), "33 bytes");
}

#[test]
fn known_answers() {
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = hex.trim_matches('-').as_bytes().chunks(2);
        digits
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    };
    let lines = include_str!("vectors.tsv").lines();
    let mut answers = 0;
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, key, flag, name, associated, plaintext, record] = fields[..] else {
            panic!("{line}");
        };
        let keys = Keys::parse(format!("{id} {key}").as_bytes()).unwrap();
        let name = bytes(name).try_into().unwrap();
        let (associated, plaintext, record) = (bytes(associated), bytes(plaintext), bytes(record));
        let flag = bytes(flag)[0];

        let mut made = vec![0; record.len()];
        let length = keys.seal(flag, &name, &associated, &plaintext, &mut made);
        assert_eq!((length, &made), (Some(record.len()), &record), "{line}");
        assert_eq!(flags(&record), Some(flag));
        let mut back = vec![0; plaintext.len()];
        let opened = keys.open(&name, &associated, &record, &mut back);
        assert_eq!(opened, Ok(Opened { flags: flag, length: plaintext.len() }), "{line}");
        assert_eq!(back, plaintext);
        answers += 1;
    }
    assert_eq!(answers, 8);
}

#[test]
fn each_changed_byte_is_refused() {
    let (keys, record) = sealed();
    for place in 0..record.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = record.clone();
            changed[place] ^= change;
            let refusal = match place {
                0..=2 => Refusal::Form,
                4..=7 => Refusal::Key,
                _ => Refusal::Tag,
            };
            assert_eq!(open(&keys, &NAME, ASSOCIATED, &changed), Err(refusal), "byte {place}");
        }
    }
    assert_eq!(open(&keys, &NAME, ASSOCIATED, &record).unwrap(), PLAINTEXT);
}

#[test]
fn shorter_and_longer_ones_are_refused() {
    let (keys, mut record) = sealed();
    for length in 0..record.len() {
        let refusal = if length < OVERHEAD { Refusal::Form } else { Refusal::Tag };
        assert_eq!(open(&keys, &NAME, ASSOCIATED, &record[..length]), Err(refusal), "{length}");
        assert_eq!(flags(&record[..length]), (length >= OVERHEAD).then_some(5));
    }
    record.push(0);
    assert_eq!(open(&keys, &NAME, ASSOCIATED, &record), Err(Refusal::Tag));
}

#[test]
fn a_record_opens_in_its_own_place_only() {
    let (keys, record) = sealed();
    for place in 0..16 {
        let mut name = NAME;
        name[place] ^= 1;
        assert_eq!(open(&keys, &name, ASSOCIATED, &record), Err(Refusal::Tag), "name, {place}");
    }
    for associated in
        [&b""[..], &ASSOCIATED[1..], b"what both sides know ", b"What both sides know"]
    {
        assert_eq!(open(&keys, &NAME, associated, &record), Err(Refusal::Tag));
    }
    // The same bytes, with another border between them.
    let moved = seal(&keys, &NAME, b"ab", b"cd");
    assert_eq!(open(&keys, &NAME, b"abc", &moved), Err(Refusal::Tag));
    assert_ne!(moved[8..40], seal(&keys, &NAME, b"abc", b"d")[8..40]);
}

#[test]
fn parts_of_two_records_make_none() {
    let (keys, one) = sealed();
    let two = seal(&keys, &NAME, ASSOCIATED, &PLAINTEXT.to_ascii_uppercase());
    for range in [8..40, 40..one.len() - 16, one.len() - 16..one.len(), 40..one.len()] {
        let mut mixed = one.clone();
        mixed[range.clone()].copy_from_slice(&two[range.clone()]);
        assert_eq!(open(&keys, &NAME, ASSOCIATED, &mixed), Err(Refusal::Tag), "{range:?}");
    }
}

#[test]
fn keys_that_are_not_the_one() {
    let (_, record) = sealed();
    assert_eq!(open(&keys(&[2]), &NAME, ASSOCIATED, &record), Err(Refusal::Key));
    let same_id = Keys::parse(line(2).replace("00000002", "00000001").as_bytes()).unwrap();
    assert_eq!(open(&same_id, &NAME, ASSOCIATED, &record), Err(Refusal::Tag));
    let (one, two) = (Keys::random().unwrap(), Keys::random().unwrap());
    let record = seal(&one, &NAME, ASSOCIATED, PLAINTEXT);
    assert!(open(&two, &NAME, ASSOCIATED, &record).is_err());
    assert_eq!(open(&one, &NAME, ASSOCIATED, &record).unwrap(), PLAINTEXT);
}

#[test]
fn a_rotation_loses_no_record() {
    // The contents of the key files of two machines, in order: each step reaches one machine first.
    let steps = [&[1][..], &[1, 2], &[2, 1], &[2], &[2, 3], &[3, 2], &[3]];
    for (before, after) in steps.iter().zip(&steps[1..]) {
        let (old, new) = (keys(before), keys(after));
        for (sealer, opener) in [(&old, &new), (&new, &old)] {
            // A key that is retired seals nowhere any more.
            let record = seal(sealer, &NAME, ASSOCIATED, PLAINTEXT);
            assert_eq!(
                open(opener, &NAME, ASSOCIATED, &record).unwrap(),
                PLAINTEXT,
                "{before:?} {after:?}"
            );
        }
    }
    assert_eq!(
        keys(&[2, 1]).ids().map(|id| id.to_string()).collect::<Vec<_>>(),
        ["00000002", "00000001"]
    );
}

#[test]
fn room() {
    let (keys, _) = sealed();
    let mut record = vec![7; PLAINTEXT.len() + OVERHEAD - 1];
    assert_eq!(keys.seal(0, &NAME, b"", PLAINTEXT, &mut record), None);
    assert!(record.iter().all(|&byte| byte == 7));
    assert_eq!(keys.seal(0, &NAME, b"", PLAINTEXT, &mut []), None);

    // The rest of a slot is not touched.
    let mut slot = [7; 456];
    let length = keys.seal(0, &NAME, b"", PLAINTEXT, &mut slot).unwrap();
    assert!(slot[length..].iter().all(|&byte| byte == 7));
    assert_eq!(keys.seal(0, &NAME, b"", &[1; 400], &mut slot), Some(456));
    assert_eq!(keys.seal(0, &NAME, b"", &[1; 401], &mut slot), None);

    let mut small = [7; 399];
    assert_eq!(keys.open(&NAME, b"", &slot, &mut small), Err(Refusal::Form));
    assert_eq!(small, [7; 399]);
    assert!(keys.open(&NAME, b"", &slot, &mut [0; 400]).is_ok());
}

proptest! {
    #[test]
    fn what_is_sealed_opens(
        secret: [u8; 32], flag: u8, name: [u8; 16],
        associated in prop::collection::vec(any::<u8>(), 0..200),
        plaintext in prop::collection::vec(any::<u8>(), 0..600),
        other in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let keys = Keys::parse(format!("0a0b0c0d {hex}").as_bytes()).unwrap();
        let mut record = vec![0; plaintext.len() + OVERHEAD];
        prop_assert_eq!(keys.seal(flag, &name, &associated, &plaintext, &mut record), Some(record.len()));
        let mut back = vec![0; plaintext.len()];
        let opened = keys.open(&name, &associated, &record, &mut back);
        prop_assert_eq!(opened, Ok(Opened { flags: flag, length: plaintext.len() }));
        prop_assert_eq!(&back, &plaintext);
        // Without a secret in it, and under no other associated data.
        prop_assert!(plaintext.len() < 8 || !record.windows(plaintext.len()).any(|it| it == plaintext));
        if other != associated {
            prop_assert_eq!(keys.open(&name, &other, &record, &mut back), Err(Refusal::Tag));
        }
    }

    #[test]
    fn nothing_else_opens(name: [u8; 16], mut record in prop::collection::vec(any::<u8>(), 0..600), is_marked: bool) {
        let (keys, real) = sealed();
        if is_marked && record.len() >= 8 {
            record[..8].copy_from_slice(&real[..8]);
        }
        prop_assert!(keys.open(&name, b"", &record, &mut [0; 600]).is_err());
    }
}
