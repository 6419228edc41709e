//! What a record is found by.

use sha2::{Digest as _, Sha256};
use sslsweep_segment::Name;

use crate::openssl::Digest;

/// A session and what finds it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: [u8; 16],
    associated: [u8; 4 + 32],
    length: usize,
}

impl Key {
    pub(crate) fn new(version: i32, id: &[u8]) -> Option<Self> {
        let mut associated = [0; 4 + 32];
        let length = 4 + id.len();
        associated[..4].copy_from_slice(&version.to_be_bytes());
        associated.get_mut(4..length).filter(|_| !id.is_empty())?.copy_from_slice(id);
        let digest: Digest = Sha256::digest(&associated[..length]).into();
        Some(Self { name: *digest.first_chunk()?, associated, length })
    }

    pub(crate) fn name(&self) -> Name {
        Name::from_bytes(self.name)
    }

    pub(crate) fn associated(&self) -> &[u8] {
        &self.associated[..self.length]
    }
}
