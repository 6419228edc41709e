//! Processes and the agent of a segment, as threads: nothing that changes is lost on its way to the agent, and nobody who waits
//! for an answer sleeps on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::sync::atomic::AtomicU64;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use models::exhaustive::fleet::{Bell, Breaker, CELL_WORDS, CELLS, Cells, Futex, Woken};
use models::exhaustive::slots::{
    BUCKET_WORDS, Bucket, Change, Dirty, Fetched, GROUP_WORDS, Name, Passes,
};

const NOW: u64 = 1;
const LATE: u64 = 9;

/// Each is a group of its own.
const BUCKETS: usize = 2;

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

fn named(name: u8) -> Name {
    Name::from_bytes([name; 16])
}

/// With two preemptions at most (or `LOOM_MAX_PREEMPTIONS`): with three the longest models take minutes.
fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let schedules = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&schedules);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.max_branches = 10_000;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("fleet: {name}: {} schedules", schedules.load(Ordering::Relaxed));
}

/// Another process.
fn beside<W: Send + Sync + 'static, R: 'static>(
    world: &Arc<W>,
    step: impl FnOnce(&W) -> R + 'static,
) -> impl FnOnce() -> R {
    let world = Arc::clone(world);
    let thread = thread::spawn(move || step(&world));
    move || thread.join().expect("it has not panicked")
}

// --- Changes -----------------------------------------------------------------------------------

/// A record as the agent or a process sees it: what was put, or 0 for a name that is dead.
type States = BTreeMap<u8, u8>;

struct World {
    slots: [Vec<AtomicU64>; BUCKETS],
    sequence: AtomicU64,
    agent: AtomicU64,
    top: AtomicU64,
    groups: Vec<AtomicU64>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            slots: std::array::from_fn(|_| words(BUCKET_WORDS)),
            sequence: AtomicU64::new(0),
            agent: AtomicU64::new(0),
            top: AtomicU64::new(0),
            groups: words(GROUP_WORDS),
        })
    }

    fn dirty(&self) -> Dirty<'_> {
        Dirty::new(&self.agent, &self.top, &self.groups)
    }

    fn bucket_at(&self, number: usize) -> Bucket<'_> {
        Bucket::new(&self.slots[number], &self.sequence).with_marks(self.dirty(), number)
    }

    /// Names from 10 on are in the second bucket.
    fn bucket(&self, name: u8) -> Bucket<'_> {
        self.bucket_at(usize::from(name / 10))
    }

    fn put(&self, name: u8, put: u8) {
        self.bucket(name).put(named(name), &[name, put], LATE, NOW).unwrap();
    }

    fn get(&self, name: u8) -> Option<u8> {
        self.bucket(name).get(named(name), NOW).map(|found| found.bytes()[1])
    }

    fn take(&self, name: u8) {
        self.bucket(name).take(named(name), NOW);
    }

    fn forget(&self, name: u8) {
        self.bucket(name).forget(named(name), LATE, NOW);
    }

    /// Returns the state of each name as the agent must have told it in the end.
    fn states(&self, names: &[u8]) -> States {
        let states = names.iter().map(|&name| (name, self.get(name)));
        states
            .filter(|&(name, found)| found.is_some() || self.bucket(name).is_gone(named(name), NOW))
            .map(|(name, found)| (name, found.unwrap_or(0)))
            .collect()
    }
}

/// The agent, and what it has told last of each name.
struct Agent {
    passes: Passes,
    told: States,
}

impl Agent {
    /// An agent that is attached, and begins.
    fn attach(world: &World) -> Self {
        world.dirty().beat();
        Self { passes: Passes::default(), told: States::new() }
    }

    /// An agent that has read all, and then each group that has a bucket once more without a mark: from now on it relies on marks.
    fn settled(world: &World) -> Self {
        let mut agent = Self::attach(world);
        (0..=BUCKETS).for_each(|_| agent.pass(world));
        agent
    }

    fn pass(&mut self, world: &World) {
        let next = |passes: &mut Passes| {
            passes.next_change(world.dirty(), BUCKETS, |number| world.bucket_at(number), NOW)
        };
        while let Some(change) = next(&mut self.passes) {
            let name = change.name().to_bytes()[0];
            let told = match &change {
                Change::Live { record, .. } => match *record.bytes() {
                    [found, put] if found == name => put,
                    ref other => panic!("{other:?} was told of {name}"),
                },
                Change::Dead { .. } => 0,
            };
            self.told.insert(name, told);
        }
    }

