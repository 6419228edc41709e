//! What a record holds when it is open.

use zeroize::Zeroizing;

use crate::openssl::{Digest, ENCODED};

const FIXED: usize = 32 + 32 + 8 + 8 + 8;

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
    /// When it was published.
    pub(crate) published: i64,
    /// The number of the handshake that it comes from, which others have resumed since: see [`crate::flushed`].
    pub(crate) origin: u64,
    /// The session, as libssl encodes it.
    pub(crate) session: &'a [u8],
}

impl<'a> Contents<'a> {
    /// Writes the contents. Returns their length.
    pub(crate) fn write(&self, into: &mut Bytes) -> Option<usize> {
        let parts: [&[u8]; 6] = [
            &self.entrance,
            &self.outcome,
            &self.expiry.to_be_bytes(),
            &self.published.to_be_bytes(),
            &self.origin.to_be_bytes(),
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
        let (&published, from) = from.split_first_chunk()?;
        let (&origin, session) = from.split_first_chunk()?;
        Some(Self {
            entrance,
            outcome,
            expiry: i64::from_be_bytes(expiry),
            published: i64::from_be_bytes(published),
            origin: u64::from_be_bytes(origin),
            session,
        })
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
            published: -3,
            origin: 1 << 63,
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
