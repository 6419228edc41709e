//! Lines on standard error, each by one write, so that lines of several threads do not mix.
//!
//! A daemon closes standard error, and what it opens next may get number 2: a database, a client's connection. So
//! [`remember`] notes at load which file that number is, and a line is written only while it still is that very
//! file. (A duplicate would be simpler, but would hold a pipe or a terminal open.) Nothing here allocates or locks:
//! a line may come from a signal handler that calls `exit`, or from a thread that has interrupted `malloc`.

use std::ffi::CStr;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::system::{self, uncancelled};

/// Longer lines are cut.
const LINE: usize = 1536;

/// The kind of file, within `st_mode`.
type Kind = libc::mode_t;

/// Device, inode and kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64, Kind);

impl Identity {
    fn of(file: libc::c_int) -> Option<Self> {
        let found = system::file_status(file)?;
        Some(Self(found.st_dev, found.st_ino, found.st_mode & libc::S_IFMT))
    }
}

/// The file that standard error was at the first look.
struct Remembered {
    state: AtomicU8,
    device: AtomicU64,
    inode: AtomicU64,
    kind: AtomicU64,
}

const UNKNOWN: u8 = 0;
/// A thread is writing it down.
const LOOKING: u8 = 1;
const CLOSED: u8 = 2;
const OPEN: u8 = 3;

static REMEMBERED: Remembered = Remembered::new();

impl Remembered {
    const fn new() -> Self {
        Self {
            state: AtomicU8::new(UNKNOWN),
            device: AtomicU64::new(0),
            inode: AtomicU64::new(0),
            kind: AtomicU64::new(0),
        }
    }

    /// Notes what this file is, unless that is known.
    fn note(&self, now: Option<Identity>) {
        let first =
            self.state.compare_exchange(UNKNOWN, LOOKING, Ordering::Acquire, Ordering::Acquire);
        if first.is_err() {
            return;
        }
        if let Some(Identity(device, inode, kind)) = now {
            self.device.store(device, Ordering::Relaxed);
            self.inode.store(inode, Ordering::Relaxed);
            self.kind.store(kind.into(), Ordering::Relaxed);
        }
        self.state.store(if now.is_some() { OPEN } else { CLOSED }, Ordering::Release);
    }

    /// Returns whether standard error is still that file. While another thread writes the note, the present file counts:
    /// to wait for that thread may be to wait for one that this call interrupts.
    fn is(&self, now: Option<Identity>) -> bool {
        match (self.state.load(Ordering::Acquire), now) {
            (OPEN, Some(Identity(device, inode, kind))) => {
                self.device.load(Ordering::Relaxed) == device
                    && self.inode.load(Ordering::Relaxed) == inode
                    && self.kind.load(Ordering::Relaxed) == u64::from(kind)
            }
            (UNKNOWN | LOOKING, now) => now.is_some(),
            _ => false,
        }
    }
}

/// Notes which file standard error is. Called when the library is loaded; a line that comes before, from another
/// object's constructor, notes it itself.
pub(crate) fn remember() {
    if REMEMBERED.state.load(Ordering::Relaxed) == UNKNOWN {
        REMEMBERED.note(Identity::of(libc::STDERR_FILENO));
    }
}

/// Writes `sslsweep[PID]: TEXT`. A standard error that is closed, full or nobody's any more is no reason to fail.
pub(crate) fn line(text: impl fmt::Display) {
    remember();
    with_errno_kept(|| {
        if REMEMBERED.is(Identity::of(libc::STDERR_FILENO)) {
            let mut line = Line { bytes: [0; LINE], length: 0 };
            let _ = write!(line, "sslsweep[{}]: {text}", std::process::id());
            uncancelled(|| write_quietly(line.end()));
        }
    });
}

/// A line on the stack.
struct Line {
    bytes: [u8; LINE],
    length: usize,
}