    /// Another agent could begin here; this one goes on until there is nothing more.
    fn finish(mut self, world: &World) -> States {
        self.pass(world);
        self.pass(world);
        self.told
    }
}

/// Explores steps of processes beside a pass of the agent, and checks that it has told in the end what there is. Each is once the
/// thread that begins: loom remembers the last access to an atomic only.
fn race(name: &str, names: &'static [u8], before: fn(&World), steps: &'static [fn(&World)]) {
    for begins in 0..=steps.len() {
        explore(name, move || {
            let world = World::new();
            let mut agent = Agent::settled(&world);
            before(&world);
            let mut others: Vec<Box<dyn FnOnce() -> Option<Agent>>> = vec![];
            let all = steps.iter().enumerate().filter(|&(at, _)| at != begins);
            for (_, step) in all {
                let beside = beside(&world, *step);
                others.push(Box::new(move || {
                    beside();
                    None
                }));
            }
            let agent = if begins == steps.len() {
                agent.pass(&world);
                others.into_iter().for_each(|other| drop(other()));
                agent
            } else {
                let pass = beside(&world, move |world| {
                    agent.pass(world);
                    agent
                });
                steps[begins](&world);
                others.into_iter().for_each(|other| drop(other()));
                pass()
            };
            let mut told = agent.finish(&world);
            told.retain(|name, _| names.contains(name));
            assert_eq!(told, world.states(names));
        });
    }
}

const NOTHING: fn(&World) = |_| {};
const ONE: fn(&World) = |world| world.put(1, 1);

#[test]
fn a_put_is_told() {
    race("put", &[1], NOTHING, &[ONE]);
}

/// A put marks its slot while the agent takes the marks of earlier puts.
#[test]
fn a_put_where_all_is_marked_is_told() {
    race("put where all is marked", &[1, 2], ONE, &[|world| world.put(2, 2)]);
}

/// The upper marks are left of a change that the agent has found without them.
#[test]
fn a_put_where_only_the_upper_marks_are_set_is_told() {
    let upper: fn(&World) = |world| {
        world.groups[0].store(1, Ordering::SeqCst);
        world.top.store(1, Ordering::SeqCst);
    };
    race("put where the upper marks are set", &[1], upper, &[ONE]);
}

/// The agent never tells of a name with the record of another.
#[test]
fn a_put_that_evicts_is_told() {
    let two: fn(&World) = |world| {
        world.put(1, 1);
        world.put(2, 2);
    };
    race("put that evicts", &[2, 3], two, &[|world| world.put(3, 3)]);
}

#[test]
fn a_replacement_is_told() {
    race("replacement", &[1], ONE, &[|world| world.put(1, 2)]);
}

#[test]
fn a_take_is_told() {
    race("take", &[1], ONE, &[|world| world.take(1)]);
}

#[test]
fn a_forget_is_told() {
    race("forget", &[1], ONE, &[|world| world.forget(1)]);
    race("forget without a record", &[1], NOTHING, &[|world| world.forget(1)]);
}

#[test]
fn puts_in_two_groups_are_told() {
    race("puts in two groups", &[1, 11], NOTHING, &[ONE, |world| world.put(11, 3)]);
}

#[test]
fn a_put_and_a_forget_are_told() {
    race("put and forget", &[1, 2], |world| world.put(2, 2), &[ONE, |world| world.forget(2)]);
}

/// A process sees the agent, or the agent sees what it has changed before.
#[test]
fn what_changes_while_an_agent_attaches_is_told() {
    let put: fn(&World) = |world| world.put(1, 2);
    for (name, step) in [("put", put), ("forget", |world: &World| world.forget(1))] {
        explore(&format!("{name} while an agent attaches"), move || {
            let world = World::new();
            ONE(&world);
            let other = beside(&world, step);
            let mut agent = Agent::attach(&world);
            agent.pass(&world);
            other();
            assert_eq!(agent.finish(&world), world.states(&[1]));
        });
        explore(&format!("an agent attaches while a {name}"), move || {
            let world = World::new();
            ONE(&world);
            let agent = beside(&world, |world| {
                let mut agent = Agent::attach(world);
                agent.pass(world);
                agent
            });
            step(&world);
            let agent = agent();
            assert_eq!(agent.finish(&world), world.states(&[1]));
        });
    }
}

