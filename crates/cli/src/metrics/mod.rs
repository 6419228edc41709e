//! The figures for scripts: JSON, and the text format of Prometheus. Both come from one table, with the same names and
//! units, and so does docs/metrics.md.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::figures::{self, Block, Figures, Limit, Place, Program, Verdict};
use sslsweep_figures::{HORIZONS, STEPS, Word};

mod sharing;

/// The kind of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It only rises.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Nanoseconds in the file, seconds here.
    Nanoseconds,
}

struct Metric {
    word: Word,
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

macro_rules! metrics {
    ($($word:ident $kind:ident $name:literal $help:literal;)*) => {
        &[$(Metric { word: Word::$word, name: $name, kind: Kind::$kind, help: $help }),*]
    };
}

const METRICS: &[Metric] = metrics! {
    Sessions Gauge "sessions" "Sessions stored now.";
    Limit Gauge "sessions_limit"
        "The most sessions that are stored; 0 for any number. Missing where it is not known.";
    Stores Counter "stores" "Sessions stored.";
    Hits Counter "hits" "Lookups that found a session.";
    Misses Counter "misses" "Lookups that found none.";
    ExternalHits Counter "external_hits" "Sessions that the program's get callback provided.";
    ExternalMisses Counter "external_misses"
        "Lookups that the program's own cache could not answer either; they are among the misses.";
    Evictions Counter "evictions" "Sessions evicted to make room.";
    Flushed Counter "flushed" "Sessions that flushes removed.";
    Removals Counter "removals" "Sessions removed one by one.";
    LeftAtEnd Counter "left_at_end" "Sessions that were still stored when their context ended.";
    Flushes Counter "flushes" "Flushes that removed something.";
    LongestBatch Nanoseconds "longest_batch_seconds"
        "Duration of the longest batch, the longest time that a flush held a lock.";
    LastFlush Gauge "last_flush_timestamp_seconds"
        "When the last flush ended, in seconds since the epoch; 0 if there was none.";
    LastRemoved Gauge "last_flush_sessions" "Sessions that the last flush removed.";
    LastTook Nanoseconds "last_flush_duration_seconds" "Duration of the last flush.";
    Accepted Counter "accepted_handshakes" "Handshakes that were finished as a server.";
    Connected Counter "connected_handshakes" "Handshakes that were finished as a client.";
    Resumed Counter "resumed_handshakes" "Handshakes that resumed a session, from a cache or by a ticket.";
};

struct Histogram {
    first: Word,
    sum: Word,
    name: &'static str,
    help: &'static str,
}

const HISTOGRAMS: [Histogram; 2] = [
    Histogram {
        first: Word::FlushTimes,
        sum: Word::FlushTimeSum,
        name: "flush_duration_seconds",
        help: "Durations of flushes that removed something.",
    },
    Histogram {
        first: Word::BatchTimes,
        sum: Word::BatchTimeSum,
        name: "batch_duration_seconds",
        help: "Durations of batches, the times that flushes held a lock.",
    },
];

const EXPIRING: (&str, &str) = (
    "expiring_sessions",
    "Sessions stored, by the seconds until they expire: at least FROM, and less than BELOW. As last looked through, \
     and moved on since. Of contexts that live and have figures of their own.",
);
const CURVE_MADE: (&str, &str) = (
    "expiring_timestamp_seconds",
    "When the sessions were last looked through, in seconds since the epoch.",
);
const CONTEXTS: (&str, &str) = (
    "contexts",
    "Contexts by the state of their cache: in_force, or why it is idle. Those that live and have figures of their own.",
);
const BUILD: (&str, &str) = ("build_info", "The version of this command; always 1.");
const LIBRARY: (&str, &str) =
    ("library_info", "The version of the library that a process has loaded; always 1.");
const BEGUN: (&str, &str) = ("contexts_begun", "Contexts that have begun.");
const ENDED: (&str, &str) = ("contexts_ended", "Contexts that have ended.");
const LEFT_SHARED: (&str, &str) = (
    "contexts_left_shared",
    "Contexts left to libssl because they lie in memory that processes share.",
);

/// The parts of the curve: each from one number of seconds to below another.
fn parts() -> impl Iterator<Item = (String, String)> {
    let bounds = HORIZONS.iter().map(|seconds| seconds.to_string());
    let from =
        std::iter::once("-Inf".to_string()).chain(bounds.clone()).chain(["+Inf".to_string()]);
    let below = bounds.chain(["+Inf".to_string(), "never".to_string()]);
    from.zip(below)
}

/// A step's upper bound in seconds; the last has none.
fn bound(step: usize) -> String {
    if step + 1 == STEPS { "+Inf".to_string() } else { seconds((1 << step) * 1000) }
}

/// Nanoseconds as seconds, to the last digit.
fn seconds(nanoseconds: u64) -> String {
    let text = format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// A state as a label.
fn state(verdict: Verdict) -> String {
    match verdict {
        Verdict::Unknown => "unknown".to_string(),
        verdict => verdict.word().replace(' ', "_"),
    }
}

/// A version in words, from [`sslsweep_figures::version`].
fn version(word: u64) -> Option<String> {
    let part = |place: u32| word >> (16 * place) & 0xffff;
    (word != 0).then(|| format!("{}.{}.{}", part(2), part(1), part(0)))
}

// ---- JSON ----

fn number(text: &str) -> Value {
    text.parse::<f64>()
        .ok()
        .and_then(serde_json::Number::from_f64)
        .map_or(Value::Null, Value::Number)
}

fn block_json(limit: Limit, has_curve: bool, block: &Block) -> Value {
    let mut object = Map::new();
    for metric in METRICS {
        let value = block.get(metric.word);
        let value = match (metric.kind, metric.word) {
            (Kind::Nanoseconds, _) => number(&seconds(value)),
            (_, Word::Limit) => match limit {
                Limit::Unknown => Value::Null,
                Limit::Any => 0.into(),
                Limit::Most(most) => most.into(),
            },
            _ => value.into(),
        };
        object.insert(metric.name.to_string(), value);
    }
    let part = |((from, below), &sessions): ((String, String), &u64)| {
        json!({ "from": number(&from), "below": number(&below),
            "never": below == "never", "sessions": sessions })
    };
    let curve = has_curve.then(|| parts().zip(block.curve()).map(part).collect::<Vec<_>>());
    object.insert(EXPIRING.0.to_string(), curve.into());
    let made = has_curve.then(|| block.get(Word::CurveMade));
    object.insert(CURVE_MADE.0.to_string(), made.into());
    for histogram in &HISTOGRAMS {
        let step = |(step, &count): (usize, &u64)| json!({ "below": number(&bound(step)), "count": count });
        let steps = block.times(histogram.first).iter().enumerate().map(step).collect();
        object.insert(histogram.name.to_string(), steps);
        let sum = number(&seconds(block.get(histogram.sum)));
        object.insert(format!("{}_sum", histogram.name), sum);
    }
    object.insert("hit_ratio".to_string(), block.hit_rate().into());
    Value::Object(object)
}

/// All figures as one JSON value.
pub fn json(processes: &[Figures]) -> Value {
    let context = |figures: &Figures, block: &Block| {
        let number = block.get(Word::Number);
        let mut value = block_json(figures.limit(Place::Context(number)), true, block);
        value["context"] = number.into();
        value["state"] = state(Verdict::of(block)).into();
        value
    };
    let process = |figures: &Figures| {
        let mut value = json!({
            "pid": figures.pid,
            "start": figures.start,
            "uid": figures.uid,
            "program": figures.program,
            "library_version": version(figures.version),
            "state": state(Verdict::of_process(figures)),
            BEGUN.0: figures.begun,
            ENDED.0: figures.ended,
            LEFT_SHARED.0: figures.left_shared,
            "contexts": figures.contexts.iter().map(|it| context(figures, it)).collect::<Vec<_>>(),
            "others": block_json(Limit::Unknown, false, &figures.others),
            "ended": block_json(Limit::Unknown, false, &figures.past),
            "total": block_json(figures.limit(Place::All), true, &figures.total()),
        });
        sharing::json(&mut value, &figures.sharing);
        value
    };
    let program = |program: &Program| {
        let mut value = json!({
            "program": program.name,
            "processes": program.processes.len(),
            "state": state(program.verdict()),
            "total": block_json(program.limit(), true, &program.total()),
        });
        sharing::json(&mut value, &program.sharing());
        value
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "processes": processes.iter().map(process).collect::<Vec<_>>(),
        "programs": figures::programs(processes).iter().map(program).collect::<Vec<_>>(),
    })
}

// ---- Prometheus ----

/// A value between the quotes of a label.
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The figures behind the samples of one set of labels.
struct Series {
    labels: String,
    block: Block,
    limit: Limit,
    /// It belongs to living contexts.
    has_curve: bool,
}

/// The sum of each process, or each context and the contexts without figures of their own: both add up to the same.
fn series(processes: &[Figures], per_context: bool) -> Vec<Series> {
    let mut all = Vec::new();
    for figures in processes {
        let labels = labels(figures);
        if !per_context {
            let (block, limit) = (figures.total(), figures.limit(Place::All));
            all.push(Series { labels, block, limit, has_curve: true });
            continue;
        }
        let mut add = |context: &str, block: &Block, limit: Limit, has_curve: bool| {
            let labels = format!("{labels},context=\"{context}\"");
            all.push(Series { labels, block: *block, limit, has_curve });
        };
        for block in &figures.contexts {
            let number = block.get(Word::Number);
            add(&number.to_string(), block, figures.limit(Place::Context(number)), true);
        }
        add("others", &figures.others, Limit::Unknown, false);
        add("ended", &figures.past, Limit::Unknown, false);
    }
    all
}

fn labels(figures: &Figures) -> String {
    format!(
        "pid=\"{}\",uid=\"{}\",program=\"{}\"",
        figures.pid,
        figures.uid,
        label(&figures.program)
    )
}

/// The text format, which wants all samples of a name together.
struct Text(String);

impl Text {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP sslsweep_{name} {help}\n# TYPE sslsweep_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "sslsweep_{name}{{{labels}}} {value}");
    }

