//! Keys, and what is derived from them.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

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

/// What a key of a file is needed for. The key itself is not kept.
pub(crate) struct Key {
    pub(crate) id: KeyId,
    /// The HMAC key of salts.
    pub(crate) mac: [u8; 32],
    /// The input of HKDF for the key and nonce of each record.
    pub(crate) record: [u8; 32],
}

impl Drop for Key {
    fn drop(&mut self) {
        self.mac.zeroize();
        self.record.zeroize();
    }
}

impl ZeroizeOnDrop for Key {}

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
        self.0.push(Key { id, mac: [0; 32], record: [0; 32] });
        if let Some(key) = self.0.last_mut() {
            derive(secret, key);
            scrub();
        }
    }

    /// The ids of the keys, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.iter().map(|key| key.id)
    }

    /// The key that seals.
    pub(crate) fn first(&self) -> Option<&Key> {
        self.0.first()
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

#[inline(never)]
fn derive(secret: &[u8; 32], key: &mut Key) {
    let expansions = Hkdf::<Sha256>::new(Some(b"sslsweep records 1"), secret);
    // 32 bytes are never too long for HKDF.
    let _ = expansions.expand(b"mac", &mut key.mac);
    let _ = expansions.expand(b"record", &mut key.record);
}
