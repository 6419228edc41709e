//! A program of the tests (checks/fleet): does with the engine what lines on standard input say, and answers each in a line.

use std::io::{BufRead, stdin};
use std::time::{Duration, Instant};

use clap::Parser;
use sslsweep_agent::arguments::Upstream;
use sslsweep_agent::engine::{Engine, Entry, Found, Id, Name, Record, Removals, Removed, Settings};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    upstream: Upstream,
}

#[derive(Default)]
struct State {
    engine: Option<Engine>,
    removals: Option<Removals>,
    last: Id,
}

/// The number of this machine.
const HOME: u64 = 9;

type Answer = Result<String, Box<dyn std::error::Error>>;

fn main() {
    sslsweep_agent::engine::use_tls();
    let settings = Arguments::parse().upstream.settings().unwrap_or_else(|error| panic!("{error}"));
    let mut state = State { last: Id::BEGIN, ..State::default() };
    for line in stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let begun = Instant::now();
        let answer = act(&mut state, &settings, &words);
        let took = begun.elapsed().as_millis();
        match answer {
            Ok(answer) => println!("{took} ok {answer}"),
            Err(error) => {
                state = State { last: state.last, ..State::default() };
                println!("{took} error {error}");
            }
        }
    }
}

fn name(word: &str) -> Name {
    u128::from_str_radix(word, 16).expect("a name").to_be_bytes()
}

fn joined(names: &[Name]) -> String {
    let names = names.iter().map(|name| format!("{:x}", u128::from_be_bytes(*name)));
    names.collect::<Vec<_>>().join(",")
}

fn act(state: &mut State, settings: &Settings, words: &[&str]) -> Answer {
    if state.engine.is_none() {
        state.engine = Some(Engine::connect(settings)?);
    }
    let engine = state.engine.as_mut().ok_or("connected")?;
    Ok(match words {
        // Names in a row, with records of this size.
        ["publish", first, number, expiry, size] => {
            let (first, number): (u128, u128) = (u128::from_str_radix(first, 16)?, number.parse()?);
            let records: Vec<Record> = (first..first + number)
                .map(|name| {
                    Ok(Record {
                        name: name.to_be_bytes(),
                        expiry: expiry.parse()?,
                        bytes: vec![b'r'; size.parse()?],
                    })
                })
                .collect::<Result<_, std::num::ParseIntError>>()?;
            let published = engine.publish(HOME, &records)?;
            format!(
                "{} {} {}",
                published.stored,
                published.kept + published.buried.len() as u64,
                published.refused
            )
        }
        ["remove", first, number, until] => {
            let (first, number): (u128, u128) = (u128::from_str_radix(first, 16)?, number.parse()?);
            let until = until.parse()?;
            let removed: Vec<Removed> = (first..first + number)
                .map(|name| Removed { name: name.to_be_bytes(), until })
                .collect();
            let refused = engine.bury(&removed)?;
            engine.tell_removed(&removed.iter().map(|it| it.name).collect::<Vec<_>>())?;
            refused.to_string()
        }
        ["fetch", names @ ..] => {
            let names: Vec<Name> = names.iter().map(|word| name(word)).collect();
            let found = engine.fetch(&names)?;
            let words: Vec<String> = found
                .iter()
                .map(|found| match found {
                    Found::Record { expiry, bytes } => format!("{expiry}:{}", bytes.len()),
                    Found::Absent => "absent".into(),
                    Found::Unusable => "unusable".into(),
                })
                .collect();
            words.join(" ")
        }
        ["changed", home, names @ ..] => {
            let names: Vec<Name> = names.iter().map(|word| name(word)).collect();
            engine.tell_changed(home.parse()?, &names)?;
            String::new()
        }
        ["floor", floor] => {
            engine.tell_floor(floor.parse()?)?;
            String::new()
        }
        ["epoch"] => engine.epoch()?.to_string(),
        ["raise", epoch] => {
            engine.raise_epoch(epoch.parse()?)?;
            String::new()
        }
        ["end"] => {
            let mut removals = Removals::connect(settings, Duration::from_millis(100))?;
            state.last = removals.end()?;
            state.removals = Some(removals);
            state.last.to_string()
        }
        ["read", how] => {
            if state.removals.is_none() {
                state.removals = Some(Removals::connect(settings, Duration::from_millis(100))?);
            }
            let removals = state.removals.as_mut().ok_or("connected")?;
            let read = removals.read(state.last, *how == "wait")?;
            state.last = read.last;
            let entries: Vec<String> = read
                .entries
                .iter()
                .map(|entry| match entry {
                    Entry::Names(names) => joined(names),
                    Entry::Changed(home, names) => format!("{home}:{}", joined(names)),
                    Entry::Floor(floor) => format!("f{floor}"),
                    Entry::Epoch(epoch) => format!("e{epoch}"),
                })
                .collect();
            format!(
                "gap={} end={} {}",
                u8::from(read.gap.is_some()),
                u8::from(read.at_end),
                entries.join(" ")
            )
        }
        _ => return Err("unknown words".into()),
    })
}
