//! What was removed on other machines, and what they say about everybody's sessions.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sslsweep_segment::{Name, Position, Tally};

use super::{Pause, Shared, now, refuse_until_now};
use crate::engine::{Entry, Error, Gap, Id, Read, Removals};
use crate::log::{Link, say};

/// How long the engine waits for news.
const WAIT: Duration = Duration::from_millis(250);

/// How far another machine's clock may be ahead, in seconds.
const CLOCKS: u64 = 300;

/// The most by which the fleet raises the epoch at once beyond the clock. A hostile engine could else use up all epochs, and nothing
/// could be revoked again.
const EPOCHS: u64 = 1 << 16;

pub(super) fn run(shared: &Shared<'_>) {
    let mut pause = Pause::new();
    let mut is_refused = false;
    while !shared.is_over() {
        let result = Removals::connect(shared.settings, WAIT)
            .and_then(|mut removals| follow(shared, &mut removals, &mut pause, &mut is_refused));
        shared.set_current(false);
        if let Err(error) = result {
            shared.down(Link::Removals, &error);
            shared.rest(pause.next());
            shared.agent.count(Tally::Reconnected, 1);
        }
    }
}

/// Reads and applies until something fails. Everything older than a loss of the engine's may be refused already.
fn follow(
    shared: &Shared<'_>,
    removals: &mut Removals,
    pause: &mut Pause,
    is_refused: &mut bool,
) -> Result<(), Error> {
    let mut after = match shared.agent.stream() {
        Position { ms: 0, seq: 0 } => begin(shared, removals.end()?),
        Position { ms, seq } => Id { milliseconds: ms, sequence: seq },
    };
    let mut told_epoch = removals.engine().epoch()?;
    raise_epoch(shared, told_epoch);
    raise_floor(shared, removals.engine().floor()?);
    let mut is_current = false;
    while !shared.is_over() {
        let asked = Instant::now();
        let read = removals.read(after, is_current)?;
        if asked.elapsed() > shared.patience() {
            return Err(Error::answer("it answers too slowly"));
        }
        if read.gap == Some(Gap::Everybodys) {
            // At once, since an engine that is full or read-only cannot be told; and not again with each attempt, for then no session
            // could be resumed.
            if !*is_refused {
                shared.agent.segment().raise_floor(now());
                *is_refused = true;
            }
            // Also for machines that come later: records without their removals may be published again.
            removals.engine().tell_floor(now())?;
            let fleet = removals.engine().epoch()?;
            raise_epoch(shared, fleet);
            // The engine may have lost ours.
            told_epoch = fleet;
        }
        after = read.last;
        apply(shared, &read);
        *is_refused = false;
        shared.hear();
        // After the removals, which an engine that is full or read-only still tells.
        let epoch = shared.agent.segment().epoch();
        if told_epoch < epoch {
            removals.engine().raise_epoch(epoch)?;
            told_epoch = epoch;
        }
        if read.at_end && !is_current {
            is_current = true;
            shared.up(Link::Removals);
            shared.set_current(true);
            *pause = Pause::new();
        }
    }
    Ok(())
}

/// The first agent of a segment needs nothing of what was removed before: nothing of it was ever fetched.
fn begin(shared: &Shared<'_>, end: Id) -> Id {
    shared.agent.set_stream(Position { ms: end.milliseconds, seq: end.sequence });
    end
}

fn apply(shared: &Shared<'_>, read: &Read) {
    // Held until all is applied: what is being fetched is older or newer as a whole.
    let mut landing = shared.flights.land();
    if let Some(gap) = read.gap {
        shared.agent.count(Tally::Gap, 1);
        landing.cancel_all();
        let why = match gap {
            Gap::Ours => {
                // Before the stream is at its end, and so before anything is published.
                shared.missed.store(true, Ordering::Release);
                "this machine has missed removals"
            }
            Gap::Everybodys => "the engine has lost removals",
        };
        refuse_until_now(shared, why);
    }
    let now = now();
    for entry in &read.entries {
        match entry {
            Entry::Changed(home, _) if *home == shared.agent.segment().home() => {}
            Entry::Names(names) | Entry::Changed(_, names) => {
                let mut applied = 0;
                for name in names.iter().map(|name| Name::from_bytes(*name)) {
                    landing.cancel(name);
                    applied += u64::from(shared.agent.kill(name, now));
                }
                shared.agent.count(Tally::Applied, applied);
            }
            // Sessions of this machine have its own times.
            Entry::Floor(floor) => raise_floor(shared, now.max(*floor)),
            Entry::Epoch(epoch) => raise_epoch(shared, *epoch),
        }
    }
    let last = Position { ms: read.last.milliseconds, seq: read.last.sequence };
    if last != shared.agent.stream() {
        shared.agent.set_stream(last);
    }
}

/// Another machine's clock may be ahead, but not by any amount.
fn raise_floor(shared: &Shared<'_>, floor: u64) {
    shared.agent.segment().raise_floor(floor.min(now() + CLOCKS));
}

fn raise_epoch(shared: &Shared<'_>, fleet: u64) {
    let own = shared.agent.segment().epoch();
    if fleet <= own {
        return;
    }
    if !is_believed(fleet, own, now()) {
        say(format_args!("the engine names epoch {fleet}, which lies ahead, and is not believed"));
        return;
    }
    shared.agent.segment().raise_epoch(fleet);
    shared.agent.count(Tally::Revoked, 1);
    say(format_args!("epoch {fleet}: all sessions from before are revoked"));
}

/// An epoch is a time in seconds, or one more than the epoch before (`sslsweep share-key revoke`). Where that was ahead of the
/// clocks, so are the next ones.
fn is_believed(fleet: u64, own: u64, now: u64) -> bool {
    fleet <= now.saturating_add(CLOCKS).max(own.saturating_add(EPOCHS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_an_epoch_is_believed_up_to_the_clock_or_little_above_the_own() {
        let now = 2_000_000_000;
        assert!([1, 3, now, now + CLOCKS].iter().all(|&fleet| is_believed(fleet, 0, now)));
        assert!([now + CLOCKS + 1, u64::MAX].iter().all(|&fleet| !is_believed(fleet, 0, now)));
        let ahead = now + 3600;
        assert!(is_believed(ahead + 1, ahead, now) && is_believed(ahead + EPOCHS, ahead, now));
        assert!(!is_believed(ahead + EPOCHS + 1, ahead, now));
        assert!(is_believed(u64::MAX, u64::MAX - 1, now));
    }
}
