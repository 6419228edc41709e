//! Stands in for a program that publishes: makes the statistics file of its own process, keeps it mapped, and
//! writes what it is told to. Lines on standard input: BLOCK WORD VALUE. It says "ready", and "ok" after each line.
#[path = "../../src/published/layout.rs"]
#[allow(dead_code, reason = "the reader has the rest")]
mod layout;

use std::fs::OpenOptions;
use std::io::{BufRead, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use layout::{BLOCK_WORDS, FOLDER, HEADER_WORDS, Header, LAYOUT, MAGIC, PREFIX, WORDS};

fn main() {
    let pid = std::process::id();
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a process");
    let start =
        stat.rsplit_once(')').expect("a name").1.split_whitespace().nth(19).expect("field 22");
    let path = format!("{FOLDER}/{PREFIX}{pid}.{start}");
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create_new(true).mode(0o600).open(&path).expect("the file");
    file.set_len((WORDS * 8) as u64).expect("room");
    // SAFETY: a mapping anywhere, of a file that is open and that long.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            WORDS * 8,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: the mapping is that long, lasts as long as the process, and is only used by these words.
    let words = unsafe { std::slice::from_raw_parts(at.cast::<AtomicU64>(), WORDS) };
    let set = |word: usize, value: u64| words[word].store(value, Ordering::Relaxed);
    set(Header::Layout as usize, LAYOUT);
    set(Header::Pid as usize, pid.into());
    set(Header::Start as usize, start.parse().expect("a number"));
    set(Header::Name as usize, u64::from_ne_bytes(*b"publish\0"));
    set(Header::Magic as usize, MAGIC);
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let numbers: Vec<u64> =
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [block, word, value] = numbers[..] else { break };
        set(HEADER_WORDS + block as usize * BLOCK_WORDS + word as usize, value);
        println!("ok");
        std::io::stdout().flush().expect("somebody listens");
    }
    std::fs::remove_file(path).expect("it is ours");
}
