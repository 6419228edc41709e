//! `sslsweep shared check`: whether an engine can be used, and what is wrong with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::Value;

use crate::engine::{CLOCKS, Engine, Error, Removals, Settings};

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

    fn can<T>(&mut self, what: &str, done: &str, result: Result<T, Error>) {
        match result {
            Ok(_) => self.yes(format!("{what} can {done}")),
            Err(error) => self.no(format!("{what} cannot {done}: {error}")),
        }
    }

    fn version(&mut self, engine: &str, version: &str, least: u32) {
        let major = version.split('.').next().and_then(|it| it.parse::<u32>().ok());
        if major.is_some_and(|it| it >= least) {
            self.yes(format!("{engine} {version}"));
        } else {
            self.no(format!("{engine} {version} is too old: Redis 7 or Valkey 8 is needed"));
        }
    }

    fn no(&mut self, what: impl AsRef<str>) {
        self.usable = false;
        self.lines.push(format!("no   {}", what.as_ref()));
    }
}

/// Connects, tries what an agent does, and looks at version, memory and clock.
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
    let read = Removals::connect(settings, Duration::from_millis(1)).and_then(|mut removals| {
        let end = removals.end()?;
        removals.read(end, false)
    });
    report.can("the stream of removals", "be read", read);
    let fetched = engine.epoch().and_then(|_| engine.fetch(&[[0; 16]]));
    report.can("records", "be fetched", fetched);
    let [records, numbers, entries] = engine.try_writes();
    report.can("records", "be published", records);
    report.can("epochs", "be raised", numbers);
    report.can("removals", "be told", entries);
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
            (Some(version), _) => report.version("Valkey", version, 8),
            (None, Some(version)) => report.version("Redis", version, 7),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, wanted) in [
            ("redis_version:7.0.15\r\n", "yes  Redis 7.0.15"),
            ("redis_version:6.2.14\r\n", "no   Redis 6.2.14 is too old"),
            ("redis_version:7.2.4\r\nvalkey_version:8.1.0\r\n", "yes  Valkey 8.1.0"),
            ("redis_version:7.2.4\r\nvalkey_version:7.2.8\r\n", "no   Valkey 7.2.8 is too old"),
            ("redis_version:7.2.4\r\nvalkey_version:10.0.0\r\n", "yes  Valkey 10.0.0"),
            ("redis_version:unstable\r\n", "no   Redis unstable is too old"),
            ("", "note the engine does not tell its version"),
        ] {
            let mut report = Report { lines: Vec::new(), usable: true };
            info(&[text.to_owned()], &mut report);
            assert!(report.lines[0].starts_with(wanted), "{:?}", report.lines);
            assert_eq!(report.usable, !wanted.starts_with("no  "));
        }
    }
}
