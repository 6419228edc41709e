//! The engine that all machines use: Redis 7 or Valkey 8, alone, as a Cluster or behind sentinels.
//!
//! | key | holds |
//! |---|---|
//! | `PREFIX:r:NAME` | a record: its expiry (8 bytes, big endian) and its bytes; or nothing at all, which is a *tombstone*: the record was removed |
//! | `PREFIX:{fleet}:removed` | a stream: what was removed, as many names in a field `n`; everything published until a time, `f`; an epoch, `e`; records whose lives a machine has made shorter, `c`: the machine's number (8 bytes) and names |
//! | `PREFIX:{fleet}:epoch` | the highest epoch that anybody has published |
//! | `PREFIX:{fleet}:floor` | the latest time of those in fields `f`, for machines that come later |
//!
//! The last three are on one node of a Cluster (`{fleet}`), so that they are there or away together.
//!
//! A key expires with its record. NAME is 32 hexadecimal digits. A tombstone is never replaced by a record, and a record by
//! none that expires later: another machine may send what it knew before.
//!
//! The engine is trusted with nothing. Whatever it answers becomes a record of bounded size, which the servers check, or is
//! dropped. Every operation has a time limit, and is safe to repeat.

mod connection;
mod error;
mod settings;
mod stream;

use std::time::Duration;

use redis::{Cmd, Value, cmd};

use connection::{Link, is_about_one};
pub use error::Error;
pub use settings::{Settings, Topology};
pub use stream::{Entry, Gap, Id, Read, Removals};

/// The name of a record.
pub type Name = [u8; 16];

/// The largest number of names in one operation.
pub const BATCH: usize = 512;

/// The names in an entry of the stream.
pub const ENTRY_NAMES: usize = 128;

/// The longest value that is taken: an expiry and a record that fits a slot.
const MOST_BYTES: usize = EXPIRY + sslsweep_segment::ROOM;
const EXPIRY: usize = 8;

/// Puts a record where none is, or in place of another one if all machines know (`1`). What is there may be newer: a tombstone, or one
/// whose life was made shorter.
const REPLACE: &str = "\
local old = redis.call('GET', KEYS[1])
if old == '' then return 2 end
if old == ARGV[1] then return 0 end
if old and redis.call('EXPIRETIME', KEYS[1]) < tonumber(ARGV[2]) then return 0 end
if old and ARGV[3] ~= '1' then return 3 end
redis.call('SET', KEYS[1], ARGV[1], 'EXAT', ARGV[2])
return 1";

/// Raises a number, and tells all machines in the stream. A number that lies further ahead of the engine's clock than `ARGV[4]`
/// allows is from a clock that was ahead, and nobody believes it: such an old one is replaced, such a new epoch not told, and such
/// a new floor is as late as is believed. (That the engine's clock is asked keeps a machine whose own is behind from replacing what
/// the others believe.)
const TELL: &str = "\
local latest = tonumber(redis.call('TIME')[1]) + tonumber(ARGV[5])
local old = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
local new = tonumber(ARGV[2])
if new > math.max(latest, old + tonumber(ARGV[4])) then
    if ARGV[1] ~= 'f' then return 0 end
    new = latest
end
if new <= old and old <= math.max(latest, new + tonumber(ARGV[4])) then return 0 end
local digits = string.format('%.0f', new)
redis.call('SET', KEYS[2], digits)
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', ARGV[1], digits)
return 1";

/// How far apart the clocks of machines may be, in seconds.
pub const CLOCKS: u64 = 300;

/// The most by which an epoch is believed that lies ahead of the clocks: beyond the epoch before. A hostile engine could else use up
/// all epochs, and nothing could be revoked again.
pub const EPOCHS: u64 = 1 << 16;

/// Chooses the cryptography of TLS, once for the process.
pub fn use_tls() {
    // It fails if somebody has chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A record on its way to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: Name,
    /// When it expires, in seconds since the epoch.
    pub expiry: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A name that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// The name.
    pub name: Name,
    /// When the last record under the name expires, in seconds since the epoch.
    pub until: u64,
}

