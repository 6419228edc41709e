//! The figures for scripts: JSON, and the text format of Prometheus. Both are made from one table, with the same
//! names and units; so is docs/metrics.md.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::figures::{Block, Figures, Limit, Place};
use sslsweep_figures::{HORIZONS, STEPS, Word};

/// What a figure is.
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

const fn metric(word: Word, kind: Kind, name: &'static str, help: &'static str) -> Metric {
    Metric { word, name, kind, help }
}

const METRICS: [Metric; 15] = [
    metric(Word::Sessions, Kind::Gauge, "sessions", "Sessions stored now."),
    metric(
        Word::Limit,
        Kind::Gauge,
        "sessions_limit",
        "The most sessions that are stored; 0 for any number. Of single contexts only.",
    ),
    metric(Word::Stores, Kind::Counter, "stores", "Sessions stored."),
    metric(Word::Hits, Kind::Counter, "hits", "Lookups that found a session."),
    metric(Word::Misses, Kind::Counter, "misses", "Lookups that found none."),
    metric(
        Word::ExternalHits,
        Kind::Counter,
        "external_hits",
        "Sessions that the program's get callback provided.",
    ),
    metric(
        Word::ExternalMisses,
        Kind::Counter,
        "external_misses",
        "Lookups that the program's own cache could not answer either; they are among the misses.",
    ),
    metric(Word::Evictions, Kind::Counter, "evictions", "Sessions that left for lack of room."),
    metric(Word::Flushed, Kind::Counter, "flushed", "Sessions that flushes removed."),
    metric(Word::Removals, Kind::Counter, "removals", "Sessions removed one by one."),
    metric(Word::Flushes, Kind::Counter, "flushes", "Flushes that removed something."),
    metric(
        Word::LongestBatch,
        Kind::Nanoseconds,
        "longest_batch_seconds",
        "Duration of the longest batch, the longest time that a flush held a lock.",
    ),
    metric(
        Word::LastFlush,
        Kind::Gauge,
        "last_flush_timestamp_seconds",
        "When the last flush ended, in seconds since the epoch; 0 if there was none.",
    ),
    metric(
        Word::LastRemoved,
        Kind::Gauge,
        "last_flush_sessions",
        "Sessions that the last flush removed.",
    ),
    metric(
        Word::LastTook,
        Kind::Nanoseconds,
        "last_flush_duration_seconds",
        "Duration of the last flush.",
    ),
];

/// The histograms: first word, name, help.
const HISTOGRAMS: [(Word, &str, &str); 2] = [
    (Word::FlushTimes, "flush_duration_seconds", "Durations of flushes that removed something."),
    (
        Word::BatchTimes,
        "batch_duration_seconds",
        "Durations of batches, the times that flushes held a lock.",
    ),
];

const EXPIRING: (&str, &str) = (
    "expiring_sessions",
    "Sessions stored, by the seconds until they expire: at least FROM, and less than BELOW. As last looked through, \
     and moved on since. Of single contexts only.",
);
const CURVE_MADE: (&str, &str) = (
    "expiring_timestamp_seconds",
    "When the sessions were last looked through, in seconds since the epoch.",
);
const BEGUN: (&str, &str) = ("contexts_begun", "Contexts that have begun.");
const ENDED: (&str, &str) = ("contexts_ended", "Contexts that have ended.");
const LEFT_SHARED: (&str, &str) = (
    "contexts_left_shared",
    "Contexts left to libssl because they lie in memory that processes share.",
);

/// The parts of the curve: each from the one number of seconds to below the other.
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

/// Each block with its name: a context's number, or what others are together.
fn blocks(figures: &Figures) -> impl Iterator<Item = (String, &Block)> {
    contexts(figures)
        .chain([("others".to_string(), &figures.others), ("ended".to_string(), &figures.past)])
}

/// Those of single contexts: the others have no limit and no curve.
fn contexts(figures: &Figures) -> impl Iterator<Item = (String, &Block)> {
    figures.contexts.iter().map(|block| (block.get(Word::Number).to_string(), block))
}

// ---- JSON ----

fn number(text: &str) -> Value {
    text.parse::<f64>()
        .ok()
        .and_then(serde_json::Number::from_f64)
        .map_or(Value::Null, Value::Number)
}

