//! The stream of removals: what is read of it, and how a gap is noticed.

use std::fmt;
use std::time::Duration;

use redis::{Value, cmd};

use super::{Engine, Error, Name, Settings, number, whole};

/// The entries that are read at once.
const COUNT: usize = 256;

/// The id of an entry: a time in milliseconds, and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Id {
    /// The engine's time.
    pub milliseconds: u64,
    /// The number among the entries of that time.
    pub sequence: u64,
}

impl Id {
    /// Before all entries. (0-0 is no place that anybody has been at.)
    pub const BEGIN: Self = Self { milliseconds: 0, sequence: 1 };

    fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|&byte| byte == b'-')?;
        Some(Self { milliseconds: number(&text[..dash])?, sequence: number(&text[dash + 1..])? })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.milliseconds, self.sequence)
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// These names were removed.
    Names(Vec<Name>),
    /// The machine with this number has made the lives of these records shorter.
    Changed(u64, Vec<Name>),
    /// Everything that was published until this time may have been removed. In seconds since the epoch.
    Floor(u64),
    /// The epoch is at least this.
    Epoch(u64),
}

/// What was read at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// What the entries say, in their order. Entries that say nothing we know are left out.
    pub entries: Vec<Entry>,
    /// Where to go on.
    pub last: Id,
    /// There may have been entries between those of the former read and these, which cannot be read any more.
    pub gap: Option<Gap>,
    /// These were the last entries for now.
    pub at_end: bool,
}

/// Who has missed entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// This reader, which came too late: the stream was trimmed.
    Ours,
    /// Perhaps everybody: the engine has fewer entries than it had.
    Everybodys,
}

/// A reader of the stream.
pub struct Removals {
    engine: Engine,
    wait: Duration,
}

impl Removals {
    /// Connects a reader, which waits for so long when there is nothing new.
    ///
    /// # Errors
    ///
    /// As [`Engine::connect`].
    pub fn connect(settings: &Settings, wait: Duration) -> Result<Self, Error> {
        Ok(Self { engine: Engine::connect_waiting(settings, wait)?, wait })
    }

    /// The engine, for other questions on the same connection.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The id of the last entry that there was ever, for a reader that needs none of them.
    ///
    /// # Errors
    ///
    /// The engine cannot answer at the moment.
    pub fn end(&mut self) -> Result<Id, Error> {
        Ok(self.state(Id::BEGIN)?.0.last.max(Id::BEGIN))
    }

    /// Reads what follows an entry. Waits for a while if there is nothing, and if `may_wait`.
    ///
    /// # Errors
    ///
    /// The engine cannot answer at the moment, or what it has is no stream.
    pub fn read(&mut self, after: Id, may_wait: bool) -> Result<Read, Error> {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(COUNT);
        if may_wait {
            command.arg("BLOCK").arg(self.wait.as_millis().max(1) as u64);
        }
        command.arg("STREAMS").arg(self.engine.stream_key()).arg(after.to_string());
        let answer = whole(self.engine.link.ask_one(command)?)?;
        let (entries, last, number) = parse(answer, after)?;
        // Asked afterwards: what was trimmed before the read is known now.
        let (state, is_there) = self.state(after)?;
        let gap = state.gap(after, is_there);
        // Where we have been is not in this stream, so that only its end is a place to go on. What is skipped is older than now, and
        // nothing of that is of use after such a gap.
        let last = if gap == Some(Gap::Everybodys) { state.last.max(Id::BEGIN) } else { last };
        Ok(Read { entries, last, gap, at_end: number < COUNT })
    }

