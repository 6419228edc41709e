//! What a record holds when it is open.

use sslsweep_share_table::Origin;
use zeroize::Zeroizing;

use crate::openssl::{Digest, ENCODED};

const FIXED: usize = 32 + 32 + 5 * 8;

/// The room for the contents of a record.
pub(crate) const ROOM: usize = FIXED + ENCODED;

/// An open record's bytes.
pub(crate) type Bytes = Zeroizing<[u8; ROOM]>;

/// The contents of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents<'a> {
    pub(crate) entrance: Digest,
    pub(crate) outcome: Digest,
    /// When the session expires, in seconds since the epoch.
    pub(crate) expiry: i64,
    /// The handshake that it comes from, which others have resumed since: see [`crate::flushed`].
    pub(crate) origin: Origin,
    /// The session, as libssl encodes it.
    pub(crate) session: &'a [u8],
}

impl<'a> Contents<'a> {
    /// Writes the contents. Returns their length.
    pub(crate) fn write(&self, into: &mut Bytes) -> Option<usize> {
        let Origin { home, number, time, epoch } = self.origin;
        let parts: [&[u8]; 8] = [
            &self.entrance,
            &self.outcome,
            &self.expiry.to_be_bytes(),
            &home.to_be_bytes(),
            &number.to_be_bytes(),
            &time.to_be_bytes(),
            &epoch.to_be_bytes(),
            self.session,
        ];
        let mut at = 0;
        for part in parts {
            into.get_mut(at..at + part.len())?.copy_from_slice(part);
            at += part.len();
        }
        Some(at)
    }

    /// Reads the contents; `None` if they are not complete.
    pub(crate) fn read(from: &'a [u8]) -> Option<Self> {
        let (&entrance, from) = from.split_first_chunk()?;
        let (&outcome, from) = from.split_first_chunk()?;
        let (&expiry, from) = from.split_first_chunk()?;
        let (&home, from) = from.split_first_chunk()?;
        let (&number, from) = from.split_first_chunk()?;
        let (&time, from) = from.split_first_chunk()?;
        let (&epoch, session) = from.split_first_chunk()?;
        let origin = Origin {
            home: u64::from_be_bytes(home),
            number: u64::from_be_bytes(number),
            time: i64::from_be_bytes(time),
            epoch: u64::from_be_bytes(epoch),
        };
        let expiry = i64::from_be_bytes(expiry);
        Some(Self { entrance, outcome, expiry, origin, session })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let contents = Contents {
            entrance: [1; 32],
            outcome: [2; 32],
            expiry: i64::MAX,
            origin: Origin { home: 1 << 63, number: 2, time: -3, epoch: 4 },
            session: b"session",
        };
        let mut bytes = Bytes::new([0; ROOM]);
        let length = contents.write(&mut bytes).unwrap();
        assert_eq!(Contents::read(&bytes[..length]), Some(contents));
        for shorter in 0..FIXED {
            assert_eq!(Contents::read(&bytes[..shorter]), None, "{shorter}");
        }
        let too_large = Contents { session: &[0; ENCODED + 1], ..contents };
        assert_eq!(too_large.write(&mut bytes), None);
    }
}
