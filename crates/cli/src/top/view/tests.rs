use super::*;
use crate::figures::tests::figures;
use crate::figures::{Figures, Reading, sharing};
use crate::selection::Selection;
use crate::top::terminal::Key;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use sslsweep_figures::{MODE_EXTERNAL, MODE_KNOWN, MODE_TICKETS, Word};
use sslsweep_share_table::Event;
use std::time::{Duration, Instant};

const ASCII: Style = Style { color: false, unicode: false };

/// `SSL_SESS_CACHE_SERVER`, and with it the two NO_INTERNAL flags.
const SERVER: u64 = MODE_KNOWN | 2;
const EXTERNAL: u64 = SERVER | 0x300 | MODE_EXTERNAL;

/// A busy server with an idle context, and a server with a cache of its own, after this number of seconds.
fn look(second: u64) -> Reading {
    let word = |word: Word| word as usize;
    let mut first = vec![
        (0, 1),
        (word(Word::Mode), SERVER),
        (word(Word::Sessions), 18_240),
        (word(Word::Limit), 20_480),
        (word(Word::Stores), 91_000 + 310 * second),
        (word(Word::Hits), 240_000 + 1270 * second),
        (word(Word::Misses), 6_000 + 12 * second),
        (word(Word::Evictions), 500 + 2 * second),
        (word(Word::Flushed), 72_000 + 306 * second),
        (word(Word::Flushes), 357 + second),
        (word(Word::LeftAtEnd), 17),
        (word(Word::Accepted), 331_000),
        (word(Word::LongestBatch), 21_300),
        // A time in the future reads as 0 seconds ago.
        (word(Word::LastFlush), u64::MAX),
        (word(Word::LastRemoved), 306),
        (word(Word::LastTook), 148_000),
    ];
    let parts = [0, 310, 640, 905, 1800, 4100, 6200, 3900, 380, 5, 0, 0, 0, 0, 0, 0];
    first.extend(parts.iter().enumerate().map(|(part, &value)| (word(Word::Curve) + part, value)));
    first.extend(
        [(7, 140), (8, 201), (9, 16)].map(|(step, value)| (word(Word::FlushTimes) + step, value)),
    );
    first.extend(
        [(3, 900), (4, 1400), (5, 20)].map(|(step, value)| (word(Word::BatchTimes) + step, value)),
    );
    let second = [
        (0, 2),
        (word(Word::Mode), SERVER),
        (word(Word::Sessions), 12),
        (word(Word::Stores), 40),
        (word(Word::Misses), 3),
        (word(Word::Curve) + 15, 12),
    ];
    let tickets = [(0, 3), (word(Word::Mode), SERVER | MODE_TICKETS), (word(Word::Accepted), 9)];
    let stunnel = Figures { program: "stunnel".into(), ..figures(&[(2, &first), (3, &second)]) };
    let own = [(0, 1), (word(Word::Mode), EXTERNAL), (word(Word::Accepted), 88)];
    let nginx = Figures { pid: 5200, ..figures(&[(2, &own), (3, &tickets)]) };
    Reading { processes: vec![stunnel, nginx], ..Reading::default() }
}

pub fn sample() -> State {
    let mut state = State::new(&Selection::default(), Duration::from_secs(1));
    let now = Instant::now();
    state.update(look(0), now);
    state.update(look(1), now + Duration::from_secs(1));
    state
}

fn press(state: &mut State, keys: &[Key]) {
    for &key in keys {
        state.key(key);
    }
}

fn screen(state: &mut State, width: u16, height: u16, style: Style) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a buffer");
    terminal.draw(|frame| draw(frame, state, style)).expect("it draws");
    let buffer = terminal.backend().buffer();
    let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_string()).collect()
}

