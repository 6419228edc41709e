//! Tests of reading, and samples for the tests of other modules.

use std::fs::{self, File};
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use sslsweep_figures::files::{Name, namespace, start_of};
use sslsweep_figures::processes::Processes;
use sslsweep_figures::{
    BLOCKS, Block as Layout, FIGURES, Family, LAYOUT, MAGIC, Process, READY, Stripe, Word, words,
};

use sslsweep_share_table::Event;

use super::file::{Absent, Contents, Entry, Found, entries, process_at};
use super::*;

/// The blocks of [`sample`] that belong to no context.
pub const ENDED: usize = 0;
pub const OTHERS: usize = 1;

/// Blocks and some of their words; contexts have block 2 and higher.
type Blocks<'a> = &'a [(usize, &'a [(usize, u64)])];

fn put(contents: &mut Contents, at: usize, value: u64) {
    contents.bytes()[at..][..8].copy_from_slice(&value.to_ne_bytes());
}

/// A file of one process.
fn sample(pid: u32, start: u64, blocks: Blocks) -> Contents {
    let mut all = Contents::empty();
    let owner = u64::from(pid) | READY;
    let begun = blocks.iter().filter(|(block, _)| *block > OTHERS).count() as u64;
    for (at, value) in [
        (offset_of!(Family, header.magic), MAGIC),
        (offset_of!(Family, header.layout), LAYOUT),
        (offset_of!(Family, header.bytes), size_of::<Family>() as u64),
        (offset_of!(Family, header.namespace), namespace()),
        (offset_of!(Family, header.pid), pid.into()),
        (offset_of!(Family, header.start), start),
        (offset_of!(Family, header.name), u64::from_ne_bytes(*b"nginx\0\0\0")),
        (process_at(0) + offset_of!(Process, owner), owner),
        (process_at(0) + offset_of!(Process, begun), begun),
    ] {
        put(&mut all, at, value);
    }
    for (block, figures) in blocks {
        let first = match *block {
            ENDED => process_at(0) + offset_of!(Process, past),
            OTHERS => process_at(0) + offset_of!(Process, others),
            context => {
                put(&mut all, offset_of!(Family, owners) + (context - 2) * 8, owner);
                offset_of!(Family, blocks) + (context - 2) * size_of::<Layout>()
            }
        };
        for &(word, value) in *figures {
            put(&mut all, first + word * 8, value);
        }
    }
    all
}

/// The figures of a sample.
pub fn figures(blocks: Blocks) -> Figures {
    sample(4711, 99, blocks).process(0).expect("it is whole")
}

fn folder(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("sslsweep-figures-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).expect("the scratch folder");
    folder
}

fn entry(folder: &Path, pid: u32, start: u64) -> Entry {
    let name = Name { pid, start, number: 0 };
    Entry { path: folder.join(name.to_string()), name, ours: true }
}

/// A mapping of a file, as the library keeps one.
struct Mapped(*mut libc::c_void);

impl Mapped {
    fn new(path: &Path) -> Mapped {
        use std::os::fd::AsRawFd;
        let file = File::open(path).expect("just written");
        // SAFETY: a mapping anywhere, of a file that is open.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED);
        Mapped(at)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: it is the mapping made above.
        unsafe { libc::munmap(self.0, 4096) };
    }
}

fn me() -> (u32, u64) {
    let pid = std::process::id();
    (pid, start_of(pid).expect("the process runs"))
}

/// Reads these bytes as the file of this process.
fn read_mine(name: &str, content: &[u8]) -> Result<Found, Absent> {
    let (pid, start) = me();
    let folder = folder(name);
    let entry = entry(&folder, pid, start);
    fs::write(&entry.path, content).expect("the file is written");
    let _mapped = Mapped::new(&entry.path);
    let result = entry.read(&Processes::default());
    fs::remove_dir_all(folder).expect("the scratch folder");
    result
}

fn complaint(result: Result<Found, Absent>) -> String {
    match result {
        Err(Absent::Bad(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lookups_are_counted_in_stripes() {
    let stripe = |stripe: usize| FIGURES + stripe * words::<Stripe>();
    let read = figures(&[
        (
            2,
            &[
                (0, 1),
                (Word::Hits as usize, 5),
                (stripe(0), 10),
                (stripe(7), 20),
                (stripe(7) + 1, 3),
            ],
        ),
        (3, &[(0, 2), (stripe(1), u64::MAX), (stripe(2), 1), (stripe(2) + 2, 9)]),
    ]);
    let lookups = |at: usize| {
        let block = &read.contexts[at];
        (block.get(Word::Hits), block.get(Word::Misses))
    };
    assert_eq!(lookups(0), (35, 3));
    assert_eq!(lookups(1), (u64::MAX, 0), "a sum that does not fit");
}

#[test]
fn s9_each_event_of_sharing_has_a_word() {
    let mut all = sample(4711, 99, &[]);
    for event in Event::ALL {
        let at = process_at(0) + offset_of!(Process, sharing) + event.number() as usize * 8;
        put(&mut all, at, u64::from(event.number()) + 1);
    }
    let read = all.process(0).expect("it is whole").sharing;
    for event in Event::ALL {
        assert_eq!(read.get(event), u64::from(event.number()) + 1, "{event:?}");
    }
}

#[test]
fn the_curve_moves_on() {
    let curve = Word::Curve as usize;
    let made = Word::CurveMade as usize;
    // Due; within 10, 30, and 3600 seconds; in more than seven days; never.
    let words = [(0, 1), (curve, 1), (curve + 1, 2), (curve + 2, 4), (curve + 8, 8)];
    let words = [&words[..], &[(curve + 14, 16), (curve + 15, 32), (made, 1000)]].concat();
    let at = |now: u64| {
        let mut figures = figures(&[(2, &words)]);
        figures.age(now);
        let parts = figures.contexts[0].curve().to_vec();
        assert_eq!(parts.iter().sum::<u64>(), 63, "none is lost");
        parts.into_iter().enumerate().filter(|&(_, sessions)| sessions > 0).collect::<Vec<_>>()
    };
    let unmoved = [(0, 1), (1, 2), (2, 4), (8, 8), (14, 16), (15, 32)];
    assert_eq!(at(1000), unmoved);
    assert_eq!(at(0), unmoved, "a clock that was set back");
    assert_eq!(at(1009), [(0, 1), (1, 2), (2, 4), (8, 8), (14, 16), (15, 32)], "may be due");
    assert_eq!(at(1010), [(0, 3), (2, 4), (8, 8), (14, 16), (15, 32)], "surely is due");
    assert_eq!(at(1020), [(0, 3), (1, 4), (8, 8), (14, 16), (15, 32)]);
    assert_eq!(at(u64::MAX), [(0, 15), (14, 16), (15, 32)]);
}

#[test]
fn limits() {
    let limit = Word::Limit as usize;
    let two = figures(&[(2, &[(0, 1), (limit, 5)]), (3, &[(0, 2), (limit, u64::MAX)])]);
    assert_eq!(two.limit(Place::Context(1)), Limit::Most(5));
    assert_eq!(two.limit(Place::All), Limit::Most(u64::MAX), "a sum that does not fit");
    assert_eq!(two.limit(Place::Context(3)), Limit::Unknown);
    assert_eq!(two.limit(Place::Ended), Limit::Unknown);
    let any = figures(&[(2, &[(0, 1), (limit, 5)]), (3, &[(0, 2)])]);
    assert_eq!(any.limit(Place::All), Limit::Any);
    let more = figures(&[(2, &[(0, 1), (limit, 5)]), (OTHERS, &[(Word::Stores as usize, 1)])]);
    assert_eq!(more.limit(Place::All), Limit::Unknown);
    assert_eq!(more.limit(Place::Others), Limit::Unknown);
    assert_eq!(figures(&[]).limit(Place::All), Limit::Unknown);
}

#[test]
fn a_living_process() {
    let (pid, start) = me();
    let stores = Word::Stores as usize;
    let mut contents = sample(
        pid,
        start,
        &[(2, &[(0, 7), (stores, 3)]), (5, &[(0, 2), (stores, 4)]), (0, &[(stores, 9)])],
    );
    let found = read_mine("living", contents.bytes()).expect("it is whole");
    let [figures] = &found.processes[..] else { panic!("{found:?}") };
    assert_eq!((figures.pid, figures.program.as_str()), (pid, "nginx"));
    let numbers: Vec<_> = figures.contexts.iter().map(|block| block.get(Word::Number)).collect();
    assert_eq!(numbers, [2, 7]);
    assert_eq!(figures.past.get(Word::Stores), 9);
    assert_eq!(figures.total().get(Word::Stores), 16);
}

#[test]
fn damaged_files() {
    let (pid, start) = me();
    let whole = sample(pid, start, &[]).bytes().to_vec();
    let changed = |at: usize, value: u64| {
        let mut contents = sample(pid, start, &[]);
        put(&mut contents, at, value);
        contents.bytes().to_vec()
    };
    for (content, why) in [
        (whole[..whole.len() - 8].to_vec(), "damaged"),
        ([&whole[..], &[0; 8]].concat(), "damaged"),
        (vec![1], "damaged"),
        (changed(offset_of!(Family, header.magic), 1), "not a statistics file"),
        (changed(offset_of!(Family, header.layout), LAYOUT + 1), "another version"),
        (changed(offset_of!(Family, header.bytes), 1), "damaged"),
        (changed(offset_of!(Family, header.pid), u64::MAX), "another process"),
        (changed(offset_of!(Family, header.pid), 1), "another process"),
        (changed(offset_of!(Family, header.start), 1), "another process"),
    ] {
        let said = complaint(read_mine("damaged", &content));
        assert!(said.contains(why) && !said.contains('\n'), "{said}");
    }
}

#[test]
fn other_things_of_that_name() {
    let folder = folder("other");
    let (pid, start) = me();
    let mine = entry(&folder, pid, start);
    std::os::unix::fs::symlink("/etc/passwd", &mine.path).expect("a link");
    assert!(complaint(mine.read(&Processes::default())).contains("link"));
    fs::remove_file(&mine.path).expect("the link");
    fs::create_dir(&mine.path).expect("a folder");
    assert!(complaint(mine.read(&Processes::default())).contains("regular"));
    fs::remove_dir(&mine.path).expect("the folder");
    let name = std::ffi::CString::new(mine.path.to_str().expect("plain")).expect("plain");
    // SAFETY: the name is a string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert!(
        complaint(mine.read(&Processes::default())).contains("regular"),
        "nor does a pipe hold us up"
    );
    fs::remove_file(&mine.path).expect("the pipe");
    let vanished = mine.read(&Processes::default());
    assert!(matches!(vanished, Err(Absent::Stale(true))), "one that is gone is no complaint");
    fs::remove_dir_all(folder).expect("the scratch folder");
}

#[test]
fn stale_files_are_removed_and_nothing_else() {
    let folder = folder("stale");
    let (pid, start) = me();
    // Of a process that began at another time, and of this one, which does not map it.
    for (entry, mapped) in [
        (entry(&folder, pid, start + 1), false),
        (entry(&folder, pid, start), false),
        (entry(&folder, pid, start + 1), true),
    ] {
        // A file dated in the future counts as new, however slow this test is.
        let file = File::create(&entry.path).expect("the file is made");
        file.set_modified(SystemTime::now() + Duration::from_secs(60)).expect("it can be dated");
        assert!(
            matches!(entry.read(&Processes::default()), Err(Absent::Stale(false))),
            "it may be in the making"
        );
        fs::write(&entry.path, sample(pid, start, &[]).bytes()).expect("the file is written");
        let mapping = mapped.then(|| Mapped::new(&entry.path));
        match entry.read(&Processes::default()) {
            Err(Absent::Stale(true)) => assert!(!mapped),
            Err(Absent::Bad(why)) => {
                assert!(mapped && why.contains("another process"), "{why}")
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(entry.path.exists(), mapped);
        drop(mapping);
    }
    for name in ["sslsweep.1", "sslsweep.01.1", "other"] {
        fs::write(folder.join(name), "").expect("the file is written");
    }
    assert_eq!(entries(&folder, true).expect("it is there").len(), 1, "the mapped one");
    fs::remove_dir_all(folder).expect("the scratch folder");
}

#[test]
fn totals() {
    let word = |word: Word| word as usize;
    let figures = figures(&[
        (
            2,
            &[
                (0, 1),
                (word(Word::Limit), 10),
                (word(Word::LastFlush), 5),
                (word(Word::LastRemoved), 1),
            ],
        ),
        (
            3,
            &[
                (0, 2),
                (word(Word::Limit), 20),
                (word(Word::LastFlush), 6),
                (word(Word::LastRemoved), 2),
            ],
        ),
        (ENDED, &[(word(Word::LongestBatch), 8), (word(Word::Hits), u64::MAX)]),
        (OTHERS, &[(word(Word::LongestBatch), 7), (word(Word::Hits), 1), (word(Word::Limit), 5)]),
    ]);
    let total = figures.total();
    for (word, value) in [
        (Word::Limit, 35),
        (Word::LastRemoved, 2),
        (Word::LongestBatch, 8),
        (Word::Hits, u64::MAX),
        (Word::Number, 0),
    ] {
        assert_eq!(total.get(word), value, "{word:?}");
    }
}

proptest! {
    /// Any words give figures, with each context once.
    #[test]
    fn any_words(seed in proptest::collection::vec(any::<u64>(), 64), stride in 1_usize..64, owner: u32) {
        let owner = u64::from(owner.max(1)) | READY;
        let mut all = Contents::empty();
        for at in 0..words::<Family>() {
            put(&mut all, at * 8, seed[at * stride % seed.len()]);
        }
        for block in (0..BLOCKS).filter(|block| block % 3 > 0) {
            put(&mut all, offset_of!(Family, owners) + block * 8, owner);
        }
        put(&mut all, process_at(7) + offset_of!(Process, owner), owner);
        let figures = all.process(7).expect("it is complete");
        let mut numbers: Vec<_> = figures.contexts.iter().map(|block| block.get(Word::Number)).collect();
        numbers.dedup();
        prop_assert_eq!(numbers.len(), figures.contexts.len());
        prop_assert!(figures.program.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let _ = figures.total();
    }

    #[test]
    fn any_bytes(content in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(!complaint(read_mine("bytes", &content)).contains('\n'));
    }
}
