//! `sslsweep shared check`: whether an engine can be used, and what is wrong with it.

use std::time::{SystemTime, UNIX_EPOCH};

use redis::Value;

use crate::engine::{Engine, Error, Removals, Settings};

/// The difference of clocks that sharing allows for, in seconds.
const CLOCKS: u64 = 300;

/// What was found: lines, and whether the engine can be used.
pub struct Report {
    /// One for each thing that was looked at, as `sslsweep doctor` writes them.
    pub lines: Vec<String>,
    /// Nothing that is needed is missing.
    pub usable: bool,
}

impl Report {
    fn yes(&mut self, what: impl AsRef<str>) {
        self.lines.push(format!("yes  {}", what.as_ref()));
    }

    fn note(&mut self, what: impl AsRef<str>) {
        self.lines.push(format!("note {}", what.as_ref()));
    }

    fn no(&mut self, what: impl AsRef<str>) {
        self.usable = false;
        self.lines.push(format!("no   {}", what.as_ref()));
    }
}

/// Connects, and looks at version, memory and clock.
pub fn check(settings: &Settings) -> Report {
    let mut report = Report { lines: Vec::new(), usable: true };
    match Engine::connect(settings) {
        Ok(mut engine) => look(&mut engine, settings, &mut report),
        Err(error) => report.no(format!("the engine cannot be reached: {error}")),
    }
    report
}

fn look(engine: &mut Engine, settings: &Settings, report: &mut Report) {
    report.yes("the engine can be reached");
    match Removals::connect(settings, std::time::Duration::from_millis(1))
        .and_then(|mut it| it.end())
    {
        Ok(_) => report.yes("the stream of removals can be read"),
        Err(error) => report.no(format!("the stream of removals cannot be read: {error}")),
    }
    match engine.epoch().and_then(|_| engine.fetch(&[[0; 16]])) {
        Ok(_) => report.yes("records can be fetched"),
        Err(error) => report.no(format!("records cannot be fetched: {error}")),
    }
    match engine.query(&["INFO"]) {
        Ok(answer) => info(&texts(&answer), report),
        Err(error) => {
            report.note(format!("the engine does not tell its version and memory: {error}"))
        }
    }
    match clock(engine) {
        Ok(difference) if difference > CLOCKS => {
            report.no(format!("the engine's clock differs by {difference} seconds; set the clocks of all machines by NTP"));
        }
        Ok(difference) => report.yes(format!("the clocks differ by {difference} seconds")),
        Err(error) => report.note(format!("the engine does not tell its time: {error}")),
    }
}

/// Looks at the information of each node.
fn info(nodes: &[String], report: &mut Report) {
    for node in nodes {
        let field = |name: &str| {
            node.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
        };
        match (field("valkey_version"), field("redis_version")) {
            (Some(version), _) => report.yes(format!("Valkey {version}")),
            (None, Some(version))
                if version
                    .split('.')
                    .next()
                    .and_then(|it| it.parse().ok())
                    .is_some_and(|it: u32| it >= 7) =>
            {
                report.yes(format!("Redis {version}"));
            }
            (None, Some(version)) => {
                report.no(format!("Redis {version} is too old: 7.0 or Valkey 8 is needed"))
            }
            (None, None) => report.note("the engine does not tell its version"),
        }
        match (field("maxmemory"), field("maxmemory_policy")) {
            (Some("0"), _) => {
                report.note("maxmemory is not set; the engine may use up the memory of its machine");
            }
            (_, Some("volatile-ttl")) => report.yes("maxmemory-policy is volatile-ttl"),
            (_, Some(policy)) => report.note(format!(
                "maxmemory-policy is {policy}; with volatile-ttl a full engine evicts the sessions that expire first"
            )),
            (_, None) => report.note("the engine does not tell its maxmemory-policy"),
        }
    }
}

/// The texts in an answer, one from each node.
fn texts(answer: &Value) -> Vec<String> {
    match answer {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::VerbatimString { text, .. } => vec![text.clone()],
        Value::Map(nodes) => nodes.iter().flat_map(|(_, answer)| texts(answer)).collect(),
        _ => Vec::new(),
    }
}

/// The difference between the engine's clock and ours, in seconds.
fn clock(engine: &mut Engine) -> Result<u64, Error> {
    let answer = engine.query(&["TIME"])?;
    let answer = match &answer {
        Value::Map(nodes) => nodes.first().map_or(&Value::Nil, |(_, answer)| answer),
        answer => answer,
    };
    let Value::Array(parts) = answer else { return Err(Error::answer("no time")) };
    let seconds = parts.first().map(texts).unwrap_or_default();
    let seconds: u64 =
        seconds.first().and_then(|it| it.parse().ok()).ok_or_else(|| Error::answer("no time"))?;
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(ours.abs_diff(seconds))
}