#[test]
fn eighty_columns() {
    let lines = screen(&mut sample(), 80, 24, ASCII);
    assert_eq!(
        lines[..5],
        [
            "sslsweep  2 processes, 4 contexts, 3 idle lines hidden  rates over 1s  by PID",
            "    PID PROGRAM       CTX HELD/SIZE STO/s HIT/s HIT% EVI/s FLU/s  LOCK STATE",
            "   4711 stunnel       all   18k/any   310  1270 99.1   2.0   306  21us in force",
            "   4711 stunnel         1   18k/20k   310  1270 99.1   2.0   306  21us in force",
            "   4711 stunnel         2    12/any     0     0    -     0     0     0 in force",
        ]
    );
    assert!(lines[13].starts_with("-- stunnel 4711, all contexts ---"), "{lines:#?}");
    assert_eq!(lines[14], "in force: sessions are stored in its cache");
    assert_eq!(
        lines[20],
        "due  10s  30s   1m   2m   5m  10m  30m   1h   2h   6h  12h   1d   7d  >7d  none"
    );
    assert_eq!(lines[21], "last flush 0s ago: 306 removed in 148us");
    assert_eq!(lines[22], "358 flushes (1.0/s) removed 72k; longest lock 21us");
    assert!(lines.iter().all(|line| line.is_ascii()));
}

#[test]
fn idle_ones_say_why_and_what_to_set() {
    let mut state = sample();
    press(&mut state, &[Key::Char('i'), Key::End]);
    let lines = screen(&mut state, 80, 24, ASCII);
    assert_eq!(lines[0], "sslsweep  2 processes, 4 contexts  rates over 1s  by PID");
    assert!(lines[6].ends_with(" external") && lines[7].ends_with(" tickets"), "{lines:#?}");
    assert!(lines[14].starts_with("idle: all clients get tickets"), "{lines:#?}");
    assert_eq!(lines[15], "setting that uses the cache: ssl_session_tickets off;");
    let mut reading = look(0);
    reading.processes.remove(0);
    let mut state = State::new(&Selection::default(), Duration::from_secs(1));
    state.update(reading, Instant::now());
    let lines = screen(&mut state, 80, 24, ASCII);
    assert!(lines[3].starts_with("no cache is in force; press i"), "{lines:#?}");
}

#[test]
fn totals() {
    let mut state = sample();
    press(&mut state, &[Key::Char('t'), Key::Char('t'), Key::Char('i')]);
    let lines = screen(&mut state, 80, 24, ASCII);
    assert!(lines[2].starts_with(" 1 proc nginx         all"), "{lines:#?}");
    assert!(lines[3].starts_with(" 1 proc stunnel       all"), "{lines:#?}");
}

#[test]
fn details_and_help() {
    let mut state = sample();
    press(&mut state, &[Key::Down, Key::Enter]);
    let lines = screen(&mut state, 80, 24, ASCII);
    for wanted in [
        "18240 sessions stored now of 20480",
        "                                   total   /s 1s  /s 10s  /s 60s",
        "sessions stored                    91310     310     310     310",
        "hit rate, percent                   97.6    99.1    99.1    99.1",
        "<1.0us  <256us  <65ms                   <1.0us  <256us  <65ms",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted}: {lines:#?}");
    }
    assert!(lines.iter().any(|line| line.contains("left at a context's end 17")));
    press(&mut state, &[Key::Char('?')]);
    assert!(screen(&mut state, 80, 24, ASCII)[1].starts_with("HELD/SIZE   sessions stored"));
    // Every column is explained, and the page has room.
    for column in COLUMNS.iter().filter(|column| !["PID", "PROGRAM"].contains(&column.heading)) {
        assert!(HELP.iter().any(|line| line.contains(column.heading)), "{}", column.heading);
    }
    assert!(HELP.len() <= 22 && HELP.iter().all(|line| line.len() <= 80) && KEYS.len() <= 80);
}

