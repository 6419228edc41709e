//! The format, and the documentation.

use super::*;
use crate::figures::sharing as shared;
use crate::figures::tests::figures;
use sslsweep_share_table::{Event, Kind as Shared};
use std::collections::{HashMap, HashSet};

/// Checks as `promtool check metrics` does: each name has HELP and TYPE, before and together with its samples;
/// counters end in _total and nothing else does; no sample is there twice; histograms have all their parts.
fn check_format(text: &str) {
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
            let base = match kinds.get(current) {
                Some(&"histogram") => ["_bucket", "_count", "_sum"]
                    .into_iter()
                    .find_map(|end| name.strip_suffix(end))
                    .expect("a part of a histogram"),
                _ => name,
            };
            assert_eq!(base, current);
            assert!(seen.insert(series), "{series} twice");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    assert_eq!(kinds.len(), 8 + METRICS.len() + HISTOGRAMS.len() + Shared::ALL.len());
}

fn check_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|there| there == *line), "{line}\n{text}");
    }
}

fn busy() -> Figures {
    figures(&[
        (2, &[(0, 1), (Word::Stores as usize, 5), (Word::LastTook as usize, 1_500_000)]),
        (
            3,
            &[
                (0, 2),
                (Word::Stores as usize, 2),
                (Word::FlushTimes as usize, 1),
                (Word::FlushTimes as usize + 23, u64::MAX),
                (Word::FlushTimeSum as usize, 2_000_000_000),
                (Word::Limit as usize, 7),
            ],
        ),
    ])
}

#[test]
fn prometheus_by_context() {
    let text = prometheus(&[busy()], true);
    check_format(&text);
    check_lines(
        &text,
        &[
            "sslsweep_stores_total{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"1\"} 5",
            "sslsweep_sessions_limit{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"2\"} 7",
            "sslsweep_last_flush_duration_seconds{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"1\"} 0.0015",
            "sslsweep_flush_duration_seconds_bucket{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"2\",le=\"0.000001\"} 1",
            "sslsweep_flush_duration_seconds_bucket{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"2\",le=\"4.194304\"} 1",
            "sslsweep_flush_duration_seconds_sum{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"2\"} 2",
            "sslsweep_flush_duration_seconds_count{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"2\"} 18446744073709551615",
            "sslsweep_expiring_sessions{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"1\",from=\"-Inf\",below=\"0\"} 0",
            "sslsweep_expiring_sessions{pid=\"4711\",uid=\"0\",program=\"nginx\",context=\"1\",from=\"+Inf\",below=\"never\"} 0",
        ],
    );
}