/// What became of published records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// The engine has stored them.
    pub stored: u64,
    /// Of these, the ones in place of others. All machines were told before, and have to be told again (see
    /// [`Engine::tell_changed`]): some may have fetched the others meanwhile.
    pub replaced: Vec<Name>,
    /// The engine had them, or has some that expire earlier.
    pub kept: u64,
    /// Machines have removed them.
    pub buried: Vec<Name>,
    /// The engine refused them, each for itself.
    pub refused: u64,
}

/// What the engine has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A record, with its expiry.
    Record {
        /// When it expires, in seconds since the epoch, as the engine says.
        expiry: u64,
        /// Its bytes, as the engine says.
        bytes: Vec<u8>,
    },
    /// Nothing, or a tombstone.
    Absent,
    /// Something that is no record.
    Unusable,
}

/// A connection to the engine. After an error it is of no use; connect again.
pub struct Engine {
    link: Link,
    prefix: String,
    entries: u64,
}

impl Engine {
    /// Connects to the engine, within the time limits of the settings.
    ///
    /// # Errors
    ///
    /// The engine cannot be reached, refuses the user, or is not what the settings say.
    pub fn connect(settings: &Settings) -> Result<Self, Error> {
        Self::connect_waiting(settings, Duration::ZERO)
    }

    /// Connects, for a reader that lets the engine wait for as long.
    fn connect_waiting(settings: &Settings, wait: Duration) -> Result<Self, Error> {
        let link = Link::connect(settings, wait)?;
        Ok(Self { link, prefix: settings.prefix.clone(), entries: settings.entries })
    }

    /// Publishes at most [`BATCH`] records of this machine, `home`.
    ///
    /// # Errors
    ///
    /// The engine cannot take records at the moment. Some may be stored.
    pub fn publish(&mut self, home: u64, records: &[Record]) -> Result<Published, Error> {
        let values: Vec<Vec<u8>> = records.iter().map(value).collect();
        let set = |(record, value): (&Record, &Vec<u8>)| {
            let mut command = cmd("SET");
            command.arg(self.key(&record.name)).arg(value).arg("NX").arg("EXAT").arg(record.expiry);
            command
        };
        // Nearly all are new.
        let commands = records.iter().zip(&values).map(set).collect();
        let answers = self.link.ask(commands)?;
        let mut published = Published::default();
        let mut there = Vec::new();
        for ((answer, record), value) in answers.into_iter().zip(records).zip(&values) {
            match each(answer)? {
                Some(Value::Okay) => published.stored += 1,
                Some(Value::Nil) => there.push((record, value)),
                _ => published.refused += 1,
            }
        }
        let others = self.replace(there, false, &mut published)?;
        if !others.is_empty() {
            // Now, since nobody knows of it who finds the record replaced: neither the next agent, nor this one after an error.
            published.replaced = others.iter().map(|(record, _)| record.name).collect();
            self.tell_changed(home, &published.replaced)?;
            self.replace(others, true, &mut published)?;
        }
        Ok(published)
    }

