//! Random operations of one process, compared with a list that has the same rules.

use proptest::prelude::*;

use super::{found, name, one_bucket};
use crate::{Refused, Segment};

#[derive(Debug, Clone)]
enum Step {
    Put { name: u64, length: usize, lifetime: u64 },
    Get { name: u64 },
    Take { name: u64 },
    Forget { name: u64, lifetime: u64 },
    Wait { seconds: u64 },
}

struct Entry {
    name: u64,
    expiry: u64,
    /// None if the name is dead.
    record: Option<Vec<u8>>,
}

/// The oracle. Each expiry exists once, so that there is one that comes first.
#[derive(Default)]
struct Oracle(Vec<Entry>);

impl Oracle {
    fn expire(&mut self, now: u64) {
        self.0.retain(|entry| entry.expiry > now);
    }

    fn find(&self, name: u64) -> Option<&Entry> {
        let of_name = |entry: &&Entry| entry.name == name;
        let dead = self.0.iter().filter(of_name).find(|entry| entry.record.is_none());
        dead.or_else(|| self.0.iter().find(of_name))
    }

    fn make_room(&mut self) -> bool {
        if self.0.len() < 8 {
            return true;
        }
        let live = self.0.iter().enumerate().filter(|(_, entry)| entry.record.is_some());
        let first = live.min_by_key(|(_, entry)| entry.expiry).map(|(at, _)| at);
        first.map(|at| self.0.remove(at)).is_some()
    }

    fn put(&mut self, name: u64, record: Vec<u8>, expiry: u64) -> Result<(), Refused> {
        if self.find(name).is_some_and(|entry| entry.record.is_none()) {
            return Err(Refused::Dead);
        }
        self.0.retain(|entry| entry.name != name);
        if !self.make_room() {
            return Err(Refused::Full);
        }
        self.0.push(Entry { name, expiry, record: Some(record) });
        Ok(())
    }

    fn get(&self, name: u64) -> Option<Vec<u8>> {
        self.find(name).and_then(|entry| entry.record.clone())
    }

    fn take(&mut self, name: u64) -> Option<Vec<u8>> {
        let record = self.get(name)?;
        for entry in self.0.iter_mut().filter(|entry| entry.name == name) {
            entry.record = None;
        }
        Some(record)
    }

    fn forget(&mut self, name: u64, until: u64) {
        self.take(name);
        if self.0.iter().any(|entry| entry.name == name && entry.expiry >= until) {
            return;
        }
        // Without room there is no record either that could be hidden: all slots are dead.
        if self.make_room() {
            self.0.push(Entry { name, expiry: until, record: None });
        }
    }

    fn check(&self, segment: &Segment, now: u64) {
        for number in 0..NAMES {
            assert_eq!(found(segment, name(number), now), self.get(number), "name {number}");
            let is_dead = self.0.iter().any(|entry| entry.name == number && entry.record.is_none());
            // In a bucket that once had no slot for a forget, what is absent counts as well.
            let is_hidden = segment.counts().marked > 0 && self.get(number).is_none();
            assert_eq!(segment.is_gone(name(number), now), is_dead || is_hidden, "name {number}");
        }
        let census = segment.census(now);
        let dead = self.0.iter().filter(|entry| entry.record.is_none()).count() as u64;
        assert_eq!((census.dead, census.live), (dead, self.0.len() as u64 - dead));
    }
}

const NAMES: u64 = 14;

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES;
    prop_oneof![
        8 => (name.clone(), 0..=crate::ROOM, 1u64..40)
            .prop_map(|(name, length, lifetime)| Step::Put { name, length, lifetime }),
        2 => name.clone().prop_map(|name| Step::Get { name }),
        2 => name.clone().prop_map(|name| Step::Take { name }),
        2 => (name, 1u64..40).prop_map(|(name, lifetime)| Step::Forget { name, lifetime }),
        2 => (1u64..20).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A time that no other step has.
fn moment(seconds: u64, step: usize) -> u64 {
    seconds * 1_000 + step as u64
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn does_what_a_list_would_do(steps in prop::collection::vec(step(), 1..150)) {
        let (segment, mut oracle) = (one_bucket(), Oracle::default());
        let mut seconds = 1;
        for (at, step) in steps.into_iter().enumerate() {
            let now = moment(seconds, 0);
            match step {
                Step::Put { name: number, length, lifetime } => {
                    let (record, expiry) = (vec![at as u8; length], moment(seconds + lifetime, at));
                    let put = segment.put(name(number), &record, expiry, now);
                    prop_assert_eq!(put.map(|_| ()), oracle.put(number, record, expiry));
                }
                Step::Get { name: number } => {
                    prop_assert_eq!(found(&segment, name(number), now), oracle.get(number));
                }
                Step::Take { name: number } => {
                    let taken = segment.take(name(number), now).map(|record| record.bytes().to_vec());
                    prop_assert_eq!(taken, oracle.take(number));
                }
                Step::Forget { name: number, lifetime } => {
                    let until = moment(seconds + lifetime, at);
                    segment.forget(name(number), until, now);
                    oracle.forget(number, until);
                }
                Step::Wait { seconds: more } => {
                    seconds += more;
                    oracle.expire(moment(seconds, 0));
                }
            }
            oracle.check(&segment, moment(seconds, 0));
        }
    }
}