impl Line {
    /// The bytes with the new line that ends them, for which [`Write`] has left room.
    fn end(&mut self) -> &[u8] {
        self.bytes[self.length] = b'\n';
        &self.bytes[..=self.length]
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LINE - 1 - self.length;
        let fitting = fitting(text, room);
        self.bytes[self.length..][..fitting].copy_from_slice(&text.as_bytes()[..fitting]);
        self.length += fitting;
        if fitting < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// The most bytes of whole characters that fit: `str::floor_char_boundary`, which Rust 1.85 does not have yet.
fn fitting(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Signals that a write can bring, and the error that comes with each: a pipe that nobody reads any more, a file beyond its
/// limit, a terminal that a program in the background must not write to (which is let pass while the signal is held back).
const SIGNALS: [(libc::c_int, libc::c_int); 3] =
    [(libc::SIGPIPE, libc::EPIPE), (libc::SIGXFSZ, libc::EFBIG), (libc::SIGTTOU, 0)];

/// One write. Signals for it would end or stop the program, which is not its own doing: they are held back, and one that is
/// ours is taken away again.
fn write_quietly(line: &[u8]) {
    let held_back = signals(&SIGNALS.map(|(signal, _)| signal));
    let (mut before, mut pending) = (signals(&[]), signals(&[]));
    system::pthread_sigmask(libc::SIG_BLOCK, Some(&held_back), Some(&mut before));
    system::sigpending(&mut pending);
    let written = system::write_to(libc::STDERR_FILENO, line);
    let error = if written { 0 } else { system::errno() };
    let ours = SIGNALS.iter().find(|&&(signal, with)| {
        error != 0 && with == error && system::sigismember(&pending, signal) == 0
    });
    if let Some(&(signal, _)) = ours {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        system::sigtimedwait(&signals(&[signal]), None, &at_once);
    }
    system::pthread_sigmask(libc::SIG_SETMASK, Some(&before), None);
}

/// A set of signals.
fn signals(which: &[libc::c_int]) -> libc::sigset_t {
    let mut set = system::no_signals();
    for &signal in which {
        system::sigaddset(&mut set, signal);
    }
    set
}

/// Runs a step and then restores `errno`: the program may be about to look at what its own last call has left there.
fn with_errno_kept(step: impl FnOnce()) {
    let before = system::errno();
    step();
    system::set_errno(before);
}

/// A string of somebody else's, shown with a mark in place of what is no UTF-8.
pub(crate) struct Text<'a>(pub(crate) &'a CStr);

impl fmt::Display for Text<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_bytes().utf8_chunks().try_for_each(|part| {
            to.write_str(part.valid())?;
            if part.invalid().is_empty() {
                Ok(())
            } else {
                to.write_char(char::REPLACEMENT_CHARACTER)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_file_counts() {
        let (first, other) = (Identity(1, 2, libc::S_IFIFO), Identity(1, 2, libc::S_IFREG));
        let remembered = Remembered::new();
        remembered.note(Some(first));
        remembered.note(Some(other));
        assert!(remembered.is(Some(first)));
        assert!(!remembered.is(Some(other)), "a file of the same number and another kind");
        assert!(!remembered.is(Some(Identity(1, 3, libc::S_IFIFO))));
        assert!(!remembered.is(Some(Identity(2, 2, libc::S_IFIFO))));
        assert!(!remembered.is(None));
    }

    #[test]
    fn what_was_closed_stays_so() {
        let remembered = Remembered::new();
        remembered.note(None);
        remembered.note(Some(Identity(1, 2, libc::S_IFREG)));
        assert!(!remembered.is(Some(Identity(1, 2, libc::S_IFREG))));
    }

    #[test]
    fn lines_end_with_a_new_line_however_long_they_are() {
        for length in [0, 1, LINE - 2, LINE - 1, LINE, 3 * LINE] {
            let mut line = Line { bytes: [0; LINE], length: 0 };
            let whole = write!(line, "{}", "x".repeat(length)).is_ok();
            assert_eq!(whole, length < LINE);
            assert_eq!(line.end(), format!("{}\n", "x".repeat(length.min(LINE - 1))).as_bytes());
        }
        let mut line = Line { bytes: [0; LINE], length: 0 };
        let _ = write!(line, "{}é", "x".repeat(LINE - 2));
        assert_eq!(line.end().len(), LINE - 1, "no character is cut in two");
    }
}
