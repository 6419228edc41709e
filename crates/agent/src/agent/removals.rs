//! What was removed on other machines, and what they say about everybody's sessions.

use std::time::{Duration, Instant};

use sslsweep_segment::{Name, Position, Tally};

use super::{Pause, Shared, latest, now, refuse_until_now};
use crate::engine::{CLOCKS, EPOCHS, Entry, Error, Gap, Id, Read, Removals};
use crate::log::Link;

/// How long the engine waits for news.
const WAIT: Duration = Duration::from_millis(250);

pub(super) fn run(shared: &Shared<'_>) {
    let mut pause = Pause::new();
    let mut known = Known::default();
    while !shared.is_over() {
        let result = Removals::connect(shared.settings, WAIT)
            .and_then(|mut removals| follow(shared, &mut removals, &mut pause, &mut known));
        if let Err(error) = &result {
            // First: this is the reason for which the others do not go on.
            shared.down(Link::Removals, error);
        }
        shared.set_current(false);
        if result.is_err() {
            shared.rest(pause.next());
            shared.agent.count(Tally::Reconnected, 1);
        }
    }
}

/// Facts that outlive a connection.
#[derive(Default)]
struct Known {
    /// Everything older than a loss of the engine's is refused already.
    is_refused: bool,
    /// The floor that was not believed last. Everything until then was refused.
    wrong_floor: u64,
}

/// Reads and applies until something fails.
fn follow(
    shared: &Shared<'_>,
    removals: &mut Removals,
    pause: &mut Pause,
    known: &mut Known,
) -> Result<(), Error> {
    let mut after = match shared.agent.stream() {
        Position { ms: 0, seq: 0 } => begin(shared, removals.end()?),
        Position { ms, seq } => Id { milliseconds: ms, sequence: seq },
    };
    let mut numbers = Numbers::ask(shared, removals, known)?;
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
            if !known.is_refused {
                shared.agent.segment().raise_floor(now());
                known.is_refused = true;
            }
            if !is_told(removals.engine().floor()?, after) {
                // Also for machines that come later: records without their removals may be published again.
                removals.engine().tell_floor(now())?;
            }
        }
        if read.gap == Some(Gap::Everybodys) || !numbers.are_believed {
            // The engine may have lost ours, or a clock was set right.
            numbers = Numbers::ask(shared, removals, known)?;
        }
        after = read.last;
        apply(shared, &read);
        known.is_refused = false;
        shared.hear();
        // After the removals, which an engine that is full or read-only still tells.
        let epoch = shared.agent.segment().epoch();
        if numbers.epoch < epoch {
            removals.engine().raise_epoch(epoch)?;
            numbers.epoch = epoch;
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

/// The epoch in the engine, and whether its epoch and floor are believed.
struct Numbers {
    /// The epoch, or 0 if it is not believed.
    epoch: u64,
    are_believed: bool,
}

impl Numbers {
    /// Asks the engine, and does as it says.
    fn ask(shared: &Shared<'_>, removals: &mut Removals, known: &mut Known) -> Result<Self, Error> {
        let (fleet, floor) = (removals.engine().epoch()?, removals.engine().floor()?);
        let epoch = raise_epoch(shared, [fleet]);
        let is_wrong = floor > latest();
        if !is_wrong {
            raise_floor(shared, floor);
        } else if floor != known.wrong_floor {
            raise_floor(shared, floor);
            known.wrong_floor = floor;
            // If the engine's clock agrees, others need not give up their sessions at each start until that time has come.
            removals.engine().tell_floor(now())?;
        }
        Ok(Self { epoch, are_believed: epoch == fleet && !is_wrong })
    }
}

/// Returns whether all machines refuse what was made before the loss of the entry that this one has read last: somebody has told
/// them after that. (A machine that was away for an hour would else make all give up the sessions of this hour.)
fn is_told(floor: u64, after: Id) -> bool {
    floor <= latest() && floor >= after.milliseconds / 1000 + CLOCKS
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
                // Before the stream is at its end, and so before anything is published; and for later agents, too.
                shared.agent.withhold();
                "this machine has missed removals"
            }
            Gap::Everybodys => "the engine has lost removals",
        };
        refuse_until_now(shared, why);
    }
    let (now, mut epochs) = (now(), Vec::new());
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
            Entry::Epoch(epoch) => epochs.push(*epoch),
        }
    }
    raise_epoch(shared, epochs);
    let last = Position { ms: read.last.milliseconds, seq: read.last.sequence };
    if last != shared.agent.stream() {
        shared.agent.set_stream(last);
    }
}

/// Another machine's clock may be ahead, but not by any amount. One that is must mean a time that is over.
fn raise_floor(shared: &Shared<'_>, floor: u64) {
    let floor = if floor > latest() { now() } else { floor };
    shared.agent.segment().raise_floor(floor);
}

/// Raises the epoch to the highest of these that is believed, and returns that; 0 if none is.
fn raise_epoch(shared: &Shared<'_>, named: impl IntoIterator<Item = u64>) -> u64 {
    let own = shared.agent.segment().epoch();
    let most = most_believed(own, now());
    let mut fleet = 0;
    for epoch in named {
        if epoch <= most {
            fleet = fleet.max(epoch);
        } else {
            let what = "the engine names an epoch that lies ahead, and is not believed";
            shared.seldom.say(what, format_args!("{what}: {epoch}"));
        }
    }
    if fleet > own {
        shared.agent.segment().raise_epoch(fleet);
        shared.agent.count(Tally::Revoked, 1);
        let what = "all sessions from before are revoked";
        shared.seldom.say(what, format_args!("epoch {fleet}: {what}"));
    }
    fleet
}

/// An epoch is a time in seconds, or one more than the epoch before (`sslsweep share-key revoke`). Where that was ahead of the
/// clocks, so are the next ones.
fn most_believed(own: u64, now: u64) -> u64 {
    now.saturating_add(CLOCKS).max(own.saturating_add(EPOCHS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_an_epoch_is_believed_up_to_the_clock_or_little_above_the_own() {
        let now = 2_000_000_000;
        assert_eq!(most_believed(0, now), now + CLOCKS);
        let ahead = now + 3600;
        assert_eq!(most_believed(ahead, now), ahead + EPOCHS);
        assert_eq!(most_believed(u64::MAX - 1, now), u64::MAX);
    }

    #[test]
    fn a_loss_is_told_once_by_all_who_come_back_after_it() {
        let latest = latest();
        let now = latest - CLOCKS;
        let id = |seconds| Id { milliseconds: seconds * 1000, sequence: 7 };
        assert!(is_told(now, id(now - CLOCKS)) && is_told(latest, id(now)));
        assert!(!is_told(now, id(now - CLOCKS + 1)), "the clocks may differ");
        assert!(!is_told(0, id(now - 1)) && !is_told(now + 2 * CLOCKS, id(now - 1)));
    }
}