    fn processes(&mut self, processes: &[Figures]) {
        self.begin(LIBRARY.0, "gauge", LIBRARY.1);
        for figures in processes {
            if let Some(version) = version(figures.version) {
                self.sample(LIBRARY.0, &format!("{},version=\"{version}\"", labels(figures)), 1);
            }
        }
        self.begin(CONTEXTS.0, "gauge", CONTEXTS.1);
        for figures in processes {
            for verdict in Verdict::ALL {
                let alike = figures.contexts.iter().filter(|it| Verdict::of(it) == verdict);
                let labels = format!("{},state=\"{}\"", labels(figures), state(verdict));
                self.sample(CONTEXTS.0, &labels, alike.count());
            }
        }
        for ((name, help), value) in [
            (BEGUN, (|figures: &Figures| figures.begun) as fn(&Figures) -> u64),
            (ENDED, |figures| figures.ended),
            (LEFT_SHARED, |figures| figures.left_shared),
        ] {
            let name = format!("{name}_total");
            self.begin(&name, "counter", help);
            for figures in processes {
                self.sample(&name, &labels(figures), value(figures));
            }
        }
    }

    fn metric(&mut self, metric: &Metric, all: &[Series]) {
        let (suffix, kind) =
            if metric.kind == Kind::Counter { ("_total", "counter") } else { ("", "gauge") };
        let name = format!("{}{suffix}", metric.name);
        self.begin(&name, kind, metric.help);
        for Series { labels, block, limit, .. } in all {
            let value = block.get(metric.word);
            match (metric.word, limit) {
                (Word::Limit, Limit::Unknown) => {}
                (Word::Limit, Limit::Any) => self.sample(&name, labels, 0),
                (Word::Limit, Limit::Most(most)) => self.sample(&name, labels, most),
                _ if metric.kind == Kind::Nanoseconds => self.sample(&name, labels, seconds(value)),
                _ => self.sample(&name, labels, value),
            }
        }
    }