#[test]
fn s9_details_of_one_that_shares() {
    let details = |keys: &[Key]| {
        let mut reading = look(0);
        reading.processes[0].sharing = sharing(&[
            (Event::Published, 12_345),
            (Event::NoRoom, 3),
            (Event::TooLarge, 1),
            (Event::ClientAuthentication, 2),
            (Event::Fetched, 678),
            (Event::AsideSecurity, 1),
        ]);
        let mut other = look(0).processes.remove(0);
        (other.pid, other.sharing) = (4712, sharing(&[(Event::Fetched, 22)]));
        reading.processes.push(other);
        let mut state = State::new(&Selection::default(), Duration::from_secs(1));
        state.update(reading, Instant::now());
        press(&mut state, keys);
        screen(&mut state, 80, 30, ASCII)
    };
    let lines = details(&[Key::Enter]);
    let at = lines.iter().position(|line| line.starts_with("sharing: ")).expect("a line");
    assert_eq!(
        lines[at..at + 2],
        [
            "sharing: 12k published, 6 not published (3 no room, 1 too large,",
            "  2 client authentication), 678 fetched, 1 SSL_CTX aside (1 security callback)",
        ]
    );
    let lines = details(&[Key::Down, Key::Enter]);
    assert!(lines.iter().any(|line| line.starts_with("sharing of the process: 12k published")));
    let lines = details(&[Key::Char('t'), Key::Char('t'), Key::Enter]);
    assert!(lines.iter().any(|line| line.contains("), 700 fetched, ")), "{lines:#?}");
    // nginx shares nothing.
    let lines = details(&[Key::Char('i'), Key::End, Key::Enter]);
    assert!(lines.iter().all(|line| !line.starts_with("sharing")), "{lines:#?}");
}

#[test]
fn s9_the_pane_of_one_that_asks_the_fleet() {
    let pane = |counts: &[(Event, u64)]| {
        let mut reading = look(0);
        reading.processes[0].sharing = sharing(counts);
        let mut state = State::new(&Selection::default(), Duration::from_secs(1));
        state.update(reading, Instant::now());
        let lines = screen(&mut state, 80, 24, ASCII);
        lines.into_iter().find(|line| line.starts_with("fleet"))
    };
    let told = pane(&[
        (Event::Published, 4),
        (Event::Asked, 12_345),
        (Event::Answered, 12_000),
        (Event::Missed, 45),
        (Event::Foreign, 6),
        (Event::RefusedGap, 2),
    ]);
    let wanted = "fleet: asked 12k, answered 12k, missed 45, skipped 0, foreign 6, gap 2";
    assert_eq!(told.as_deref(), Some(wanted));
    assert_eq!(pane(&[(Event::Foreign, 1)]).map(|line| line.contains("foreign 1")), Some(true));
    assert_eq!(pane(&[(Event::Published, 4)]), None, "it shares on its machine alone");
}

#[test]
fn lines_have_all_columns() {
    let text = lines(&sample());
    let second = "   4711 stunnel      1   18k/20k   310  1270 99.1   2.0   306  21us in force     12   306 148us";
    assert_eq!(text.lines().nth(2), Some(second));
}

#[test]
fn bars_show_what_is_there() {
    let mut first = vec![(0, 1), (Word::Sessions as usize, 1)];
    first.extend([(0, u64::MAX), (1, 1)].map(|(part, value)| (Word::Curve as usize + part, value)));
    let reading = Reading { processes: vec![figures(&[(2, &first)])], ..Reading::default() };
    let mut state = State::new(&Selection::default(), Duration::from_secs(1));
    state.update(reading, Instant::now());
    let lines = screen(&mut state, 80, 24, ASCII);
    assert_eq!(lines[19], "#### ....");
    assert_eq!(lines[16], "####");
}

#[test]
fn small_terminals() {
    for (width, height) in [(20, 24), (1, 1), (39, 24), (80, 5)] {
        let lines = screen(&mut sample(), width, height, ASCII);
        let wanted: String = "terminal too small".chars().take(width.into()).collect();
        assert_eq!(lines[0], wanted);
    }
    let lines = screen(&mut sample(), 40, 6, ASCII);
    assert_eq!(lines[1], "    PID PROGRAM      CTX HELD/SIZE STO/s");
}

proptest! {
    /// Any keys work in terminals of any size.
    #[test]
    fn any_keys(width in 1_u16..200, height in 1_u16..60, keys in proptest::collection::vec(0_usize..16, 0..20), unicode: bool) {
        const KEYS: [Key; 16] = [Key::Up, Key::Down, Key::PageUp, Key::PageDown, Key::Home, Key::End, Key::Enter,
            Key::Escape, Key::Char('?'), Key::Char('<'), Key::Char('>'), Key::Char('r'), Key::Char('t'), Key::Char('p'),
            Key::Char('i'), Key::Char('a')];
        let mut state = sample();
        for key in keys {
            state.key(KEYS[key]);
            screen(&mut state, width, height, Style { color: true, unicode });
        }
    }
}
