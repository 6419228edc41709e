//! From the segment to the engine.

use std::collections::HashSet;

use sslsweep_segment::{Change, Changes, Name, Tally};

use super::{
    ACTIVE, IDLE, LONGEST, Pause, Shared, keep_connected, may_travel, now, refuse_until_now,
};
use crate::engine::{self, BATCH, Engine, Error, Record, Removed};
use crate::log::Link;

pub(super) fn run(shared: &Shared<'_>) {
    let mut changes = shared.agent.changes();
    let mut owed = Owed::default();
    keep_connected(
        shared,
        Link::Publishing,
        || {},
        |engine, pause| publish(shared, engine, &mut changes, &mut owed, pause),
    );
}

/// Messages to the fleet that are due. The segment has no marks for them.
#[derive(Default)]
struct Owed {
    /// Names whose change has to be told once more.
    changed: Vec<engine::Name>,
    /// Names that were removed, and whose tombstones the engine could not take. In a Cluster another node has the stream.
    unheard: Vec<engine::Name>,
    /// The same, of which the machines were told already.
    heard: HashSet<engine::Name>,
    /// The looks to go.
    doubt: u8,
    /// The forgets without a name, and the time up to which everything is refused since.
    floor: Option<(u64, u64)>,
}

/// Publishes until something fails, or others have to be heard first.
fn publish(
    shared: &Shared<'_>,
    engine: &mut Engine,
    changes: &mut Changes<'_>,
    owed: &mut Owed,
    pause: &mut Pause,
) -> Result<(), Error> {
    let mut rest = ACTIVE;
    while !shared.is_over() && shared.is_current() {
        owed.tell(shared, engine)?;
        let batch = Batch::of(shared, changes);
        if let Err(error) = batch.send(shared, engine, owed) {
            batch.again(shared);
            owed.doubt = Owed::LOOKS;
            return Err(error);
        }
        if !batch.is_empty() {
            owed.doubt = 0;
        } else if !batch.is_full() {
            owed.doubt = owed.doubt.saturating_sub(1);
        }
        if owed.doubt == 0 {
            shared.up(Link::Publishing);
            *pause = Pause::new();
        }
        if batch.is_full() || !owed.changed.is_empty() {
            continue;
        }
        rest = if batch.is_empty() { (rest * 2).min(IDLE) } else { ACTIVE };
        shared.rest(rest);
    }
    Ok(())
}

impl Owed {
    /// The most names that are kept while the engine cannot take their tombstones.
    const MOST: usize = 1 << 16;
    /// The looks after a failure that must find nothing before the engine is taken for well: what failed comes with the second.
    const LOOKS: u8 = 2;

    fn tell(&mut self, shared: &Shared<'_>, engine: &mut Engine) -> Result<(), Error> {
        self.tell_marks(shared, engine)?;
        if !self.changed.is_empty() {
            engine.tell_changed(shared.agent.segment().home(), &self.changed)?;
            self.changed.clear();
        }
        if !self.unheard.is_empty() {
            engine.tell_removed(&self.unheard)?;
            self.heard.extend(self.unheard.drain(..));
        }
        Ok(())
    }

    /// Tells the fleet of removals whose names nobody knows, because the segment had no room for them.
    fn tell_marks(&mut self, shared: &Shared<'_>, engine: &mut Engine) -> Result<(), Error> {
        let Some(marks) = shared.agent.untold_marks() else { return Ok(()) };
        let floor = match self.floor {
            // Not once more with each attempt, or no session could be resumed while the engine takes nothing.
            Some((of, floor)) if of == marks => floor,
            _ => refuse_until_now(shared, "the segment had no room for a removal"),
        };
        self.floor = Some((marks, floor));
        engine.tell_floor(floor)?;
        shared.agent.told_marks(marks);
        Ok(())
    }

    /// The tombstones of these could not be put.
    fn is_unburied(&mut self, removed: &[Removed]) {
        if self.heard.len() >= Self::MOST {
            // Better told twice than not at all.
            self.heard.clear();
        }
        let names = removed.iter().map(|removed| removed.name);
        self.unheard.extend(names.filter(|name| !self.heard.contains(name)));
    }
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
    fn of(shared: &Shared<'_>, changes: &mut Changes<'_>) -> Self {
        let (mut batch, now) = (Self::default(), now());
        // These records were here when the machine missed removals. The engine may have evicted the tombstones.
        let withheld = shared.agent.withheld();
        while batch.looked_at < BATCH {
            let Some(change) = changes.next_change(now) else { break };
            batch.looked_at += 1;
            match change {
                Change::Live { number, .. } if number <= withheld => batch.withheld += 1,
                change => batch.add(change, now),
            }
        }
        shared.agent.count(Tally::Withheld, batch.withheld);
        batch
    }

    fn add(&mut self, change: Change, now: u64) {
        match change {
            Change::Live { name, record, expiry, .. } if may_travel(record.bytes()) => {
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

    /// Removals first: others still use what was removed.
    fn send(&self, shared: &Shared<'_>, engine: &mut Engine, owed: &mut Owed) -> Result<(), Error> {
        if !self.removed.is_empty() {
            let refused =
                engine.bury(&self.removed).inspect_err(|_| owed.is_unburied(&self.removed))?;
            let names: Vec<engine::Name> = self.removed.iter().map(|it| it.name).collect();
            engine.tell_removed(&names)?;
            for name in &names {
                owed.heard.remove(name);
            }
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
            owed.changed = published.replaced;
        }
        Ok(())
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