    fn curve(&mut self, all: &[Series]) {
        self.begin(EXPIRING.0, "gauge", EXPIRING.1);
        for Series { labels, block, .. } in all.iter().filter(|series| series.has_curve) {
            for ((from, below), sessions) in parts().zip(block.curve()) {
                let labels = format!("{labels},from=\"{from}\",below=\"{below}\"");
                self.sample(EXPIRING.0, &labels, sessions);
            }
        }
        self.begin(CURVE_MADE.0, "gauge", CURVE_MADE.1);
        for Series { labels, block, .. } in all.iter().filter(|series| series.has_curve) {
            self.sample(CURVE_MADE.0, labels, block.get(Word::CurveMade));
        }
    }

    fn histogram(&mut self, histogram: &Histogram, all: &[Series]) {
        let name = histogram.name;
        self.begin(name, "histogram", histogram.help);
        for Series { labels, block, .. } in all {
            let mut count = 0_u64;
            for (step, &more) in block.times(histogram.first).iter().enumerate() {
                count = count.saturating_add(more);
                let labels = format!("{labels},le=\"{}\"", bound(step));
                self.sample(&format!("{name}_bucket"), &labels, count);
            }
            self.sample(&format!("{name}_sum"), labels, seconds(block.get(histogram.sum)));
            self.sample(&format!("{name}_count"), labels, count);
        }
    }
}

/// The figures for Prometheus, of each process or of each context.
pub fn prometheus(processes: &[Figures], per_context: bool) -> String {
    let mut text = Text(String::new());
    let all = series(processes, per_context);
    text.begin(BUILD.0, "gauge", BUILD.1);
    text.sample(BUILD.0, concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1);
    text.processes(processes);
    text.sharing(processes);
    METRICS.iter().for_each(|metric| text.metric(metric, &all));
    text.curve(&all);
    HISTOGRAMS.iter().for_each(|histogram| text.histogram(histogram, &all));
    text.0
}

#[cfg(test)]
mod tests;
