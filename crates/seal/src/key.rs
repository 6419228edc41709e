//! Keys, and what is derived from them.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit};
use sha2::Sha256;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::record::scrub;

/// The most keys of a file.
pub const MOST_KEYS: usize = 16;

/// The public name of a key, which records carry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The keys of a file or a family: the first seals, all open. They are wiped when dropped.
pub struct Keys(Vec<Key>);

/// The secrets that are derived from a key of a file. The key itself is not kept.
pub(crate) struct Key {
    pub(crate) id: KeyId,
    /// The MAC of salts.
    pub(crate) mac: Hmac<Sha256>,
    /// The expansion to the key and nonce of each record.
    pub(crate) record: Hkdf<Sha256>,
    /// The MAC of session ids.
    pub(crate) ids: Hmac<Sha256>,
}

/// A MAC consists of hashes into which its key has gone, and hashes wipe themselves.
const _: () = {
    const fn is_wiped<T: ZeroizeOnDrop>() {}
    is_wiped::<Sha256>()
};

impl Keys {
    pub(crate) fn none() -> Self {
        // Never enlarged, so that no copy is left behind.
        Self(Vec::with_capacity(MOST_KEYS))
    }

    /// A key from an id and a secret, in this order.
    pub(crate) fn one(bytes: &[u8; 36]) -> Self {
        let mut keys = Self::none();
        if let (Some(id), Some(secret)) = (bytes.first_chunk(), bytes.last_chunk()) {
            keys.add(KeyId(*id), secret);
        }
        keys
    }

    pub(crate) fn add(&mut self, id: KeyId, secret: &[u8; 32]) {
        derive(id, secret, &mut self.0);
        scrub();
    }

    /// The ids of the keys, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.iter().map(|key| key.id)
    }

    /// The key that seals.
    pub(crate) fn first(&self) -> Option<&Key> {
        self.0.first()
    }

    pub(crate) fn all(&self) -> &[Key] {
        &self.0
    }

    /// The key with this id.
    pub(crate) fn find(&self, id: KeyId) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.ids()).finish()
    }
}

/// Adds what is derived from a secret, which is on the stack below the caller until it is in its place.
///
/// `None` never comes: 32 bytes are not too long for HKDF, nor too short as a key.
#[inline(never)]
fn derive(id: KeyId, secret: &[u8; 32], keys: &mut Vec<Key>) -> Option<()> {
    let expansions = Hkdf::<Sha256>::new(Some(b"sslsweep records 1"), secret);
    let expand = |info: &[u8]| {
        let mut part = Zeroizing::new([0; 32]);
        expansions.expand(info, &mut *part).ok().map(|()| part)
    };
    let mac = Hmac::new_from_slice(&*expand(b"mac")?).ok()?;
    let record = Hkdf::from_prk(&*expand(b"record")?).ok()?;
    let ids = Hmac::new_from_slice(&*expand(b"id")?).ok()?;
    keys.push(Key { id, mac, record, ids });
    Some(())
}
