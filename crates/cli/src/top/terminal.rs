//! The terminal: its screen taken and given back, its keys, its loss, and the signals that end or stop us.
//!
//! Keys are read here, and not by crossterm: on a terminal that is gone its reading never returns.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ratatui::crossterm::terminal::{
    self, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

/// A key that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Control(char),
    Escape,
    Enter,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Help,
}

/// The sequences that terminals send, without the escape that all begin with.
const SEQUENCES: [(&[u8], Key); 21] = [
    (b"[A", Key::Up),
    (b"OA", Key::Up),
    (b"[B", Key::Down),
    (b"OB", Key::Down),
    (b"[C", Key::Right),
    (b"OC", Key::Right),
    (b"[D", Key::Left),
    (b"OD", Key::Left),
    (b"[5~", Key::PageUp),
    (b"[6~", Key::PageDown),
    (b"[H", Key::Home),
    (b"OH", Key::Home),
    (b"[1~", Key::Home),
    (b"[7~", Key::Home),
    (b"[F", Key::End),
    (b"OF", Key::End),
    (b"[4~", Key::End),
    (b"[8~", Key::End),
    (b"OP", Key::Help),
    (b"[11~", Key::Help),
    (b"[[A", Key::Help),
];

/// The keys in these bytes. Sequences that mean none of them are passed over as a whole.
fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let [first, rest @ ..] = bytes {
        bytes = rest;
        match *first {
            b'\x1b' => {
                let known = SEQUENCES.iter().find(|(sequence, _)| rest.starts_with(sequence));
                if let Some((sequence, key)) = known {
                    keys.push(*key);
                    bytes = &rest[sequence.len()..];
                } else if let Some(length) = foreign(rest) {
                    bytes = &rest[length..];
                } else {
                    keys.push(Key::Escape);
                }
            }
            b'\r' | b'\n' => keys.push(Key::Enter),
            control @ 1..=26 => keys.push(Key::Control(char::from(b'a' + control - 1))),
            byte => keys.push(Key::Char(char::from(byte))),
        }
    }
    keys
}

/// The length of a sequence that is not known, if it is one.
fn foreign(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|byte| (0x40..=0x7e).contains(byte));
            Some(end.map_or(bytes.len(), |end| end + 2))
        }
        [b'O', ..] => Some(bytes.len().min(2)),
        _ => None,
    }
}

/// Returns whether the rest of a sequence is still on its way.
fn is_cut(bytes: &[u8]) -> bool {
    let escape = bytes.iter().rposition(|&byte| byte == b'\x1b');
    escape.is_some_and(|at| match &bytes[at + 1..] {
        [] | [b'[' | b'O'] => true,
        [b'[', rest @ ..] => !rest.iter().any(|byte| (0x40..=0x7e).contains(byte)),
        _ => false,
    })
}

// ---- Signals ----

/// The seconds that a terminal that takes nothing any more may hold up the end.
const LAST: u32 = 2;

/// Requests that came by signals.
pub struct Signals {
    ended: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    continued: Arc<AtomicBool>,
}

impl Signals {
    pub fn new() -> io::Result<Signals> {
        let signals =
            Signals { ended: Arc::default(), stopped: Arc::default(), continued: Arc::default() };
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let ended = Arc::clone(&signals.ended);
            let action = move || {
                ended.store(signal as usize, Ordering::Relaxed);
                // A write to the terminal may never return. Then SIGALRM, which nobody handles, ends us.
                // SAFETY: a plain call, and one that signal handlers may make.
                unsafe { libc::alarm(LAST) };
            };
            // SAFETY: the action only stores a number and makes that call.
            unsafe { signal_hook::low_level::register(signal, action) }?;
        }
        signal_hook::flag::register(SIGTSTP, Arc::clone(&signals.stopped))?;
        signal_hook::flag::register(SIGCONT, Arc::clone(&signals.continued))?;
        Ok(signals)
    }

    /// The signal that is to end us.
    pub fn end(&self) -> Option<i32> {
        Some(self.ended.load(Ordering::Relaxed) as i32).filter(|&signal| signal != 0)
    }
}

/// Stops this process as SIGTSTP does, until it is continued. Where there is no shell to continue it, nothing happens:
/// that is the kernel's rule, which SIGSTOP would not keep.
fn stop() {
    // SAFETY: all zero is a valid action: the default, no signal blocked.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = libc::SIG_DFL;
    // SAFETY: as above.
    let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: both are live.
    unsafe { libc::sigaction(SIGTSTP, &raw const action, &raw mut ours) };
    // SAFETY: a plain call.
    unsafe { libc::raise(SIGTSTP) };
    // SAFETY: what was there before, with the handler that is still registered.
    unsafe { libc::sigaction(SIGTSTP, &raw const ours, std::ptr::null_mut()) };
}

// ---- The screen ----

/// Something that ended a wait.
pub enum Event {
    Keys(Vec<Key>),
    /// The screen is to be drawn from the beginning.
    Redraw,
    /// A signal is to end us.
    Signal(i32),
    /// The terminal is gone.
    Gone,
}

/// The terminal as we need it; as it was when this ends, however it does.
pub struct Screen {
    signals: Signals,
    /// The source of keys: standard input, or the terminal that controls us. Without either there are no keys.
    input: Option<File>,
}

