//! The lines of a key file.

use std::io;

use zeroize::Zeroizing;

use crate::error::KeyError;
use crate::key::{KeyId, Keys, MOST_KEYS};
use crate::system;

impl Keys {
    /// Reads the text of a key file: lines `ID HEX`, of 8 and 64 hexadecimal digits. A `#` begins a comment.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let mut keys = Self::none();
        // Decoded in one place, which is wiped.
        let mut secret = Zeroizing::new([0; 32]);
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            let line = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
            if line.is_empty() {
                continue;
            }
            let id = key_line(line, &mut secret).ok_or(KeyError::Line(number))?;
            if keys.ids().any(|it| it == id) {
                return Err(KeyError::Duplicate(number, id));
            }
            if keys.ids().count() == MOST_KEYS {
                return Err(KeyError::TooMany(number));
            }
            keys.add(id, &secret);
        }
        if keys.ids().next().is_none() { Err(KeyError::Empty) } else { Ok(keys) }
    }
}

fn key_line(line: &[u8], secret: &mut [u8; 32]) -> Option<KeyId> {
    let (id, rest) = line.split_at_checked(8)?;
    let hex = rest.trim_ascii_start();
    let mut bytes = [0; 4];
    let whole = hex.len() < rest.len() && decode(id, &mut bytes) && decode(hex, secret);
    whole.then_some(KeyId(bytes))
}

/// Decodes hexadecimal digits that fill `bytes` exactly.
fn decode(hex: &[u8], bytes: &mut [u8]) -> bool {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|it| it as u8);
    hex.len() == 2 * bytes.len()
        && bytes.iter_mut().zip(hex.chunks_exact(2)).all(|(byte, pair)| {
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => {
                    *byte = high << 4 | low;
                    true
                }
                _ => false,
            }
        })
}

/// A line of a key file, without its end, with a new random key under a random id.
pub fn new_line() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 36]);
    system::random(&mut *bytes)?;
    // Never enlarged, so that no copy is left behind.
    let mut line = Zeroizing::new(String::with_capacity(73));
    for (place, byte) in bytes.iter().enumerate() {
        if place == 4 {
            line.push(' ');
        }
        for digit in [byte >> 4, byte & 15] {
            line.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
    Ok(line)
}