    /// Puts records in place of what is there; where that is another record, only if all machines were told. Returns the records
    /// for which they have to be.
    fn replace<'a>(
        &mut self,
        records: Vec<(&'a Record, &'a Vec<u8>)>,
        are_told: bool,
        published: &mut Published,
    ) -> Result<Vec<(&'a Record, &'a Vec<u8>)>, Error> {
        let replace = |(record, value): &(&Record, &Vec<u8>)| {
            let mut command = cmd("EVAL");
            command.arg(REPLACE).arg(1).arg(self.key(&record.name));
            command.arg(*value).arg(record.expiry).arg(u8::from(are_told));
            command
        };
        let commands = records.iter().map(replace).collect();
        let mut others = Vec::new();
        for (answer, record) in self.link.ask(commands)?.into_iter().zip(records) {
            match each(answer)? {
                Some(Value::Int(1)) => published.stored += 1,
                Some(Value::Int(3)) => others.push(record),
                Some(Value::Int(2)) => published.buried.push(record.0.name),
                Some(Value::Int(_)) => published.kept += 1,
                _ => published.refused += 1,
            }
        }
        Ok(others)
    }

    /// Puts tombstones under at most [`BATCH`] names. Returns how many the engine refused, each for itself: others may publish
    /// these again.
    ///
    /// # Errors
    ///
    /// The engine cannot do it at the moment. The call has to be repeated.
    pub fn bury(&mut self, removed: &[Removed]) -> Result<u64, Error> {
        let bury = |removed: &Removed| {
            let mut command = cmd("SET");
            command.arg(self.key(&removed.name)).arg("").arg("EXAT").arg(removed.until);
            command
        };
        let commands = removed.iter().map(bury).collect();
        let mut refused = 0;
        for answer in self.link.ask(commands)? {
            refused += u64::from(each(answer)?.is_none());
        }
        Ok(refused)
    }

    /// Tells all machines that names were removed. Best after [`bury`](Self::bury): who reads of it and asks again finds the
    /// tombstone.
    ///
    /// # Errors
    ///
    /// The engine cannot do it at the moment. The call has to be repeated, since some machines may know and some not.
    pub fn tell_removed(&mut self, names: &[Name]) -> Result<(), Error> {
        let entries = names.chunks(ENTRY_NAMES).map(|names| self.entry("n", names.as_flattened()));
        self.add(entries.collect())
    }

    /// Adds entries to the stream.
    fn add(&mut self, entries: Vec<Cmd>) -> Result<(), Error> {
        for answer in self.link.ask(entries)? {
            whole(answer)?;
        }
        Ok(())
    }

    /// Tells all machines but this one, `home`, that records of at most [`BATCH`] names are not what they were.
    ///
    /// # Errors
    ///
    /// The engine cannot do it at the moment. The call has to be repeated.
    pub fn tell_changed(&mut self, home: u64, names: &[Name]) -> Result<(), Error> {
        let entries = names.chunks(ENTRY_NAMES).map(|names| {
            let home = home.to_be_bytes();
            self.entry("c", [&home, names.as_flattened()].concat())
        });
        self.add(entries.collect())
    }

    /// Tells all machines that everything published until this time, in seconds since the epoch, may have been removed; unless
    /// they were told of a later time.
    ///
    /// # Errors
    ///
    /// The engine cannot do it at the moment. The call has to be repeated.
    pub fn tell_floor(&mut self, floor: u64) -> Result<(), Error> {
        self.tell("f", "floor", floor, 0)
    }

    /// The latest time that [`tell_floor`](Self::tell_floor) was told on any machine, in seconds since the epoch; or 0.
    ///
    /// # Errors
    ///
    /// The engine cannot answer at the moment.
    pub fn floor(&mut self) -> Result<u64, Error> {
        self.number("floor")
    }

    /// Looks for at most [`BATCH`] names. The answers are in their order.
    ///
    /// # Errors
    ///
    /// The engine cannot answer at the moment.
    pub fn fetch(&mut self, names: &[Name]) -> Result<Vec<Found>, Error> {
        let get = |name: &Name| {
            let mut command = cmd("GET");
            command.arg(self.key(name));
            command
        };
        let commands = names.iter().map(get).collect();
        self.link.ask(commands)?.into_iter().map(|answer| Ok(found(each(answer)?))).collect()
    }

    /// The highest epoch that anybody has published.
    ///
    /// # Errors
    ///
    /// The engine cannot answer at the moment.
    pub fn epoch(&mut self) -> Result<u64, Error> {
        self.number("epoch")
    }

    /// Publishes an epoch, and tells all machines; unless there is a higher one.
    ///
    /// # Errors
    ///
    /// The engine cannot do it at the moment. The call has to be repeated.
    pub fn raise_epoch(&mut self, epoch: u64) -> Result<(), Error> {
        self.tell("e", "epoch", epoch, EPOCHS)
    }

    fn number(&mut self, word: &str) -> Result<u64, Error> {
        let mut command = cmd("GET");
        command.arg(self.word_key(word));
        match whole(self.link.ask_one(command)?)? {
            Value::BulkString(digits) => Ok(number(&digits).unwrap_or(0)),
            _ => Ok(0),
        }
    }

    fn tell(&mut self, field: &str, word: &str, number: u64, ahead: u64) -> Result<(), Error> {
        let mut command = cmd("EVAL");
        command.arg(TELL).arg(2).arg(self.stream_key()).arg(self.word_key(word));
        command.arg(field).arg(number).arg(self.entries).arg(ahead).arg(CLOCKS);
        whole(self.link.ask_one(command)?).map(drop)
    }

    /// Tries what an agent writes, in ways that change nothing: records that expire at once, the script that raises a number, and an
    /// entry of the stream that no reader knows, without trimming. The results are in this order.
    pub fn try_writes(&mut self) -> [Result<(), Error>; 3] {
        // As many as leave no node of a Cluster out, or hardly ever.
        let records = (0..64).map(|byte| {
            let mut command = cmd("SET");
            command.arg(self.key(&[byte; 16])).arg("").arg("NX").arg("PX").arg(1);
            command
        });
        let records = records.collect();
        let mut entry = cmd("XADD");
        entry.arg(self.stream_key()).arg("*").arg("check").arg(1);
        let records = self
            .link
            .ask(records)
            .and_then(|answers| answers.into_iter().try_for_each(|answer| whole(answer).map(drop)));
        let raised = self.tell("e", "epoch", 0, u64::MAX);
        [records, raised, self.link.ask_one(entry).and_then(whole).map(drop)]
    }

    /// Any command, for questions about the engine itself. A Cluster may answer with a map, from each of its nodes.
    ///
    /// # Errors
    ///
    /// The engine cannot answer, or refuses.
    pub fn query(&mut self, words: &[&str]) -> Result<Value, Error> {
        let [first, others @ ..] = words else { return Err(Error::answer("no command")) };
        let mut command = cmd(first);
        others.iter().for_each(|word| {
            command.arg(word);
        });
        self.link.ask_anywhere(&command)
    }

    fn key(&self, name: &Name) -> Vec<u8> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut key = Vec::with_capacity(self.prefix.len() + 3 + 2 * name.len());
        key.extend_from_slice(self.prefix.as_bytes());
        key.extend_from_slice(b":r:");
        for byte in name {
            key.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        key
    }

    fn stream_key(&self) -> String {
        self.word_key("removed")
    }

    fn word_key(&self, word: &str) -> String {
        format!("{}:{{fleet}}:{word}", self.prefix)
    }

    fn entry(&self, field: &str, value: impl redis::ToRedisArgs) -> Cmd {
        let mut command = cmd("XADD");
        command
            .arg(self.stream_key())
            .arg("MAXLEN")
            .arg("~")
            .arg(self.entries)
            .arg("*")
            .arg(field)
            .arg(value);
        command
    }
}

