//! Key files, and records that are sealed with their keys.
//!
//! Sessions that leave a process's own memory travel as sealed records. The crate knows nothing of TLS or OpenSSL: a
//! record has a name of 16 bytes, associated data that both sides know, and a plaintext.
//!
//! Sealing uses no randomness, because a handshake must make no system call. A record is
//!
//! | bytes | content |
//! |---|---|
//! | 8 | header: `ss`, version, flags, id of the key |
//! | 32 | salt: HMAC-SHA-256 under the key's `mac` part over header, name, associated data and plaintext, each behind its length (8 bytes, big endian) |
//! | as the plaintext | AES-256-GCM ciphertext; its associated data are the record's |
//! | 16 | tag |
//!
//! The parts of a key are expansions of HKDF-SHA-256, with the salt `sslsweep records 1` and the infos `mac`, `record` and
//! `id`. The key and nonce of a record are the first 44 bytes of HKDF-Expand of the `record` part, with the
//! record's salt and header as info. So a key and nonce seal one plaintext only: two records have the same salt only if
//! everything in them is the same. After opening, the salt is computed again and compared in constant time, which binds
//! a record to its name. (A record's salt as that of HKDF-Extract would cost six more blocks of SHA-256, and the part is
//! as good a key as any that Extract makes.)
//!
//! A session id that holders of the keys recognise is 24 random bytes, and the first 8 bytes of HMAC-SHA-256 over them under
//! the `id` part of the key that seals. [`Keys::is_ours`] accepts the ids of every listed key, so that a rotation loses none.
//!
//! [`Keys::seal`], [`Keys::open`] and the functions of ids make no system call, allocate nothing, and panic on no input.

mod error;
mod file;
mod id;
mod key;
mod parse;
mod record;
mod system;

pub use error::KeyError;
pub use file::KeyFile;
pub use id::{ID, ID_RANDOM};
pub use key::{KeyId, Keys, MOST_KEYS};
pub use parse::new_line;
pub use record::{FOREIGN, OVERHEAD, Opened, Refusal, SINGLE_USE, flags};
