//! What an encoded session tells that libssl has no function for during a handshake.

/// The flag of an extended master secret, in the element of the flags: `[13] EXPLICIT INTEGER`.
const FLAGS: u8 = 0xad;
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const EXTENDED_MASTER_SECRET: u8 = 1;

/// Returns whether an encoded session has an extended master secret; `None` if it is none.
pub(crate) fn has_extended_master_secret(session: &[u8]) -> Option<bool> {
    let (SEQUENCE, mut elements, []) = element(session)? else { return None };
    while !elements.is_empty() {
        let (tag, content, rest) = element(elements)?;
        if tag == FLAGS {
            let (INTEGER, flags, []) = element(content)? else { return None };
            return Some(flags.last()? & EXTENDED_MASTER_SECRET != 0);
        }
        elements = rest;
    }
    // Left out if no flag is set.
    Some(false)
}

/// The first element in DER: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match length {
        ..=0x7f => (usize::from(length), rest),
        0x81 => rest.split_first().map(|(&length, rest)| (usize::from(length), rest))?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    (length <= rest.len()).then(|| (tag, &rest[..length], &rest[length..]))
}

#[cfg(test)]
mod tests {
    use super::has_extended_master_secret as has;

    #[test]
    fn the_flag() {
        assert_eq!(has(&[0x30, 0]), Some(false));
        assert_eq!(has(&[0x30, 8, 4, 1, 9, 0xad, 3, 2, 1, 1]), Some(true));
        assert_eq!(has(&[0x30, 8, 4, 1, 9, 0xad, 3, 2, 1, 2]), Some(false));
        let long =
            [&[0x30, 0x82, 0, 136, 4, 0x81, 128][..], &[0; 128], &[0xad, 3, 2, 1, 5]].concat();
        assert_eq!(has(&long), Some(true));
    }

    #[test]
    fn what_is_no_session() {
        let whole = [0x30, 8, 4, 1, 9, 0xad, 3, 2, 1, 1];
        for length in 0..whole.len() {
            assert_eq!(has(&whole[..length]), None, "{length}");
        }
        assert_eq!(has(&[0x31, 0]), None);
        assert_eq!(has(&[0x30, 0, 0]), None, "something follows");
        assert_eq!(has(&[0x30, 0x80]), None, "no definite length");
        assert_eq!(has(&[0x30, 4, 0xad, 2, 2, 0]), None, "no number");
    }
}