#[test]
fn prometheus_by_process() {
    let mut other = busy();
    (other.pid, other.version) = (4712, sslsweep_figures::version(1, 2, 3));
    let text = prometheus(&[busy(), other], false);
    check_format(&text);
    assert!(!text.contains("context=\""), "{text}");
    check_lines(
        &text,
        &[
            concat!("sslsweep_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "sslsweep_library_info{pid=\"4712\",uid=\"0\",program=\"nginx\",version=\"1.2.3\"} 1",
            "sslsweep_contexts{pid=\"4711\",uid=\"0\",program=\"nginx\",state=\"in_force\"} 2",
            "sslsweep_contexts{pid=\"4711\",uid=\"0\",program=\"nginx\",state=\"no_stores\"} 0",
            "sslsweep_stores_total{pid=\"4711\",uid=\"0\",program=\"nginx\"} 7",
            "sslsweep_stores_total{pid=\"4712\",uid=\"0\",program=\"nginx\"} 7",
            // One of its contexts has no limit.
            "sslsweep_sessions_limit{pid=\"4711\",uid=\"0\",program=\"nginx\"} 0",
            "sslsweep_flush_duration_seconds_sum{pid=\"4711\",uid=\"0\",program=\"nginx\"} 2",
        ],
    );
}

#[test]
fn s9_sharing_by_reason() {
    let mut sharing = busy();
    sharing.sharing = shared(&[(Event::Published, 7), (Event::RefusedTrust, 2)]);
    let mut other = busy();
    (other.pid, other.sharing) = (4712, shared(&[(Event::RefusedTrust, 1)]));
    let mut not = busy();
    not.pid = 4713;
    let all = [sharing, other, not];
    for per_context in [false, true] {
        let text = prometheus(&all, per_context);
        check_format(&text);
        check_lines(
            &text,
            &[
                "sslsweep_sharing_published_total{pid=\"4711\",uid=\"0\",program=\"nginx\"} 7",
                "sslsweep_sharing_refused_total{pid=\"4711\",uid=\"0\",program=\"nginx\",reason=\"trust\"} 2",
                "sslsweep_sharing_refused_total{pid=\"4711\",uid=\"0\",program=\"nginx\",reason=\"ems\"} 0",
            ],
        );
        let sharing = text.lines().filter(|line| line.starts_with("sslsweep_sharing_"));
        let pids: Vec<_> = sharing.map(|line| line.contains("pid=\"4713\"")).collect();
        assert_eq!(pids, vec![false; 2 * Event::ALL.len()], "nothing of one that shares nothing");
    }
    let value = json(&all);
    let of = |it: &Value, name: &str| it[format!("sharing_{name}")].clone();
    assert_eq!(of(&value["processes"][0], "published"), 7);
    assert_eq!(of(&value["processes"][0], "refused")["trust"], 2);
    assert_eq!(of(&value["processes"][2], "published"), 0);
    assert_eq!(of(&value["programs"][0], "refused")["trust"], 3);
    for kind in Shared::ALL {
        let reasons = of(&value["processes"][0], kind.name()).as_object().map(Map::len);
        let wanted = Some(kind.events().count()).filter(|&events| events > 1);
        assert_eq!(reasons, wanted, "{kind:?}");
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
    assert_eq!((&context["hit_ratio"], &context["state"]), (&json!(1.0), &json!("unknown")));
    let program = &value["programs"][0];
    assert_eq!((&program["program"], &program["processes"]), (&json!("nginx"), &json!(1)));
    assert_eq!(program["total"]["hits"], u64::MAX);
}

/// docs/metrics.md is this table (`make pictures` writes it).
#[test]
fn documentation() {
    let mut text = String::from(
        "# Metrics\n\n`sslsweep stat --prometheus` prints these figures, for processes that run with `SSLSWEEP_STATS=1`; \
         `sslsweep stat --json`\nhas the same under the same names, without `sslsweep_` and `_total`. \
         `make pictures` writes this file from the\ncommand's own table.\n\nEvery sample but that of \
         `sslsweep_build_info` has the labels `pid`, `uid` (the user whose file it is) and `program`\n(the name that the \
         process gives itself). Each process has one sample, the total of its contexts. With `--per-context` there is\n\
         a sample for each context instead, which adds up to the same, with the label `context`: the number of the context, \
         counted\nfrom 1 in its process; `others`, the contexts for which there was no room, together; or `ended`, the \
         contexts that have ended,\ntogether. The figures of contexts by state, of contexts begun, ended and left to libssl, \
         of sharing and of the library stay those of processes. A process has samples of sharing once anything was counted.\n\n\
         A Grafana dashboard and rules for alerts are in [packaging/grafana](../packaging/grafana); `make install` puts \
         them into\n`/usr/local/share/sslsweep/grafana`.\n\n| metric | type | meaning |\n|---|---|---|\n",
    );
    let printed = prometheus(&[], false);
    let lines: Vec<&str> = printed.lines().filter(|line| line.starts_with("# ")).collect();
    for pair in lines.chunks(2) {
        let (name, help) = pair[0]["# HELP ".len()..].split_once(' ').expect("name and help");
        let kind = pair[1].rsplit(' ').next().expect("a kind");
        let _ = writeln!(text, "| `{name}` | {kind} | {help} |");
    }
    let _ = write!(
        text,
        "\nThe buckets of the histograms end at {} to {} seconds, each twice the one before.\n",
        bound(0),
        bound(STEPS - 2)
    );
    crate::documents::check("docs/metrics.md", &text);
}
