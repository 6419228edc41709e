//! The terminal: takes and restores its screen, reads its keys, notices its loss, and obeys signals.
//!
//! crossterm does not read the keys: its reading never returns if the terminal is gone.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ratatui::crossterm::terminal::{
    self, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
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

/// The sequences of keys, without the escape at the beginning.
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

/// The keys in these bytes, without unknown sequences.
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

/// The length of an unknown sequence, if these bytes begin with one.
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

/// Returns whether the rest of a sequence is still to come.
fn is_cut(bytes: &[u8]) -> bool {
    let escape = bytes.iter().rposition(|&byte| byte == b'\x1b');
    escape.is_some_and(|at| match &bytes[at + 1..] {
        [] | [b'[' | b'O'] => true,
        [b'[', rest @ ..] => !rest.iter().any(|byte| (0x40..=0x7e).contains(byte)),
        _ => false,
    })
}

// ---- Signals ----

/// The seconds for which a blocked terminal may delay the end.
const LAST: u32 = 2;

/// The signals that have come.
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
                // A write to a blocked terminal never returns. Then SIGALRM ends the process.
                // SAFETY: signal handlers may call alarm.
                unsafe { libc::alarm(LAST) };
            };
            // SAFETY: the action only stores a number and calls alarm.
            unsafe { signal_hook::low_level::register(signal, action) }?;
        }
        signal_hook::flag::register(SIGTSTP, Arc::clone(&signals.stopped))?;
        signal_hook::flag::register(SIGCONT, Arc::clone(&signals.continued))?;
        Ok(signals)
    }

    /// The signal that ends the process, if one has come.
    pub fn end(&self) -> Option<i32> {
        Some(self.ended.load(Ordering::Relaxed) as i32).filter(|&signal| signal != 0)
    }
}

/// Stops this process by SIGTSTP until it is continued. Unlike SIGSTOP, that does nothing if no shell could continue it.
fn stop() {
    // SAFETY: zero is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = libc::SIG_DFL;
    // SAFETY: as above.
    let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: both are live.
    unsafe { libc::sigaction(SIGTSTP, &raw const action, &raw mut ours) };
    // SAFETY: a plain call.
    unsafe { libc::raise(SIGTSTP) };
    // SAFETY: this is the former action, whose handler is still registered.
    unsafe { libc::sigaction(SIGTSTP, &raw const ours, std::ptr::null_mut()) };
}

// ---- The screen ----

/// The end of a wait.
pub enum Event {
    /// Keys were pressed.
    Keys(Vec<Key>),
    /// The screen must be drawn completely.
    Redraw,
    /// A signal ends the process.
    Signal(i32),
    /// The terminal is gone.
    Gone,
}

/// The terminal in our mode, which its drop or a panic restores.
pub struct Screen {
    signals: Signals,
    /// The source of keys: standard input, the controlling terminal, or none.
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
            // After SIGSTOP the terminal is in the shell's mode, but crossterm believes that it is in ours.
            disable_raw_mode()?;
            enable_raw_mode()?;
        }
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)
    }

    /// Waits for an event, at most for this time.
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
        let Some(mut input) = self.input.as_ref() else {
            return Ok(poll(None, wait)?.gone.then_some(Event::Gone));
        };
        let mut bytes = Vec::new();
        let mut wait = wait;
        loop {
            let ready = poll(Some(input.as_fd()), wait)?;
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

/// Restores the terminal: the mode first, because the write may block.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
}

struct Ready {
    readable: bool,
    gone: bool,
}

/// Waits until the input can be read, the input or standard output is gone, or a signal comes.
fn poll(input: Option<BorrowedFd>, wait: Duration) -> io::Result<Ready> {
    let stdout = io::stdout();
    let mut polled = vec![PollFd::new(&stdout, PollFlags::empty())];
    polled.extend(input.map(|input| PollFd::from_borrowed_fd(input, PollFlags::IN)));
    let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    match rustix::event::poll(&mut polled, wait) {
        Err(Errno::INTR) => return Ok(Ready { readable: false, gone: false }),
        result => result?,
    };
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    Ok(Ready {
        readable: polled.iter().any(|it| it.revents().contains(PollFlags::IN)),
        gone: polled.iter().any(|it| it.revents().intersects(gone)),
    })
}

/// Waits this long, or until nobody reads standard output any more; returns whether nobody does.
pub fn is_unread(wait: Duration) -> io::Result<bool> {
    Ok(poll(None, wait)?.gone)
}

/// Columns and rows, at most 1000 of each, since each costs memory; 80 and 24 if the terminal does not know its size.
pub fn size() -> (u16, u16) {
    const MAX: u16 = 1000;
    match terminal::size() {
        Ok((columns, rows)) if columns > 0 && rows > 0 => (columns.min(MAX), rows.min(MAX)),
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
            // Shift and an arrow, the mouse, and a sequence without its end do not quit.
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
