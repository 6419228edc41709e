//! Keys and plaintexts do not remain: neither on the stack of the thread that used them nor in freed memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;

use hkdf::Hkdf;
use sha2::Sha256;
use sha2::block_api::compress256;
use sslsweep_seal::{Keys, OVERHEAD};

const SECRET: [u8; 32] = *b"a key of thirty-two varied bytes";
const PLAINTEXT: [u8; 300] = *include_bytes!("secrets.rs").first_chunk().unwrap();

/// SHA-256's own beginning.
const FIRST_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// What is looked for, with its name.
static NEEDLES: OnceLock<Vec<(String, [u8; 16])>> = OnceLock::new();

/// The system's allocator, which looks for needles in what is freed.
struct Searching;

static FREED: AtomicU64 = AtomicU64::new(0);
/// The size and address of the largest block so far.
static LARGEST: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

fn needles_in(memory: &[u8]) -> impl Iterator<Item = &'static str> {
    let needles = NEEDLES.get().into_iter().flatten();
    needles.filter(move |it| memory.windows(16).any(|part| part == it.1)).map(|it| &*it.0)
}

// SAFETY: each call is passed on to the system's allocator, with the caller's promises.
unsafe impl GlobalAlloc for Searching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the rules of this same function. Zeroed, so that all of it may be read later.
        let start = unsafe { System.alloc_zeroed(layout) };
        if LARGEST[0].fetch_max(layout.size(), Relaxed) < layout.size() {
            LARGEST[1].store(start.addr(), Relaxed);
        }
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the block is still allocated, of this size, and initialised since `alloc`.
        let memory = unsafe { std::slice::from_raw_parts(start, layout.size()) };
        FREED.fetch_add(needles_in(memory).count() as u64, Relaxed);
        // SAFETY: the memory comes from `alloc`, so from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Searching = Searching;

fn text() -> String {
    let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("00000001 {hex}\n")
}

fn seal(keys: &Keys) -> Vec<u8> {
    let mut record = vec![0; PLAINTEXT.len() + OVERHEAD];
    keys.seal(0, &[1; 16], b"data", &PLAINTEXT, &mut record).unwrap();
    record
}

/// All keys, also as HMAC pads and hashes them, the plaintext, and the hexadecimal digits of the file.
fn needles() -> Vec<(String, [u8; 16])> {
    let record = seal(&Keys::parse(text().as_bytes()).unwrap());
    let (mut mac, mut input, mut id, mut key) = ([0; 32], [0; 32], [0; 32], [0; 44]);
    let expansions = Hkdf::<Sha256>::new(Some(b"sslsweep records 1"), &SECRET);
    expansions.expand(b"mac", &mut mac).unwrap();
    expansions.expand(b"record", &mut input).unwrap();
    expansions.expand(b"id", &mut id).unwrap();
    let hkdf = Hkdf::<Sha256>::from_prk(&input).unwrap();
    hkdf.expand_multi_info(&[&record[8..40], &record[..8]], &mut key).unwrap();

    let mut needles = Vec::new();
    let keys =
        [("file", &SECRET[..]), ("mac", &mac), ("input", &input), ("id", &id), ("record", &key)];
    for (name, bytes) in keys {
        for (half, part) in bytes.chunks_exact(16).enumerate() {
            for pad in [0, 0x36, 0x5c] {
                let padded = std::array::from_fn(|place| part[place] ^ pad);
                needles.push((format!("{name} key, half {half}, pad {pad:x}"), padded));
            }
        }
    }
    for (name, key) in [("mac", mac), ("input", input), ("id", id)] {
        for (pad, what) in [(0x36, "inner"), (0x5c, "outer")] {
            let block = std::array::from_fn(|place| key.get(place).unwrap_or(&0) ^ pad);
            let mut state = FIRST_STATE;
            compress256(&mut state, &[block]);
            let bytes = state.map(u32::to_ne_bytes).concat();
            needles.push((format!("{name} {what} state"), *bytes.first_chunk().unwrap()));
        }
    }
    for place in [0, 100, 284] {
        needles.push((format!("plaintext {place}"), *PLAINTEXT[place..].first_chunk().unwrap()));
    }
    needles.push(("digits".to_string(), *text().as_bytes()[9..].first_chunk().unwrap()));
    needles
}

/// The needles in this memory of ours.
fn needles_at(start: usize, length: usize) -> Vec<&'static str> {
    let mut memory = vec![0; length];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut memory, start as u64).unwrap();
    let found = needles_in(&memory).collect();
    memory.fill(0);
    found
}

/// The needles on this thread's stack, below the caller.
#[inline(never)]
fn left_below() -> Vec<&'static str> {
    let here = 0_u8;
    let end = black_box(&raw const here).addr();
    needles_at(end - (64 << 10), 64 << 10)
}

/// Leaves keys on the stack.
#[inline(never)]
fn careless() {
    let deep = [SECRET; 256];
    black_box(&deep);
}

#[test]
fn nothing_is_left() {
    // In a thread of its own, for it leaves everything on its stack.
    let found = thread::spawn(needles).join().unwrap();
    NEEDLES.set(found).unwrap();

    let file = std::env::temp_dir().join(format!("sslsweep-seal-secrets.{}", std::process::id()));
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).unwrap();
    open.write_all(text().as_bytes()).unwrap();

    let line = text().into_bytes();
    let thread = thread::spawn(move || {
        FREED.store(0, Relaxed);
        careless();
        assert_eq!(
            left_below(),
            ["file key, half 0, pad 0", "file key, half 1, pad 0"],
            "it searches"
        );
        thread::spawn(|| drop(black_box(vec![SECRET; 2]))).join().unwrap();
        assert_eq!(FREED.swap(0, Relaxed), 2, "it searches what is freed");
        LARGEST[0].store(0, Relaxed);
        let keys = Keys::parse(&line).unwrap();
        let used = needles_at(LARGEST[1].load(Relaxed), LARGEST[0].load(Relaxed));
        for state in [
            "mac inner state",
            "mac outer state",
            "input inner state",
            "input outer state",
            "id inner state",
        ] {
            assert!(used.contains(&state), "it knows keys in use: {state}, {used:?}");
        }
        drop(keys);
        scrub();
        assert_eq!(FREED.load(Relaxed), 0, "in keys that are gone");

        let keys = Keys::read(&file);
        let _ = std::fs::remove_file(file);
        let keys = keys.unwrap();
        assert_eq!(left_below(), [""; 0], "after reading");
        let record = seal(&keys);
        assert_eq!(left_below(), [""; 0], "after sealing");
        let mut plaintext = [0; 300];
        keys.open(&[1; 16], b"data", &record, &mut plaintext).unwrap();
        assert_eq!(left_below(), [""; 0], "after opening");
        plaintext.fill(0);
        assert!(keys.open(&[2; 16], b"data", &record, &mut plaintext).is_err());
        assert_eq!(plaintext, [0; 300], "after a refusal");
        assert_eq!(left_below(), [""; 0], "after a refusal");
        let id = keys.make_id(&[3; 24]);
        assert_eq!(left_below(), [""; 0], "after an id was made");
        assert!(keys.is_ours(&id) && !keys.is_ours(&[4; 32]));
        assert_eq!(left_below(), [""; 0], "after ids were looked at");
        drop(keys);
        assert_eq!(left_below(), [""; 0], "at the end");
        assert_eq!(FREED.load(Relaxed), 0, "in what was freed");
    });
    thread.join().unwrap();
}

/// Wipes what `careless` has left.
#[inline(never)]
fn scrub() {
    black_box(&mut [0_u8; 64 << 10]);
}
