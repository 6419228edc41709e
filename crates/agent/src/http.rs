//! Figures and health by HTTP, for this machine alone.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sslsweep_segment::{AgentState, Counts, Segment, Tally};
use tiny_http::{Header, Method, Request, Response, Server};

use crate::log::{Link, Links};

/// How soon the end of the agent is noticed.
const LOOK: Duration = Duration::from_millis(100);

/// Listens at an address.
///
/// # Errors
///
/// A line for the log.
pub fn listen(address: SocketAddr) -> Result<Server, String> {
    Server::http(address).map_err(|error| format!("cannot listen at {address}: {error}"))
}

/// Answers until `stop` is set. `look` returns the present segment.
pub fn serve(
    server: &Server,
    links: &Links,
    segment: &Segment,
    over: &dyn Fn() -> bool,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) && !over() {
        if let Ok(Some(request)) = server.recv_timeout(LOOK) {
            answer(request, links, segment);
        }
    }
}

fn answer(request: Request, links: &Links, segment: &Segment) {
    let (status, text) = match (request.method(), request.url()) {
        (Method::Get | Method::Head, "/metrics") => {
            (200, metrics(&segment.agent(), &segment.counts(), links))
        }
        (Method::Get | Method::Head, "/healthz") => health(links),
        _ => (404, "/metrics or /healthz\n".into()),
    };
    let mut response = Response::from_string(text).with_status_code(status);
    if let Ok(header) =
        Header::from_bytes("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
    {
        response.add_header(header);
    }
    // Whoever has asked may be gone.
    let _ = request.respond(response);
}

fn health(links: &Links) -> (u16, String) {
    let down: Vec<&str> =
        Link::ALL.into_iter().filter(|link| !links.is_up(*link)).map(Link::name).collect();
    if down.is_empty() {
        (200, "ok\n".into())
    } else {
        (503, format!("no connection for {}\n", down.join(", ")))
    }
}

/// The name of an event's metric, and what it counts.
pub fn about(tally: Tally) -> (&'static str, &'static str) {
    match tally {
        Tally::Published => ("published", "Records sent to the engine."),
        Tally::Withheld => {
            ("withheld", "Records that stay on this machine, because they may be used once.")
        }
        Tally::Tombstoned => {
            ("tombstoned", "Records not sent, because another machine has removed them.")
        }
        Tally::Removed => ("removed", "Removals sent to the engine."),
        Tally::Applied => {
            ("applied", "Records removed here, because another machine has removed them.")
        }
        Tally::Fetched => ("fetched", "Records fetched from the engine."),
        Tally::Absent => ("absent", "Questions for records that the engine did not have."),
        Tally::Unfit => ("unfit", "Answers of the engine that were of no use."),
        Tally::Failed => ("failed", "Operations on the engine that failed."),
        Tally::Gap => ("gaps", "Gaps in the stream of removals."),
        Tally::Reconnected => ("reconnected", "Connections to the engine made anew."),
        Tally::Revoked => ("revoked", "Times that the fleet has raised the epoch."),
    }
}

/// The figures as Prometheus reads them.
pub fn metrics(agent: &AgentState, counts: &Counts, links: &Links) -> String {
    let mut text = String::new();
    let mut one = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        let _ = writeln!(
            text,
            "# HELP sslsweep_shared_{name} {help}\n# TYPE sslsweep_shared_{name} {kind}"
        );
        for (labels, value) in samples {
            let _ = writeln!(text, "sslsweep_shared_{name}{labels} {value}");
        }
    };
    let connected = Link::ALL
        .map(|link| (format!("{{link=\"{}\"}}", link.name()), u64::from(links.is_up(link))));
    one("up", "gauge", "Whether a connection to the engine works.", &connected);
    let alone = |value| [(String::new(), value)];
    one(
        "breaker_open",
        "gauge",
        "Whether servers have stopped waiting for the agent.",
        &alone(agent.breaker_open.into()),
    );
    one(
        "stream_seconds",
        "gauge",
        "The time of the last removal that was read.",
        &alone(agent.stream.ms / 1000),
    );
    for tally in Tally::ALL {
        let (name, help) = about(tally);
        one(&format!("{name}_total"), "counter", help, &alone(agent.count(tally)));
    }
    one(
        "segment_puts_total",
        "counter",
        "Records that servers have put into the segment.",
        &alone(counts.puts),
    );
    one(
        "segment_hits_total",
        "counter",
        "Lookups that found a record in the segment.",
        &alone(counts.hits),
    );
    one("segment_misses_total", "counter", "Lookups that found none.", &alone(counts.misses));
    one(
        "segment_evictions_total",
        "counter",
        "Unexpired records that left for others.",
        &alone(counts.evictions),
    );
    one(
        "segment_marks_total",
        "counter",
        "Removals for which the segment had no room.",
        &alone(counts.marked),
    );
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Words that begin so, without the beginning.
    fn words<'a>(text: &'a str, beginning: &str) -> BTreeSet<&'a str> {
        text.match_indices(beginning)
            .map(|(at, _)| {
                let rest = &text[at + beginning.len()..];
                let end = rest.find(|it: char| !it.is_ascii_lowercase() && it != '_');
                &rest[..end.unwrap_or(rest.len())]
            })
            .collect()
    }

    #[test]
    fn s9_dashboard_alerts_and_documents_use_metrics_that_exist() {
        let path = std::env::temp_dir().join(format!("sslsweep.metrics.{}", std::process::id()));
        let segment = Segment::host(&path, 1 << 16).unwrap();
        std::fs::remove_file(&path).unwrap();
        let links = Links::default();
        let text = metrics(&segment.agent(), &segment.counts(), &links);
        let known = words(&text, "# TYPE sslsweep_shared_");
        assert!(known.len() >= 15, "{known:?}");
        for used in [
            include_str!("../../../packaging/grafana/sslsweep.json"),
            include_str!("../../../packaging/grafana/sslsweep-alerts.yml"),
        ] {
            let used = words(used, "sslsweep_shared_");
            assert!(used.len() >= 4, "{used:?}");
            assert!(used.is_subset(&known), "{:?}", used.difference(&known));
        }
    }
}
