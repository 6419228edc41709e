//! Fuzzes sequences of API calls (calls.c), on sslsweep and on stock libssl in lockstep.
//!
//! This process has the instrumented library preloaded. It starts itself once more without it, as the
//! stock side, which gets each input that is for both and answers with its log.
#![no_main]

use std::env;
use std::ffi::{c_char, c_int, c_uchar, c_ulong};
use std::io::{Read, Result, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use libfuzzer_sys::fuzz_target;

unsafe extern "C" {
    fn calls_run(
        data: *const c_uchar,
        size: usize,
        log: *mut c_char,
        room: usize,
        in_lockstep: *mut c_int,
    ) -> c_ulong;
    fn calls_sweeping() -> c_int;
    fn atexit(function: extern "C" fn()) -> c_int;
}

/// Says that this process is the stock side.
const STOCK: &str = "CALLS_STOCK";

struct Ran {
    log: String,
    in_lockstep: bool,
    calls: u64,
}

fn run(data: &[u8]) -> Ran {
    let mut log = vec![0u8; 1 << 18];
    let mut in_lockstep = 0;
    // SAFETY: a string of bytes, and a log of that size.
    let calls = unsafe {
        calls_run(data.as_ptr(), data.len(), log.as_mut_ptr().cast(), log.len(), &mut in_lockstep)
    };
    let length = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    log.truncate(length);
    let log = String::from_utf8_lossy(&log).into_owned();
    Ran { log, in_lockstep: in_lockstep != 0, calls }
}

// --- The two sides: a length and as many bytes, there and back -----------------------------------

fn send(to: &mut impl Write, bytes: &[u8]) -> Result<()> {
    to.write_all(&(bytes.len() as u32).to_ne_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

fn receive(from: &mut impl Read) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_ne_bytes(length) as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Standard input is the connection, both ways: helpers of the harness print to standard output.
fn serve_as_stock() -> ! {
    // SAFETY: nobody else uses standard input.
    let mut side = unsafe { UnixStream::from_raw_fd(0) };
    while let Ok(input) = receive(&mut side) {
        if send(&mut side, run(&input).log.as_bytes()).is_err() {
            break;
        }
    }
    std::process::exit(0)
}

fn start_stock() -> UnixStream {
    let (ours, its) = UnixStream::pair().expect("a pair of sockets");
    Command::new(env::current_exe().expect("a name"))
        .env_remove("LD_PRELOAD")
        .env(STOCK, "1")
        .stdin(OwnedFd::from(its))
        .stdout(Stdio::null())
        .spawn()
        .expect("the stock side starts");
    ours
}

fn ask(stock: &mut UnixStream, input: &[u8]) -> Result<String> {
    send(stock, input)?;
    Ok(String::from_utf8_lossy(&receive(stock)?).into_owned())
}

static SIDE: Mutex<Option<UnixStream>> = Mutex::new(None);
static INPUTS: AtomicU64 = AtomicU64::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);
static COMPARED: AtomicU64 = AtomicU64::new(0);
static STOCK_ENDED: AtomicU64 = AtomicU64::new(0);

extern "C" fn say_counts() {
    eprintln!(
        "calls: {} inputs, {} calls; {} inputs compared with stock, which ended at {}",
        INPUTS.load(Relaxed),
        CALLS.load(Relaxed),
        COMPARED.load(Relaxed),
        STOCK_ENDED.load(Relaxed)
    );
}

fn begin() {
    if env::var_os(STOCK).is_some() {
        serve_as_stock();
    }
    // SAFETY: no preconditions.
    assert!(unsafe { calls_sweeping() } == 1, "the library is to be preloaded");
    // SAFETY: a function that lives as long as the process.
    unsafe { atexit(say_counts) };
    *SIDE.lock().expect("one thread") = Some(start_stock());
}

fuzz_target!(init: begin(), |data: &[u8]| {
    let ran = run(data);
    INPUTS.fetch_add(1, Relaxed);
    CALLS.fetch_add(ran.calls, Relaxed);
    if !ran.in_lockstep {
        return;
    }
    let mut side = SIDE.lock().expect("one thread");
    match ask(side.as_mut().expect("started"), data) {
        Ok(stock) if stock == ran.log => {
            COMPARED.fetch_add(1, Relaxed);
        }
        Ok(stock) => {
            eprintln!("calls: stock libssl and sslsweep differ (- stock, + sslsweep)");
            for (one, other) in stock.lines().zip(ran.log.lines()) {
                if one == other {
                    eprintln!("  {one}");
                } else {
                    eprintln!("- {one}\n+ {other}");
                    break;
                }
            }
            std::process::abort();
        }
        // Stock has crashed, which is not our fault; but it is counted, or nothing might be compared.
        Err(_) => {
            STOCK_ENDED.fetch_add(1, Relaxed);
            *side = Some(start_stock());
        }
    }
});
