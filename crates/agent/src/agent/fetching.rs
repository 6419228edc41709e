//! From the engine to the segment, for those who ask.

use sslsweep_segment::{Asked, Fetched, Moment, Name, Tally};

use super::{ACTIVE, IDLE, LONGEST, Pause, Shared, keep_connected, may_travel, now};
use crate::engine::{Engine, Error, Found};
use crate::log::Link;

pub(super) fn run(shared: &Shared<'_>) {
    keep_connected(
        shared,
        Link::Fetching,
        || turn_away(shared),
        |engine, pause| fetch(shared, engine, pause),
    );
}

/// Nobody waits for what cannot be had.
fn turn_away(shared: &Shared<'_>) {
    shared.agent.questions().for_each(|asked| shared.agent.answer(asked.cell));
}

/// Fetches until something fails, or others have to be heard first.
fn fetch(shared: &Shared<'_>, engine: &mut Engine, pause: &mut Pause) -> Result<(), Error> {
    // A connection alone does not show that the engine answers.
    engine.fetch(&[[0; 16]])?;
    shared.up(Link::Fetching);
    // (Processes that ask and do not wait do not ring.)
    let mut sleep = ACTIVE;
    while !shared.is_over() && shared.is_current() {
        shared.agent.sleep_at_doorbell(Moment::now().after(sleep));
        let questions: Vec<Asked> = shared.agent.questions().collect();
        if questions.is_empty() {
            sleep = (sleep * 2).min(IDLE);
            continue;
        }
        sleep = ACTIVE;
        let fetched = answer(shared, engine, &questions);
        questions.iter().for_each(|asked| shared.agent.answer(asked.cell));
        fetched?;
        *pause = Pause::new();
    }
    Ok(())
}

fn answer(shared: &Shared<'_>, engine: &mut Engine, questions: &[Asked]) -> Result<(), Error> {
    let mut names: Vec<Name> = questions.iter().map(|asked| asked.name).collect();
    names.sort_unstable_by_key(|name| name.to_bytes());
    names.dedup();
    shared.flights.begin(&names);
    let found = engine.fetch(&names.iter().map(|name| name.to_bytes()).collect::<Vec<_>>());
    let mut landing = shared.flights.land();
    let mut found = found.map(Vec::into_iter);
    for name in names {
        let may_be_used = landing.end(name);
        let Ok(found) = &mut found else { continue };
        let tally = match found.next() {
            // No machine of the fleet has published it, so it gets no slot.
            Some(Found::Record { bytes, .. }) if !may_travel(&bytes) => Some(Tally::Unfit),
            Some(Found::Record { expiry, bytes }) if may_be_used => {
                put(shared, name, &bytes, expiry)
            }
            Some(Found::Unusable) => Some(Tally::Unfit),
            _ => Some(Tally::Absent),
        };
        tally.into_iter().for_each(|tally| shared.agent.count(tally, 1));
    }
    found.map(drop)
}

fn put(shared: &Shared<'_>, name: Name, record: &[u8], expiry: u64) -> Option<Tally> {
    let now = now();
    // The engine may say anything.
    match shared.agent.put_fetched(name, record, expiry.min(now + LONGEST), now) {
        Ok(Fetched::Put { .. }) => Some(Tally::Fetched),
        Ok(Fetched::Present) => None,
        Err(_) => Some(Tally::Absent),
    }
}