impl Screen {
    pub fn new() -> io::Result<Screen> {
        let stdin = io::stdin().is_terminal().then_some("/dev/stdin");
        let input = stdin.into_iter().chain(["/dev/tty"]).find_map(|path| File::open(path).ok());
        let screen = Screen { signals: Signals::new()?, input };
        screen.take()?;
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            report(panic);
        }));
        Ok(screen)
    }

    fn take(&self) -> io::Result<()> {
        if self.input.is_some() {
            // After SIGSTOP the terminal has the shell's mode, and crossterm believes that it has ours.
            disable_raw_mode()?;
            enable_raw_mode()?;
        }
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)
    }

    /// Waits for something to happen, at most for this long.
    pub fn wait(&self, wait: Duration) -> io::Result<Option<Event>> {
        let keys = self.keys(wait)?;
        let (stopped, continued) = (&self.signals.stopped, &self.signals.continued);
        let is_stop = matches!(&keys, Some(Event::Keys(keys)) if keys.contains(&Key::Control('z')));
        if let Some(signal) = self.signals.end() {
            return Ok(Some(Event::Signal(signal)));
        }
        if stopped.swap(false, Ordering::Relaxed) || is_stop {
            restore();
            stop();
            continued.store(true, Ordering::Relaxed);
        }
        if continued.swap(false, Ordering::Relaxed) {
            self.take()?;
            return Ok(Some(Event::Redraw));
        }
        Ok(keys)
    }

    fn keys(&self, wait: Duration) -> io::Result<Option<Event>> {
        let stdout = io::stdout().as_raw_fd();
        let Some(mut input) = self.input.as_ref() else {
            return Ok(poll([stdout, stdout], 0, wait)?.gone.then_some(Event::Gone));
        };
        let files = [input.as_raw_fd(), stdout];
        let mut bytes = Vec::new();
        let mut wait = wait;
        loop {
            let ready = poll(files, libc::POLLIN, wait)?;
            if ready.gone {
                return Ok(Some(Event::Gone));
            }
            if !ready.readable {
                break;
            }
            let mut some = [0; 256];
            match input.read(&mut some) {
                Ok(0) => return Ok(Some(Event::Gone)),
                Ok(count) => bytes.extend_from_slice(&some[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                Err(_) => return Ok(Some(Event::Gone)),
            }
            if !is_cut(&bytes) {
                break;
            }
            wait = Duration::from_millis(50);
        }
        Ok((!bytes.is_empty()).then(|| Event::Keys(keys(&bytes))))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// The mode first: what is written may never arrive.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
}

struct Ready {
    readable: bool,
    gone: bool,
}

/// Waits until the first can be read, either is gone, or a signal came.
fn poll(files: [RawFd; 2], events: i16, wait: Duration) -> io::Result<Ready> {
    let [input, output] = files;
    let mut polled = [
        libc::pollfd { fd: input, events, revents: 0 },
        libc::pollfd { fd: output, events: 0, revents: 0 },
    ];
    let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: an array of that length.
    if unsafe { libc::poll(polled.as_mut_ptr(), 2, wait) } < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::Interrupted => Ok(Ready { readable: false, gone: false }),
            _ => Err(error),
        };
    }
    let gone = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
    Ok(Ready {
        readable: polled[0].revents & libc::POLLIN != 0,
        gone: polled.iter().any(|it| it.revents & gone != 0),
    })
}

/// Waits this long, or until nobody is there any more to read what we write; returns whether that is so.
pub fn is_unread(wait: Duration) -> io::Result<bool> {
    let stdout = io::stdout().as_raw_fd();
    Ok(poll([stdout, stdout], 0, wait)?.gone)
}

/// Columns and rows. Terminals that do not know theirs have none, and are taken for the usual size. Of more than anybody
/// can see, the first are used: each costs memory.
pub fn size() -> (u16, u16) {
    const MOST: u16 = 1000;
    match terminal::size() {
        Ok((columns, rows)) if columns > 0 && rows > 0 => (columns.min(MOST), rows.min(MOST)),
        _ => (80, 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        for (bytes, wanted) in [
            (&b"q?\r"[..], &[Key::Char('q'), Key::Char('?'), Key::Enter][..]),
            (b"\x1b", &[Key::Escape]),
            (b"\x1b\x1b[A", &[Key::Escape, Key::Up]),
            (b"\x1b[5~\x1bOB\x1b[H\x03", &[Key::PageUp, Key::Down, Key::Home, Key::Control('c')]),
            // Shift and an arrow, the mouse, a sequence without its end: none of them quits.
            (b"\x1b[1;2Aj", &[Key::Char('j')]),
            (b"\x1b[<0;1;1M", &[]),
            (b"\x1b[12", &[]),
            (b"\x1bOx", &[]),
        ] {
            assert_eq!(keys(bytes), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_cut_is_waited_for() {
        for (bytes, cut) in [
            (&b"\x1b"[..], true),
            (b"\x1b[", true),
            (b"\x1b[1;", true),
            (b"\x1b[A", false),
            (b"x", false),
            (b"\x1bx", false),
        ] {
            assert_eq!(is_cut(bytes), cut, "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            proptest::prop_assert!(keys(&bytes).len() <= bytes.len());
            is_cut(&bytes);
        }
    }
}