/// A process that is killed between its change and its mark, where a former change is marked: one of them is told.
#[test]
fn what_changes_unmarked_under_the_eyes_is_told() {
    // The agent's own kill, which marks nothing.
    const KILL: fn(&World) -> bool = |world| world.bucket(1).kill(named(1), NOW);
    explore("a pass, and killed before the mark", || {
        let world = World::new();
        let mut agent = Agent::settled(&world);
        ONE(&world);
        let other = beside(&world, KILL);
        agent.pass(&world);
        assert!(other());
        assert!(agent.finish(&world).contains_key(&1));
    });
    explore("killed before the mark, and a pass", || {
        let world = World::new();
        let mut agent = Agent::settled(&world);
        ONE(&world);
        let pass = beside(&world, move |world| {
            agent.pass(world);
            agent
        });
        assert!(KILL(&world));
        assert!(pass().finish(&world).contains_key(&1));
    });
}

/// The agent does not tell the fleet of a fetched record, and puts none under a name that was removed.
#[test]
fn a_fetched_record_against_a_put_and_a_forget() {
    const FETCH: fn(&World) -> bool = |world| {
        let fetched = world.bucket(1).put_fetched(named(1), &[1, 5], LATE, NOW);
        matches!(fetched, Ok(Fetched::Put { .. }))
    };
    explore("fetched against put", || {
        let world = World::new();
        let mut agent = Agent::settled(&world);
        let fetched = beside(&world, FETCH);
        ONE(&world);
        assert!(world.get(1).is_some());
        fetched();
        agent.pass(&world);
        assert!(
            agent.finish(&world).contains_key(&1),
            "the put is told, by the later record's bytes"
        );
    });
    explore("fetched against forget", || {
        let world = World::new();
        let agent = Agent::settled(&world);
        let fetched = beside(&world, FETCH);
        world.forget(1);
        assert_eq!(world.get(1), None);
        fetched();
        assert_eq!(world.get(1), None);
        assert_eq!(agent.finish(&world), States::from([(1, 0)]));
    });
}

// --- Questions ---------------------------------------------------------------------------------

/// A futex as the kernel has it: comparing and falling asleep are one step. It has no deadlines, so a lost wake-up is a
/// deadlock of the model.
struct Kernel {
    lock: Mutex<()>,
    wakes: Condvar,
}

impl Futex for &Kernel {
    type Deadline = ();

    fn wait(&self, word: &AtomicU64, seen: u64, (): ()) -> Woken {
        let held = self.lock.lock().unwrap();
        if word.load(Ordering::Relaxed) as u32 != seen as u32 {
            return Woken::Changed;
        }
        drop(self.wakes.wait(held).unwrap());
        Woken::Perhaps
    }

    fn wake(&self, _word: &AtomicU64) {
        let _held = self.lock.lock().unwrap();
        self.wakes.notify_all();
    }
}

/// Those who ask and the agent sleep at different words, so each has a kernel.
struct Desk {
    cells: Vec<AtomicU64>,
    pending: AtomicU64,
    rung: AtomicU64,
    sleeping: AtomicU64,
    /// The record that the agent has put for each name.
    records: [AtomicU64; 4],
    ends: AtomicU64,
    askers: Kernel,
    agents: Kernel,
}

/// The kernel at the word that somebody sleeps at.
struct Both<'a>(&'a Desk);

impl Both<'_> {
    fn at(&self, word: &AtomicU64) -> &Kernel {
        if std::ptr::eq(word, &self.0.rung) { &self.0.agents } else { &self.0.askers }
    }
}

impl Futex for Both<'_> {
    type Deadline = ();

    fn wait(&self, word: &AtomicU64, seen: u64, (): ()) -> Woken {
        self.at(word).wait(word, seen, ())
    }

    fn wake(&self, word: &AtomicU64) {
        self.at(word).wake(word);
    }
}

