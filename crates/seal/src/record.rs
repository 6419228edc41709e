//! Sealing and opening a record.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::key::{Key, KeyId, Keys};

const HEADER: usize = 8;
const SALT: usize = 32;
const TAG: usize = 16;

/// The bytes that sealing adds to a plaintext.
pub const OVERHEAD: usize = HEADER + SALT + TAG;

/// The first bytes of each record: a mark, and the version of the construction.
const MARK: [u8; 3] = *b"ss\x01";

/// A plaintext that was sealed under this name and these associated data, by somebody who has the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The flags that were sealed with it.
    pub flags: u8,
    /// The bytes of the plaintext.
    pub length: usize,
}

/// The reason for which a record is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is no record of this version, or its plaintext does not fit.
    Form,
    /// There is no key with its id.
    Key,
    /// It was changed, or was sealed under another name, with other associated data or with another key of this id.
    Tag,
}

/// The parts of a record.
struct Parts<'record> {
    header: &'record [u8; HEADER],
    salt: &'record [u8; SALT],
    ciphertext: &'record [u8],
    tag: &'record [u8; TAG],
}

impl<'record> Parts<'record> {
    fn of(record: &'record [u8]) -> Option<Self> {
        let (header, rest) = record.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        header.starts_with(&MARK).then_some(Self { header, salt, ciphertext, tag })
    }

    fn flags(&self) -> u8 {
        self.header[3]
    }

    fn id(&self) -> KeyId {
        let [.., a, b, c, d] = *self.header;
        KeyId([a, b, c, d])
    }
}

/// The flag of a record that is given out but once.
pub const SINGLE_USE: u8 = 1;

/// The flag of a record that stays on its machine: no holder of the keys has made its id, so no other machine asks for it; or
/// its session takes early data that may be replayed.
pub const FOREIGN: u8 = 2;

/// The flags that a record claims to have, which nobody has checked; `None` if it is no record.
pub fn flags(record: &[u8]) -> Option<u8> {
    Parts::of(record).map(|parts| parts.flags())
}

impl Keys {
    /// Seals `plaintext` with the first key into the beginning of `record`, and returns the record's length.
    ///
    /// `None` means that the record does not fit, and is as it was. The same input makes the same record.
    pub fn seal(
        &self,
        flags: u8,
        name: &[u8; 16],
        associated: &[u8],
        plaintext: &[u8],
        record: &mut [u8],
    ) -> Option<usize> {
        let key = self.first()?;
        let length = plaintext.len().checked_add(OVERHEAD)?;
        let record = record.get_mut(..length)?;
        let sealed = seal(key, flags, name, associated, plaintext, record);
        scrub();
        sealed.map(|()| length)
    }

    /// Opens a record that was sealed under this name with these associated data, into the beginning of `plaintext`.
    ///
    /// After a refusal, `plaintext` has nothing of the record in it. The caller wipes it otherwise.
    pub fn open(
        &self,
        name: &[u8; 16],
        associated: &[u8],
        record: &[u8],
        plaintext: &mut [u8],
    ) -> Result<Opened, Refusal> {
        let parts = Parts::of(record).ok_or(Refusal::Form)?;
        let plaintext = plaintext.get_mut(..parts.ciphertext.len()).ok_or(Refusal::Form)?;
        let key = self.find(parts.id()).ok_or(Refusal::Key)?;
        let opened = open(key, &parts, name, associated, plaintext);
        scrub();
        if opened.is_none() {
            plaintext.zeroize();
            return Err(Refusal::Tag);
        }
        Ok(Opened { flags: parts.flags(), length: plaintext.len() })
    }
}

#[inline(never)]
fn seal(
    key: &Key,
    flags: u8,
    name: &[u8; 16],
    associated: &[u8],
    plaintext: &[u8],
    record: &mut [u8],
) -> Option<()> {
    let (header, rest) = record.split_first_chunk_mut::<HEADER>()?;
    let (salt, rest) = rest.split_first_chunk_mut::<SALT>()?;
    let (ciphertext, tag) = rest.split_last_chunk_mut::<TAG>()?;
    let [m, n, o] = MARK;
    let KeyId([a, b, c, d]) = key.id;
    *header = [m, n, o, flags, a, b, c, d];
    *salt = salting(key, header, name, associated, plaintext).finalize().into_bytes().into();
    let (cipher, nonce) = cipher(key, header, salt)?;
    // Not in place: the plaintext is never in the record.
    let buffer = InOutBuf::new(plaintext, ciphertext).ok()?;
    *tag = cipher.encrypt_inout_detached((&*nonce).into(), associated, buffer).ok()?.into();
    Some(())
}

#[inline(never)]
fn open(
    key: &Key,
    parts: &Parts<'_>,
    name: &[u8; 16],
    associated: &[u8],
    plaintext: &mut [u8],
) -> Option<()> {
    let (cipher, nonce) = cipher(key, parts.header, parts.salt)?;
    let buffer = InOutBuf::new(parts.ciphertext, plaintext).ok()?;
    cipher.decrypt_inout_detached((&*nonce).into(), associated, buffer, parts.tag.into()).ok()?;
    // Compares in constant time.
    salting(key, parts.header, name, associated, plaintext).verify_slice(parts.salt).ok()
}

/// The MAC whose result is the salt. A length before each part keeps bytes from moving between parts.
fn salting(
    key: &Key,
    header: &[u8; HEADER],
    name: &[u8; 16],
    associated: &[u8],
    plaintext: &[u8],
) -> Hmac<Sha256> {
    let mut mac = key.mac.clone();
    for part in [header, &name[..], associated, plaintext] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

/// The cipher of one record, and its nonce.
fn cipher(
    key: &Key,
    header: &[u8; HEADER],
    salt: &[u8; SALT],
) -> Option<(Aes256Gcm, Zeroizing<[u8; 12]>)> {
    let mut bytes = Zeroizing::new([0; 44]);
    key.record.expand_multi_info(&[salt, header], &mut *bytes).ok()?;
    let cipher = Aes256Gcm::new_from_slice(bytes.first_chunk::<32>()?).ok()?;
    Some((cipher, Zeroizing::new(*bytes.last_chunk()?)))
}

/// Wipes the stack below the caller, where the functions that it called have left what they did not wipe: HKDF and HMAC
/// keep keys in plain arrays, and ciphers are moved. `tests/secrets.rs` found keys 5,700 bytes deep.
pub(crate) fn scrub() {
    zeroize::zeroize_stack::<8192>();
}