fn value(record: &Record) -> Vec<u8> {
    [&record.expiry.to_be_bytes(), &record.bytes[..]].concat()
}

fn found(answer: Option<Value>) -> Found {
    match answer {
        Some(Value::Nil) => Found::Absent,
        Some(Value::BulkString(bytes)) if bytes.is_empty() => Found::Absent,
        Some(Value::BulkString(bytes)) if bytes.len() <= MOST_BYTES => {
            match bytes.split_first_chunk::<EXPIRY>() {
                Some((expiry, record)) if !record.is_empty() => {
                    Found::Record { expiry: u64::from_be_bytes(*expiry), bytes: record.to_vec() }
                }
                _ => Found::Unusable,
            }
        }
        _ => Found::Unusable,
    }
}

/// The answer about one name of several; `None` if the engine refuses this one. An error that is about all of them is ours.
fn each(answer: Value) -> Result<Option<Value>, Error> {
    let Value::ServerError(error) = answer else { return Ok(Some(answer)) };
    if is_about_one(&error) { Ok(None) } else { Err(error.into()) }
}

/// The answer to a command that has to succeed.
fn whole(answer: Value) -> Result<Value, Error> {
    match answer {
        Value::ServerError(error) => Err(error.into()),
        answer => Ok(answer),
    }
}

/// A number in decimal digits, as the engine stores numbers.
fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
