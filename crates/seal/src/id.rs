//! Session ids that holders of the keys recognise.

use hmac::Mac;

use crate::key::{Key, Keys};
use crate::record::scrub;

/// The bytes of an id.
pub const ID: usize = 32;

/// The bytes of an id that are random, and come first. (With 192 of them ids are as hard to guess as before.)
pub const ID_RANDOM: usize = 24;

impl Keys {
    /// The id that begins with these random bytes. Everybody who has the first key recognises it.
    pub fn make_id(&self, random: &[u8; ID_RANDOM]) -> [u8; ID] {
        let mut id = [0; ID];
        let (start, mac) = id.split_at_mut(ID_RANDOM);
        start.copy_from_slice(random);
        if let Some(key) = self.first() {
            make(key, random, mac);
            scrub();
        }
        id
    }

    /// Returns whether somebody who has one of these keys has made this id. A guess is right once in 2^64 times for each key;
    /// whoever has seen an id can repeat it.
    pub fn is_ours(&self, id: &[u8]) -> bool {
        let Some((random, mac)) = id.split_at_checked(ID_RANDOM) else { return false };
        let is_ours = id.len() == ID && self.all().iter().any(|key| fits(key, random, mac));
        scrub();
        is_ours
    }
}

#[inline(never)]
fn make(key: &Key, random: &[u8], mac: &mut [u8]) {
    let whole = key.ids.clone().chain_update(random).finalize().into_bytes();
    mac.copy_from_slice(&whole[..mac.len()]);
}

/// Compares in constant time.
#[inline(never)]
fn fits(key: &Key, random: &[u8], mac: &[u8]) -> bool {
    key.ids.clone().chain_update(random).verify_truncated_left(mac).is_ok()
}
