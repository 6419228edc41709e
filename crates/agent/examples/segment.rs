//! A program of the tests (checks/fleet): a server process of one machine, which does with the segment what lines on standard
//! input say, and answers each in a line.

use std::error::Error;
use std::io::{BufRead, stdin};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sslsweep_segment::{Moment, Name, Segment, Tally};

fn main() {
    let path = std::env::args().nth(1).expect("PATH");
    let bytes = std::env::args().nth(2).map_or(1 << 20, |bytes| bytes.parse().expect("BYTES"));
    let segment = Segment::host(Path::new(&path), bytes).unwrap_or_else(|error| panic!("{error}"));
    for line in stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match act(&segment, &words) {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("error {error}"),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// As a record begins. What follows says whose it is.
fn record(flags: u8, name: u128) -> Vec<u8> {
    let mut record = vec![b's', b's', 1, flags];
    record.extend(name.to_be_bytes());
    record.resize(400, 0);
    record
}

fn act(segment: &Segment, words: &[&str]) -> Result<String, Box<dyn Error>> {
    let range = |first: &str, number: &str| -> Result<_, Box<dyn Error>> {
        let first = u128::from_str_radix(first, 16)?.wrapping_mul(STEP);
        let number: u128 = number.parse()?;
        Ok((0..number).map(move |at| first.wrapping_add(at.wrapping_mul(STEP))))
    };
    let of = |name: u128| Name::from_bytes(name.to_be_bytes());
    Ok(match words {
        ["put", first, number, seconds, flags] => {
            let (expiry, flags) = (now() + seconds.parse::<u64>()?, flags.parse()?);
            let put = range(first, number)?
                .filter(|&name| segment.put(of(name), &record(flags, name), expiry, now()).is_ok());
            put.count().to_string()
        }
        // How many of them are there, and whole.
        ["get", first, number] => {
            let found = range(first, number)?.filter(|&name| {
                segment
                    .get(of(name), now())
                    .is_some_and(|it| it.bytes() == record(it.bytes()[3], name))
            });
            found.count().to_string()
        }
        ["forget", first, number, seconds] => {
            let until = now() + seconds.parse::<u64>()?;
            range(first, number)?.for_each(|name| segment.forget(of(name), until, now()));
            String::new()
        }
        // Asks for each in turn, and waits. How many answers came in time.
        ["ask", first, number, milliseconds] => {
            let wait = Duration::from_millis(milliseconds.parse()?);
            let mut answers: Vec<String> = range(first, number)?
                .map(|name| match segment.ask(of(name)) {
                    None => "Unasked".to_string(),
                    Some(question) => {
                        let begun = Moment::now();
                        format!("{:?}", segment.wait(question, begun, begun.after(wait)))
                    }
                })
                .collect();
            answers.dedup();
            answers.join(" ")
        }
        // Asks for each, and waits for none.
        ["want", first, number] => range(first, number)?
            .filter(|&name| segment.ask(of(name)).is_some())
            .count()
            .to_string(),
        ["raise", epoch] => {
            segment.raise_epoch(epoch.parse()?);
            String::new()
        }
        ["epoch"] => segment.epoch().to_string(),
        // How many seconds ago it is; 0 if it was never raised.
        ["floor"] => match segment.floor() {
            0 => "none".into(),
            floor => (now() as i64 - floor as i64).to_string(),
        },
        ["upstream"] => u8::from(segment.agent().upstream).to_string(),
        ["breaker"] => u8::from(segment.agent().breaker_open).to_string(),
        ["tallies"] => {
            let agent = segment.agent();
            let words: Vec<String> =
                Tally::ALL.iter().map(|it| format!("{it:?}={}", agent.count(*it))).collect();
            words.join(" ")
        }
        _ => return Err("unknown words".into()),
    })
}

/// Spreads names over the buckets, as a hash would.
const STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
