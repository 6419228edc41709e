//! Fuzzes key files and records. Nothing that was not sealed opens, and a key file is read line by line as a simple
//! reading of its lines says.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use sslsweep_seal::{Keys, OVERHEAD, Opened, flags};

const KEY: &[u8] = b"01020304 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// The ids of a text, if all its lines are right.
fn ids(text: &[u8]) -> Option<Vec<String>> {
    let mut ids = Vec::new();
    for line in text.split(|&byte| byte == b'\n') {
        let line: String =
            line.iter().take_while(|&&byte| byte != b'#').map(|&byte| byte as char).collect();
        let is_space = |it: char| it.is_ascii_whitespace();
        let words: Vec<&str> = line.split(is_space).filter(|word| !word.is_empty()).collect();
        match words[..] {
            [] => {}
            [id, hex] if id.len() == 8 && hex.len() == 64 => {
                (line.is_ascii() && words.concat().bytes().all(|it| it.is_ascii_hexdigit()))
                    .then_some(())?;
                ids.push(id.to_lowercase());
            }
            _ => return None,
        }
    }
    let others: BTreeSet<&String> = ids.iter().collect();
    ((1..=16).contains(&ids.len()) && others.len() == ids.len()).then_some(ids)
}

fuzz_target!(|data: &[u8]| {
    let read = Keys::parse(data).ok().map(|keys| keys.ids().map(|id| id.to_string()).collect());
    assert_eq!(read, ids(data));

    let keys = Keys::parse(KEY).expect("it is a key");
    let (mut record, mut plaintext) =
        (vec![0; data.len() + OVERHEAD], vec![0; data.len() + OVERHEAD]);
    assert!(keys.open(&[1; 16], b"data", data, &mut plaintext).is_err(), "nobody has sealed it");
    let name = data.first_chunk().unwrap_or(&[0; 16]);
    let length = keys.seal(7, name, data, data, &mut record);
    assert_eq!((length, flags(&record)), (Some(record.len()), Some(7)));
    let opened = keys.open(name, data, &record, &mut plaintext);
    assert_eq!(opened, Ok(Opened { flags: 7, length: data.len() }));
    assert_eq!(&plaintext[..data.len()], data);

    // Another name, and another byte where the input says so.
    let other = name.map(|byte| byte ^ 1);
    assert!(keys.open(&other, data, &record, &mut plaintext).is_err(), "it was moved");
    if let &[place, change, ..] = data {
        let place = usize::from(place) * record.len() / 256;
        record[place] ^= change.max(1);
        assert!(
            keys.open(name, data, &record, &mut plaintext).is_err(),
            "byte {place} was changed"
        );
    }
});