    /// What is known of the stream, and whether it has this entry.
    fn state(&mut self, entry: Id) -> Result<(State, bool), Error> {
        let key = self.engine.stream_key();
        let (mut info, mut range) = (cmd("XINFO"), cmd("XRANGE"));
        info.arg("STREAM").arg(&key);
        range.arg(&key).arg(entry.to_string()).arg(entry.to_string()).arg("COUNT").arg(1);
        let mut answers = self.engine.link.ask(vec![info, range])?.into_iter();
        let mut next = || answers.next().ok_or_else(|| Error::answer("no answer"));
        let state = match next()? {
            // Nobody has removed anything, or everything was.
            Value::ServerError(error)
                if error.details().is_some_and(|it| it.contains("no such key")) =>
            {
                State::default()
            }
            answer => State::parse(whole(answer)?)?,
        };
        let is_there = matches!(whole(next()?)?, Value::Array(entries) if !entries.is_empty());
        Ok((state, is_there))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// The last entry that there was ever.
    last: Id,
    /// The first that is there.
    first: Id,
    /// The entries that are there.
    length: i64,
    /// The entries that were ever added.
    added: i64,
}

impl State {
    /// Whether there may have been entries after this one, which is in the stream or not, that are not there any more. (In Redis 7
    /// and Valkey 8 `max-deleted-entry-id` knows nothing of trimming.)
    fn gap(&self, after: Id, is_there: bool) -> Option<Gap> {
        let never_trimmed = self.added == self.length;
        if after == Id::BEGIN {
            // Nothing was read yet.
            return (!never_trimmed).then_some(Gap::Ours);
        }
        match () {
            () if is_there || self.last == after => None,
            // What we have read was never added to this stream: it was in one that is lost.
            () if self.last < after || never_trimmed || self.first < after => Some(Gap::Everybodys),
            () => Some(Gap::Ours),
        }
    }

    fn parse(answer: Value) -> Result<Self, Error> {
        let pairs: Vec<(Value, Value)> = match answer {
            Value::Map(pairs) => pairs,
            Value::Array(values) => {
                let mut values = values.into_iter();
                std::iter::from_fn(|| Some((values.next()?, values.next()?))).collect()
            }
            _ => Vec::new(),
        };
        let field = |wanted: &str| {
            let (_, value) = pairs.iter().find(|(key, _)| text(key) == Some(wanted.as_bytes()))?;
            Some(value)
        };
        let id = |wanted: &str| Id::parse(text(field(wanted)?)?);
        let number = |wanted: &str| match field(wanted)? {
            Value::Int(number) => Some(*number),
            _ => None,
        };
        let old = || Error::answer("the engine is too old: Redis 7 or Valkey 8 is needed");
        Ok(Self {
            last: id("last-generated-id").ok_or_else(old)?,
            first: id("recorded-first-entry-id").ok_or_else(old)?,
            length: number("length").ok_or_else(old)?,
            added: number("entries-added").ok_or_else(old)?,
        })
    }
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// The entries of an answer to `XREAD`, the id of the last one, and their number.
fn parse(answer: Value, after: Id) -> Result<(Vec<Entry>, Id, usize), Error> {
    let wrong = || Error::answer("the answer about the stream of removals makes no sense");
    let streams = match answer {
        Value::Nil => return Ok((Vec::new(), after, 0)),
        Value::Array(streams) => streams,
        _ => return Err(wrong()),
    };
    let Some(Value::Array(stream)) = streams.into_iter().next() else { return Err(wrong()) };
    let Some(Value::Array(items)) = stream.into_iter().nth(1) else { return Err(wrong()) };
    let number = items.len();
    let (mut entries, mut last) = (Vec::new(), after);
    for item in items {
        let Value::Array(item) = item else { return Err(wrong()) };
        let [id, Value::Array(fields)] = &item[..] else { return Err(wrong()) };
        let id = text(id).and_then(Id::parse).ok_or_else(wrong)?;
        if id <= last {
            return Err(wrong());
        }
        last = id;
        for pair in fields.chunks_exact(2) {
            entries.extend(entry(&pair[0], &pair[1]));
        }
    }
    Ok((entries, last, number))
}

fn entry(field: &Value, value: &Value) -> Option<Entry> {
    let value = text(value)?;
    match text(field)? {
        b"n" => Some(Entry::Names(names(value))),
        b"c" => {
            let (home, value) = value.split_first_chunk()?;
            Some(Entry::Changed(u64::from_be_bytes(*home), names(value)))
        }
        b"f" => number(value).map(Entry::Floor),
        b"e" => number(value).map(Entry::Epoch),
        _ => None,
    }
}

fn names(value: &[u8]) -> Vec<Name> {
    let names = value.chunks_exact(size_of::<Name>());
    names.filter_map(|name| name.try_into().ok()).collect()
}