fn block_json(figures: &Figures, place: Place, block: &Block) -> Value {
    let has_curve = !matches!(place, Place::Others | Place::Ended);
    let mut object = Map::new();
    for metric in &METRICS {
        let value = block.get(metric.word);
        let value = match (metric.kind, metric.word) {
            (Kind::Nanoseconds, _) => number(&seconds(value)),
            (_, Word::Limit) => match figures.limit(place) {
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
    for (first, name, _) in HISTOGRAMS {
        let step = |(step, &count): (usize, &u64)| json!({ "below": number(&bound(step)), "count": count });
        object.insert(name.to_string(), block.times(first).iter().enumerate().map(step).collect());
    }
    Value::Object(object)
}

/// All of it as one JSON value.
pub fn json(processes: &[Figures]) -> Value {
    let process = |figures: &Figures| {
        let contexts: Vec<Value> = figures
            .contexts
            .iter()
            .map(|block| {
                let number = block.get(Word::Number);
                let mut value = block_json(figures, Place::Context(number), block);
                value["context"] = number.into();
                value
            })
            .collect();
        json!({
            "pid": figures.pid,
            "start": figures.start,
            "uid": figures.uid,
            "program": figures.program,
            BEGUN.0: figures.begun,
            ENDED.0: figures.ended,
            LEFT_SHARED.0: figures.left_shared,
            "contexts": contexts,
            "others": block_json(figures, Place::Others, &figures.others),
            "ended": block_json(figures, Place::Ended, &figures.past),
            "total": block_json(figures, Place::All, &figures.total()),
        })
    };
    json!({ "processes": processes.iter().map(process).collect::<Vec<_>>() })
}

// ---- Prometheus ----

/// A value between the quotes of a label.
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The text format: all samples of a name stand together, as it demands.
pub fn prometheus(processes: &[Figures]) -> String {
    let mut text = String::new();
    let begin = |text: &mut String, name: &str, kind: &str, help: &str| {
        let _ = writeln!(text, "# HELP sslsweep_{name} {help}\n# TYPE sslsweep_{name} {kind}");
    };
    let process = |figures: &Figures| {
        format!(
            "pid=\"{}\",uid=\"{}\",program=\"{}\"",
            figures.pid,
            figures.uid,
            label(&figures.program)
        )
    };

    for ((name, help), value) in [
        (BEGUN, (|figures: &Figures| figures.begun) as fn(&Figures) -> u64),
        (ENDED, |figures| figures.ended),
        (LEFT_SHARED, |figures| figures.left_shared),
    ] {
        begin(&mut text, &format!("{name}_total"), "counter", help);
        for figures in processes {
            let _ =
                writeln!(text, "sslsweep_{name}_total{{{}}} {}", process(figures), value(figures));
        }
    }
    type Sample<'a> = &'a dyn Fn(&mut String, &str, &Block);
    let one = |text: &mut String,
               figures: &Figures,
               (context, block): (String, &Block),
               sample: Sample| {
        sample(text, &format!("{},context=\"{context}\"", process(figures)), block);
    };
    let each = |text: &mut String, sample: Sample| {
        for figures in processes {
            blocks(figures).for_each(|block| one(text, figures, block, sample));
        }
    };
    let each_context = |text: &mut String, sample: Sample| {
        for figures in processes {
            contexts(figures).for_each(|block| one(text, figures, block, sample));
        }
    };
    for metric in &METRICS {
        let (suffix, kind) =
            if metric.kind == Kind::Counter { ("_total", "counter") } else { ("", "gauge") };
        let name = format!("{}{suffix}", metric.name);
        begin(&mut text, &name, kind, metric.help);
        let sample: Sample = &|text, labels, block| {
            let value = block.get(metric.word);
            let value =
                if metric.kind == Kind::Nanoseconds { seconds(value) } else { value.to_string() };
            let _ = writeln!(text, "sslsweep_{name}{{{labels}}} {value}");
        };
        match metric.word {
            Word::Limit => each_context(&mut text, sample),
            _ => each(&mut text, sample),
        }
    }
    begin(&mut text, EXPIRING.0, "gauge", EXPIRING.1);
    each_context(&mut text, &|text, labels, block| {
        for ((from, below), sessions) in parts().zip(block.curve()) {
            let _ = writeln!(
                text,
                "sslsweep_{}{{{labels},from=\"{from}\",below=\"{below}\"}} {sessions}",
                EXPIRING.0
            );
        }
    });
    begin(&mut text, CURVE_MADE.0, "gauge", CURVE_MADE.1);
    each_context(&mut text, &|text, labels, block| {
        let _ =
            writeln!(text, "sslsweep_{}{{{labels}}} {}", CURVE_MADE.0, block.get(Word::CurveMade));
    });
    for (first, name, help) in HISTOGRAMS {
        begin(&mut text, name, "histogram", help);
        each(&mut text, &|text, labels, block| {
            let mut count = 0_u64;
            for (step, &more) in block.times(first).iter().enumerate() {
                count = count.saturating_add(more);
                let _ = writeln!(
                    text,
                    "sslsweep_{name}_bucket{{{labels},le=\"{}\"}} {count}",
                    bound(step)
                );
            }
            // No sum: the library does not keep one.
            let _ = writeln!(text, "sslsweep_{name}_count{{{labels}}} {count}");
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::figures;
    use std::collections::{HashMap, HashSet};

    /// What `promtool check metrics` looks at: each name has HELP and TYPE, before and together with its samples;
    /// counters end in _total and nothing else does; no sample is there twice; histograms rise to their count.
    #[test]
    fn prometheus_format() {
        let busy = figures(&[
            (2, &[(0, 1), (Word::Stores as usize, 5), (Word::LastTook as usize, 1_500_000)]),
            (
                3,
                &[
                    (0, 2),
                    (Word::FlushTimes as usize, 1),
                    (Word::FlushTimes as usize + 23, u64::MAX),
                ],
            ),
        ]);
        let text = prometheus(&[busy]);
        let mut kinds = HashMap::new();
        let mut current = "";
        let mut seen = HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("name and kind");
                assert!(kinds.insert(name, kind).is_none(), "{name} twice");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
                current = name;
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').expect("a sample");
                let name = series.split('{').next().expect("a name");
                let base =
                    name.strip_suffix("_bucket").or(name.strip_suffix("_count")).unwrap_or(name);
                assert_eq!(base, current);
                assert!(seen.insert(series), "{series} twice");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        assert_eq!(kinds.len(), 3 + METRICS.len() + 2 + HISTOGRAMS.len());
        for line in [
            "sslsweep_stores_total{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"1\"} 5",
            "sslsweep_last_flush_duration_seconds{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"1\"} 0.0015",
            "sslsweep_flush_duration_seconds_bucket{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"2\",le=\"0.000001\"} 1",
            "sslsweep_flush_duration_seconds_bucket{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"2\",le=\"4.194304\"} 1",
            "sslsweep_flush_duration_seconds_count{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"2\"} 18446744073709551615",
            "sslsweep_expiring_sessions{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"1\",from=\"-Inf\",below=\"0\"} 0",
            "sslsweep_expiring_sessions{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"1\",from=\"+Inf\",below=\"never\"} 0",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
    }

    #[test]
    fn labels_end_where_they_should() {
        assert_eq!(label("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    #[test]
    fn json_has_every_figure() {
        let value = json(&[figures(&[(
            2,
            &[(0, 3), (Word::Hits as usize, u64::MAX), (Word::LastTook as usize, 20)],
        )])]);
        let context = &value["processes"][0]["contexts"][0];
        assert_eq!(context["context"], 3);
        assert_eq!(context["hits"], u64::MAX);
        assert_eq!(context["last_flush_duration_seconds"], 2e-8);
        assert_eq!(context[EXPIRING.0].as_array().map(Vec::len), Some(sslsweep_figures::CURVE));
        assert_eq!(context[EXPIRING.0][0]["below"], 0.0);
    }

    /// docs/metrics.md is this table (`make pictures` writes it).
    #[test]
    fn documentation() {
        let mut text = String::from(
            "# Metrics\n\nWhat `sslsweep stat --prometheus` prints, for processes that run with `SSLSWEEP_STATS=1`; \
             `sslsweep stat --json`\nhas the same under the same names, without `sslsweep_` and `_total`. \
             `make pictures` writes this file from the\ncommand's own table.\n\nEvery sample has the labels `pid`, \
             `uid` (the user whose file it is) and `program`\n(the name that the process gives itself), and all but the \
             first three `context`: the number of the context, counted\nfrom 1 in its process; `others`, those for which \
             there was no room, together; or `ended`, those that have ended,\ntogether.\n\n| metric | type | meaning |\n|---|---|---|\n",
        );
        let printed = prometheus(&[]);
        let lines: Vec<&str> = printed.lines().collect();
        for pair in lines.chunks(2) {
            let (name, help) = pair[0]["# HELP ".len()..].split_once(' ').expect("name and help");
            let kind = pair[1].rsplit(' ').next().expect("a kind");
            let _ = writeln!(text, "| `{name}` | {kind} | {help} |");
        }
        let _ = write!(
            text,
            "\nThe buckets of the histograms end at {} to {} seconds, each twice the one before. They have no `_sum`.\n",
            bound(0),
            bound(STEPS - 2)
        );
        crate::documents::check("docs/metrics.md", &text);
    }
}