impl Desk {
    fn new() -> Arc<Self> {
        let kernel = || Kernel { lock: Mutex::new(()), wakes: Condvar::new() };
        Arc::new(Self {
            cells: words(CELLS * CELL_WORDS),
            pending: AtomicU64::new(0),
            rung: AtomicU64::new(0),
            sleeping: AtomicU64::new(0),
            records: std::array::from_fn(|_| AtomicU64::new(0)),
            ends: AtomicU64::new(0),
            askers: kernel(),
            agents: kernel(),
        })
    }

    fn bell(&self) -> Bell<'_> {
        Bell::new(&self.rung, &self.sleeping)
    }

    fn cells(&self) -> Cells<'_> {
        Cells::new(&self.cells, &self.pending, self.bell())
    }

    /// Asks and waits. Returns whether there is a record then.
    fn fetch(&self, name: u8) -> bool {
        let question = self.cells().ask(named(name));
        assert!(self.cells().wait(question, &Both(self), ()), "there is no deadline");
        self.records[usize::from(name)].load(Ordering::Relaxed) != 0
    }

    fn serve(&self) {
        let mut pending = self.cells().take_pending();
        while pending != 0 {
            let number = pending.trailing_zeros() as usize;
            pending &= pending - 1;
            if let Some(name) = self.cells().name(number) {
                let name = name.to_bytes();
                assert!(name.iter().all(|&byte| byte == name[0]), "nobody has asked for {name:?}");
                self.records[usize::from(name[0])].store(1, Ordering::Relaxed);
            }
            self.cells().answer(number, &Both(self));
        }
    }

    /// The agent, until everybody has been served.
    fn work(&self) {
        while self.ends.load(Ordering::Acquire) == 0 {
            self.cells().sleep(&Both(self), ());
            self.serve();
        }
    }

    /// The last one rings once more, for the agent to see that.
    fn end(&self) {
        self.ends.store(1, Ordering::Release);
        self.pending.fetch_or(1, Ordering::Release);
        self.bell().ring(&Both(self));
    }
}

#[test]
fn who_asks_finds_the_record() {
    explore("a question and its answer", || {
        let desk = Desk::new();
        let agent = beside(&desk, Desk::work);
        assert!(desk.fetch(1));
        desk.end();
        agent();
    });
    explore("an agent and a question", || {
        let desk = Desk::new();
        let asker = beside(&desk, |desk| {
            assert!(desk.fetch(1));
            desk.end();
        });
        desk.work();
        asker();
    });
}

/// In one cell they may spoil each other's question, but neither sleeps on, and nobody is asked for what nobody wants.
#[test]
fn two_who_ask_at_once_both_go_on() {
    for (cells, other) in [("one cell", 3), ("two cells", 2)] {
        explore(&format!("two questions in {cells}"), move || {
            let desk = Desk::new();
            let agent = beside(&desk, Desk::work);
            let asker = beside(&desk, move |desk| desk.fetch(other));
            let found = desk.fetch(1);
            let other_found = asker();
            desk.end();
            agent();
            assert!(other == 3 || found && other_found);
        });
    }
}

/// An answer is for all who wait there.
#[test]
fn two_who_ask_for_one_name_both_find_it() {
    explore("two questions for one name", || {
        let desk = Desk::new();
        let agent = beside(&desk, Desk::work);
        let asker = beside(&desk, |desk| desk.fetch(1));
        assert!(desk.fetch(1));
        assert!(asker());
        desk.end();
        agent();
    });
}

/// After three missed deadlines one process a second tries, and one that is met closes it.
#[test]
fn one_of_two_tries() {
    struct Words(AtomicU64, AtomicU64);
    explore("two at an open breaker", || {
        let words = Arc::new(Words(AtomicU64::new(0), AtomicU64::new(0)));
        let breaker = |words: &Words, now: u64| Breaker::new(&words.0, &words.1).permits(now);
        let others: Vec<_> = (0..2)
            .map(|_| beside(&words, |words| Breaker::new(&words.0, &words.1).miss(5_000)))
            .collect();
        Breaker::new(&words.0, &words.1).miss(5_000);
        others.into_iter().for_each(|other| other());
        assert!(!breaker(&words, 5_999));
        let other = beside(&words, move |words| breaker(words, 6_000));
        assert!(breaker(&words, 6_000) ^ other());
        assert!(!breaker(&words, 6_999));
        Breaker::new(&words.0, &words.1).meet();
        assert!(breaker(&words, 6_999));
    });
}
