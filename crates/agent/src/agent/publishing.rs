//! From the segment to the engine.

use std::sync::atomic::Ordering;

use sslsweep_segment::{Change, Changes, Name, Tally};

use super::{
    ACTIVE, IDLE, LONGEST, Pause, Shared, keep_connected, may_travel, now, refuse_until_now,
};
use crate::engine::{self, BATCH, Engine, Error, Record, Removed};
use crate::log::Link;

pub(super) fn run(shared: &Shared<'_>) {
    let mut news = News { changes: shared.agent.changes(), first_pass: true };
    // Names whose change has to be told once more.
    let mut changed = Vec::new();
    keep_connected(
        shared,
        Link::Publishing,
        || {},
        |engine, pause| publish(shared, engine, &mut news, &mut changed, pause),
    );
}

/// Publishes until something fails, or others have to be heard first.
fn publish(
    shared: &Shared<'_>,
    engine: &mut Engine,
    news: &mut News<'_>,
    changed: &mut Vec<engine::Name>,
    pause: &mut Pause,
) -> Result<(), Error> {
    let mut rest = ACTIVE;
    while !shared.is_over() && shared.is_current() {
        tell_marks(shared, engine)?;
        if !changed.is_empty() {
            engine.tell_changed(shared.agent.segment().home(), changed)?;
            changed.clear();
        }
        let batch = Batch::of(shared, news);
        if !batch.is_empty() {
            match batch.send(shared, engine) {
                Ok(replaced) => *changed = replaced,
                Err(error) => {
                    batch.again(shared);
                    return Err(error);
                }
            }
        }
        shared.up(Link::Publishing);
        *pause = Pause::new();
        if batch.is_full() || !changed.is_empty() {
            continue;
        }
        rest = if batch.is_empty() { (rest * 2).min(IDLE) } else { ACTIVE };
        shared.rest(rest);
    }
    Ok(())
}

/// Tells the fleet of removals whose names nobody knows, because the segment had no room for them.
fn tell_marks(shared: &Shared<'_>, engine: &mut Engine) -> Result<(), Error> {
    if let Some(marks) = shared.agent.untold_marks() {
        let floor = now();
        refuse_until_now(shared, "the segment had no room for a removal");
        engine.tell_floor(floor)?;
        shared.agent.told_marks(marks);
    }
    Ok(())
}

/// The changes that have not been sent yet.
struct News<'a> {
    changes: Changes<'a>,
    /// Everything comes that is there, not only what has changed since the former agent.
    first_pass: bool,
}

/// The records and removals of one exchange with the engine.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    removed: Vec<Removed>,
    withheld: u64,
    looked_at: usize,
}

impl Batch {
    /// Collects what has changed, up to a bound.
    fn of(shared: &Shared<'_>, news: &mut News<'_>) -> Self {
        let (mut batch, now) = (Self::default(), now());
        // The engine may have evicted the tombstones of what was removed.
        let is_doubtful = news.first_pass && shared.missed.load(Ordering::Acquire);
        while batch.looked_at < BATCH {
            let Some(change) = news.changes.next_change(now) else {
                news.first_pass = false;
                break;
            };
            batch.looked_at += 1;
            match change {
                Change::Live { .. } if is_doubtful => batch.withheld += 1,
                change => batch.add(change, now),
            }
        }
        shared.agent.count(Tally::Withheld, batch.withheld);
        batch
    }

    fn add(&mut self, change: Change, now: u64) {
        match change {
            Change::Live { name, record, expiry } if may_travel(record.bytes()) => {
                if expiry > now {
                    let (name, bytes) = (name.to_bytes(), record.bytes().to_vec());
                    self.records.push(Record { name, expiry, bytes });
                }
            }
            Change::Dead { name, until, record }
                if record.as_ref().is_none_or(|it| may_travel(it.bytes())) =>
            {
                if until > now {
                    // No engine takes any time, and no record lives longer.
                    let until = until.min(now + LONGEST);
                    self.removed.push(Removed { name: name.to_bytes(), until });
                }
            }
            Change::Live { .. } | Change::Dead { .. } => self.withheld += 1,
        }
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.removed.is_empty()
    }

    fn is_full(&self) -> bool {
        self.looked_at == BATCH
    }

    /// Removals first: others still use what was removed. Returns the names of records that had others before.
    fn send(&self, shared: &Shared<'_>, engine: &mut Engine) -> Result<Vec<engine::Name>, Error> {
        let mut replaced = Vec::new();
        if !self.removed.is_empty() {
            let refused = engine.remove(&self.removed)?;
            shared.agent.count(Tally::Removed, self.removed.len() as u64);
            shared.agent.count(Tally::Unfit, refused);
        }
        if !self.records.is_empty() {
            let published = engine.publish(shared.agent.segment().home(), &self.records)?;
            shared.agent.count(Tally::Published, published.stored);
            // Put before the removal was heard of, or where it was lost.
            let now = now();
            for name in &published.buried {
                shared.agent.kill(Name::from_bytes(*name), now);
            }
            shared.agent.count(Tally::Tombstoned, published.buried.len() as u64);
            shared.agent.count(Tally::Unfit, published.refused);
            replaced = published.replaced;
        }
        Ok(replaced)
    }

    /// Nothing of it may have arrived.
    fn again(&self, shared: &Shared<'_>) {
        let now = now();
        let records = self.records.iter().map(|record| record.name);
        for name in records.chain(self.removed.iter().map(|removed| removed.name)) {
            shared.agent.again(Name::from_bytes(name), now);
        }
    }
}
