//! The agent while it is attached to a segment: three threads with a connection each, and what they share.
//!
//! | thread | carries |
//! |---|---|
//! | [`publishing`] | what has changed in the segment to the engine |
//! | [`fetching`] | what is asked for in the segment from the engine |
//! | [`removals`] | what was removed elsewhere into the segment |
//!
//! The agent keeps nothing of its own: what it has not sent yet is marked in the segment, and where it was in the stream of
//! removals is written there. So an agent may be killed at any moment, and the next one goes on.
//!
//! Publishing and fetching wait until the stream was read to its end. Otherwise a record would be published or fetched that
//! was removed elsewhere while nobody here heard of it.

mod fetching;
mod flights;
mod publishing;
mod removals;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sslsweep_seal::{FOREIGN, SINGLE_USE};
use sslsweep_segment::{Agent, Tally};

use crate::engine::{CLOCKS, Engine, Error, Settings};
use crate::log::{Link, Links, Seldom};
use flights::Flights;

/// The time between two beats.
const BEAT: Duration = Duration::from_millis(50);
/// The longest life of a record, in seconds: that of a session.
const LONGEST: u64 = 7 * 24 * 3600;
/// The pauses between two looks at the segment: while something happens, and when nothing has for a while.
const ACTIVE: Duration = Duration::from_millis(1);
const IDLE: Duration = Duration::from_millis(20);
/// How often the agent looks whether its segment is still at its path.
const LOOK: Duration = Duration::from_secs(1);

/// The state that the threads share.
pub struct Shared<'a> {
    /// The segment, of which this is the one agent.
    pub agent: &'a Agent,
    /// Where the engine is.
    pub settings: &'a Settings,
    /// Which connections work.
    pub links: &'a Links,
    /// Everything is to end.
    stop: &'a AtomicBool,
    /// These threads are to end: the segment is gone, or one of them is.
    ended: AtomicBool,
    /// The stream of removals was read to its end.
    current: AtomicBool,
    /// When it was last read, in milliseconds since `begun`.
    heard: AtomicU64,
    begun: Instant,
    flights: Flights,
    /// For lines that the engine can cause.
    seldom: Seldom,
}

/// Why an agent has ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// The file of the segment is not at its path any more.
    Removed,
}

/// Carries records until `stop` is set, or until the file of the segment goes away.
pub fn run(agent: &Agent, settings: &Settings, links: &Links, stop: &AtomicBool) -> End {
    let shared = Shared {
        agent,
        settings,
        links,
        stop,
        ended: AtomicBool::new(false),
        current: AtomicBool::new(false),
        heard: AtomicU64::new(0),
        begun: Instant::now(),
        flights: Flights::default(),
        seldom: Seldom::default(),
    };
    thread::scope(|scope| {
        let threads = [
            scope.spawn(|| publishing::run(&shared)),
            scope.spawn(|| fetching::run(&shared)),
            scope.spawn(|| removals::run(&shared)),
        ];
        let mut looked = Instant::now();
        let mut removed = false;
        while !shared.is_over() {
            agent.beat();
            shared.tell_upstream();
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                removed = !agent.is_in_place();
            }
            // A thread ends before its time only by a panic, which the scope passes on.
            if removed || threads.iter().any(thread::ScopedJoinHandle::is_finished) {
                shared.ended.store(true, Ordering::Relaxed);
            }
            thread::sleep(BEAT);
        }
        // From now on nobody answers.
        agent.set_upstream(false);
        if removed { End::Removed } else { End::Stopped }
    })
}

impl Shared<'_> {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.ended.load(Ordering::Relaxed)
    }

    /// Returns whether this machine knows what was removed elsewhere, but for the last moments.
    fn is_current(&self) -> bool {
        let heard = Duration::from_millis(self.heard.load(Ordering::Acquire));
        self.current.load(Ordering::Acquire)
            && self.begun.elapsed().saturating_sub(heard) < self.patience()
    }

    /// The longest time between two reads of the stream. An answer that comes in drops can take longer than any of its time limits.
    fn patience(&self) -> Duration {
        4 * self.settings.answer + Duration::from_secs(2)
    }

    /// The stream was read.
    fn hear(&self) {
        self.heard.store(self.begun.elapsed().as_millis() as u64, Ordering::Release);
    }

    fn set_current(&self, current: bool) {
        self.current.store(current, Ordering::Release);
        self.tell_upstream();
    }

    fn up(&self, link: Link) {
        if !self.links.is_up(link) {
            self.links.up(link);
            self.tell_upstream();
        }
    }

    fn down(&self, link: Link, error: &Error) {
        self.agent.count(Tally::Failed, 1);
        self.links.down(link, error);
        self.tell_upstream();
    }

    /// Tells the processes of the machine whether to ask.
    fn tell_upstream(&self) {
        self.agent.set_upstream(self.is_current() && self.links.is_up(Link::Fetching));
    }

    /// Sleeps for so long, or until the agent is to end.
    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(BEAT));
        }
    }
}

/// Works by a connection of its own until the agent is to end. `work` returns when something fails, or when others have to be
/// heard first. `idle` is called whenever there is no connection.
fn keep_connected(
    shared: &Shared<'_>,
    link: Link,
    idle: impl Fn(),
    mut work: impl FnMut(&mut Engine, &mut Pause) -> Result<(), Error>,
) {
    let mut pause = Pause::new();
    let mut connected_before = false;
    while !shared.is_over() {
        if !shared.is_current() {
            idle();
            shared.rest(IDLE);
            continue;
        }
        let result = Engine::connect(shared.settings).and_then(|mut engine| {
            if connected_before {
                shared.agent.count(Tally::Reconnected, 1);
            }
            connected_before = true;
            work(&mut engine, &mut pause)
        });
        match result {
            Ok(()) if shared.is_over() => {}
            // It comes back by a connection of its own.
            Ok(()) => {
                shared.links.down(link, &Error::answer("the stream of removals is not heard"))
            }
            Err(error) => {
                shared.down(link, &error);
                idle();
                shared.rest(pause.next());
            }
        }
    }
    idle();
}

/// The pause before the next attempt to connect: longer each time, up to a second.
struct Pause(Duration);

impl Pause {
    const FIRST: Duration = Duration::from_millis(20);
    const LONGEST: Duration = Duration::from_secs(1);

    fn new() -> Self {
        Self(Self::FIRST)
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::LONGEST);
        pause
    }
}

/// The time in seconds since the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Says that everything published until now is refused from now on, and why. Returns the time.
fn refuse_until_now(shared: &Shared<'_>, why: &'static str) -> u64 {
    let floor = now();
    shared.agent.segment().raise_floor(floor);
    shared
        .seldom
        .say(why, format_args!("{why}; sessions from before now are not resumed any more"));
    floor
}

/// The latest time that is believed of another machine.
fn latest() -> u64 {
    now() + CLOCKS
}

/// Returns whether a record may leave its machine, or come from another: it is one, may be used more than once, and has an id
/// of the fleet's. (The flags are sealed with the record, and the servers check them.)
fn may_travel(record: &[u8]) -> bool {
    sslsweep_seal::flags(record).is_some_and(|flags| flags & (SINGLE_USE | FOREIGN) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s4_s8_what_may_be_used_once_stays_and_what_is_foreign() {
        let record = |flags| [&b"ss\x01"[..], &[flags], &[0; 60]].concat();
        assert!(may_travel(&record(0)) && may_travel(&record(4)));
        assert!((1..=3).all(|flags| !may_travel(&record(flags))));
        assert!(
            !may_travel(b"")
                && !may_travel(b"no record of ours, but as long as one is; so it does not travel")
        );
    }
}
