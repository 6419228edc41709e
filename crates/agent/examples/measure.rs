//! Measures an engine and an agent: `measure PATH URL` with an agent at the segment PATH and an engine at URL, both at rest.
//!
//! | line | measures |
//! |---|---|
//! | `publish` | records put into the segment until the engine has them all; the processor time is the agent's |
//! | `remove` | the same for removals |
//! | `fetch` | from a question to its answer, with the record in the segment: one at a time, the median and the 99th of 100 |

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sslsweep_segment::{Answer, Moment, Name, Segment, Tally};

const NUMBER: usize = 50_000;
const FETCHES: usize = 5_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("PATH");
    let url = arguments.next().expect("URL");
    let agent = arguments.next().expect("PID of the agent");
    let bytes = std::fs::metadata(&path).expect("a segment").len();
    let segment = Segment::host(Path::new(&path), bytes).expect("a segment");
    let engine =
        redis::Client::open(url).and_then(|client| client.get_connection()).expect("an engine");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();

    for (what, tally) in [("publish", Tally::Published), ("remove", Tally::Removed)] {
        let (before, used, begun) =
            (segment.agent().count(tally), processor(&agent), Instant::now());
        for at in 0..NUMBER {
            match tally {
                Tally::Published => {
                    segment.put(name(at), &record(400), now + 3600, now).expect("room");
                }
                _ => segment.forget(name(at), now + 3600, now),
            }
        }
        let put = begun.elapsed();
        while segment.agent().count(tally) < before + NUMBER as u64 {
            thread::sleep(Duration::from_millis(1));
        }
        let (took, used) = (begun.elapsed(), processor(&agent).saturating_sub(used));
        println!(
            "{what}: {NUMBER} in {:.3} s (of which {:.3} s to put them): {:.0} a second; {:.2} s of the agent's processor time, {:.1} us each",
            took.as_secs_f64(),
            put.as_secs_f64(),
            NUMBER as f64 / took.as_secs_f64(),
            used.as_secs_f64(),
            used.as_micros() as f64 / NUMBER as f64,
        );
    }
    fetches(&segment, engine, now);
}

/// Records that only the engine has, each asked for once.
fn fetches(segment: &Segment, mut engine: redis::Connection, now: u64) {
    let expiry = now + 3600;
    let value = [&expiry.to_be_bytes()[..], &record(400)].concat();
    for at in NUMBER..NUMBER + FETCHES {
        let key = format!("sslsweep:r:{:032x}", u128::from_be_bytes(name(at).to_bytes()));
        redis::cmd("SET").arg(key).arg(&value).arg("EX").arg(3600).exec(&mut engine).expect("set");
    }
    let mut times: Vec<Duration> = Vec::with_capacity(FETCHES);
    for at in NUMBER..NUMBER + FETCHES {
        let begun = Instant::now();
        let question = segment.ask(name(at)).expect("an agent");
        let moment = Moment::now();
        // On a busy machine some deadlines are missed.
        if segment.wait(question, moment, moment.after(Duration::from_millis(20))) == Answer::Met {
            assert!(segment.get(name(at), now).is_some());
            times.push(begun.elapsed());
        }
    }
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 1000].as_nanos() as f64 / 1000.0;
    println!(
        "fetch: median {:.1} us, 90 % {:.1} us, 99 % {:.1} us; {} of {FETCHES} missed the deadline",
        at(500),
        at(900),
        at(990),
        FETCHES - times.len()
    );
    let mut roundtrips: Vec<Duration> = (0..FETCHES)
        .map(|_| {
            let begun = Instant::now();
            redis::cmd("PING").exec(&mut engine).expect("an engine");
            begun.elapsed()
        })
        .collect();
    roundtrips.sort_unstable();
    println!(
        "PING by a connection of one's own: median {:.1} us",
        roundtrips[FETCHES / 2].as_nanos() as f64 / 1000.0
    );
}

fn name(at: usize) -> Name {
    Name::from_bytes(
        (at as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes(),
    )
}

fn record(size: usize) -> Vec<u8> {
    let mut record = b"ss\x01\0".to_vec();
    record.resize(size, 7);
    record
}

/// The processor time that a process has used.
fn processor(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the agent");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: u64 =
        fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks");
    Duration::from_millis(ticks * 10)
}
