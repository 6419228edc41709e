//! A program of the tests that publishes: it makes the statistics file of its own process, keeps the file mapped, and
//! writes into it. Each line of standard input is BLOCK WORD VALUE: block 0 is for contexts that have ended, block 1
//! for contexts without a block, and each other block for one context. The program says "ready" at first, and "ok"
//! after each line.

use std::fs::OpenOptions;
use std::io::{BufRead, Write};
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use sslsweep_figures::files::{FOLDER, Name, namespace, start_of};
use sslsweep_figures::{BLOCKS, Block, Family, LAYOUT, MAGIC, Process, READY, words};

fn main() {
    let pid = std::process::id();
    let start = start_of(pid).expect("a process");
    let path = format!("{FOLDER}/{}", Name { pid, start, number: 0 });
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create_new(true).mode(0o600).open(&path).expect("the file");
    file.set_len(size_of::<Family>() as u64).expect("room");
    // SAFETY: a mapping anywhere, of a file that is open and that long.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size_of::<Family>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: the mapping is that long, lasts as long as the process, and is only used by these words.
    let all = unsafe { std::slice::from_raw_parts(at.cast::<AtomicU64>(), words::<Family>()) };
    // SAFETY: the same words by their names.
    let family = unsafe { &*at.cast::<Family>() };
    let (header, process) = (&family.header, &family.processes[0]);
    let owner = u64::from(pid) | READY;
    for (word, value) in [
        (&header.layout, LAYOUT),
        (&header.bytes, size_of::<Family>() as u64),
        (&header.namespace, namespace()),
        (&header.pid, pid.into()),
        (&header.start, start),
        (&header.name[0], u64::from_ne_bytes(*b"publish\0")),
        (&process.since, u64::MAX),
        (&process.owner, owner),
        (&header.magic, MAGIC),
    ] {
        word.store(value, Ordering::Relaxed);
    }
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let numbers: Vec<u64> =
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [block, word, value] = numbers[..] else { break };
        let first = offset_of!(Family, processes);
        let at = match block {
            0 => first + offset_of!(Process, past),
            1 => first + offset_of!(Process, others),
            context => {
                let block = (context - 2) as usize % BLOCKS;
                family.owners[block].store(owner, Ordering::Relaxed);
                offset_of!(Family, blocks) + block * size_of::<Block>()
            }
        };
        all[at / 8 + word as usize].store(value, Ordering::Relaxed);
        println!("ok");
        std::io::stdout().flush().expect("somebody listens");
    }
    std::fs::remove_file(path).expect("it is ours");
}
