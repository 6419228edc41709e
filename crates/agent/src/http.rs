//! Figures and health by HTTP, for this machine alone.
//!
//! The server is our own, because no small one that is at hand (such as `tiny_http`) bounds the length of a request's lines, its
//! threads and its writes: any user of the machine could make the agent hang, or use up its threads. This one has a single
//! connection at a time, with one request of bounded length and a deadline.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use sslsweep_segment::{AgentState, Counts, Segment, Tally};

use crate::log::{Link, Links, say};

/// How soon the end of the agent is noticed.
const LOOK: Duration = Duration::from_millis(100);
/// The longest time that a connection has for its request and the answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// The longest request that is read.
const REQUEST: usize = 4096;

/// A server of HTTP at an address. It listens once the address is free.
pub struct Server {
    address: SocketAddr,
    listener: Option<TcpListener>,
}

impl Server {
    /// Listens at an address. If somebody else does, such as the agent from which this one takes over, says so once.
    ///
    /// # Errors
    ///
    /// The address is of no use, whoever listens there. A line for the log.
    pub fn open(address: SocketAddr) -> Result<Self, String> {
        match listen(address) {
            Ok(listener) => Ok(Self { address, listener: Some(listener) }),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                say(format_args!(
                    "{address} is in use; there are no figures by HTTP until it is free"
                ));
                Ok(Self { address, listener: None })
            }
            Err(error) => Err(format!("cannot listen at {address}: {error}")),
        }
    }

    /// Answers until `is_over`.
    pub fn serve(mut self, links: &Links, segment: &Segment, is_over: &dyn Fn() -> bool) {
        while !is_over() {
            let accepted = match &self.listener {
                Some(listener) => listener.accept().ok(),
                None => {
                    self.listener = listen(self.address).ok();
                    None
                }
            };
            match accepted {
                // Whoever has asked may be gone.
                Some((stream, _)) => drop(exchange(&stream, links, segment, is_over)),
                None => thread::sleep(LOOK),
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Reads a request, and answers it.
fn exchange(
    mut stream: &TcpStream,
    links: &Links,
    segment: &Segment,
    is_over: &dyn Fn() -> bool,
) -> io::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    stream.set_read_timeout(Some(LOOK))?;
    stream.set_write_timeout(Some(LOOK))?;
    let mut room = [0; REQUEST];
    let mut length = 0;
    while length < room.len() && !has_ended(&room[..length]) {
        // Whoever says nothing at first keeps others waiting.
        let deadline = if length == 0 { Instant::now() + 2 * LOOK } else { deadline };
        match within(deadline, is_over, || stream.read(&mut room[length..]))? {
            0 => break,
            more => length += more,
        }
    }
    let answer = answer(&room[..length], links, segment);
    let mut rest = answer.as_bytes();
    while !rest.is_empty() {
        let written = within(deadline, is_over, || stream.write(rest))?;
        rest = &rest[written..];
    }
    Ok(())
}

/// Repeats a step that waits for the other side, until it succeeds. Each try has the time limit of the stream.
fn within(
    deadline: Instant,
    is_over: &dyn Fn() -> bool,
    mut step: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    while !is_over() && Instant::now() < deadline {
        match step() {
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            result => return result,
        }
    }
    Err(ErrorKind::TimedOut.into())
}

/// Returns whether the header has ended.
fn has_ended(request: &[u8]) -> bool {
    request.windows(4).any(|end| end == b"\r\n\r\n") || request.windows(2).any(|end| end == b"\n\n")
}

/// The answer to a request, or to as much of one as has come.
fn answer(request: &[u8], links: &Links, segment: &Segment) -> String {
    let text = String::from_utf8_lossy(request);
    let words: Vec<&str> = text.lines().next().unwrap_or_default().split(' ').collect();
    let (status, content) = match words[..] {
        [method, target, "HTTP/1.0" | "HTTP/1.1"] if has_ended(request) => {
            let path = target.split('?').next().unwrap_or_default();
            match (method, path) {
                ("GET" | "HEAD", "/metrics") => {
                    ("200 OK", metrics(&segment.agent(), &segment.counts(), links))
                }
                ("GET" | "HEAD", "/healthz") => health(&segment.agent(), links),
                (_, "/metrics" | "/healthz") => ("405 Method Not Allowed", "GET or HEAD\n".into()),
                _ => ("404 Not Found", "/metrics or /healthz\n".into()),
            }
        }
        _ => {
            ("400 Bad Request", format!("not a request by HTTP/1.1 of less than {REQUEST} bytes\n"))
        }
    };
    let body = if words[0] == "HEAD" { "" } else { &content };
    format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Allow: GET, HEAD\r\n\
         Connection: close\r\n\r\n\
         {body}",
        content.len()
    )
}

fn health(agent: &AgentState, links: &Links) -> (&'static str, String) {
    let down: Vec<&str> =
        Link::ALL.into_iter().filter(|link| !links.is_up(*link)).map(Link::name).collect();
    if !down.is_empty() {
        ("503 Service Unavailable", format!("no connection for {}\n", down.join(", ")))
    } else if !agent.upstream {
        let why = "servers are told not to ask: the removals of other machines are not all read\n";
        ("503 Service Unavailable", why.into())
    } else {
        ("200 OK", "ok\n".into())
    }
}

/// The name of an event's metric, and what it counts.
pub fn about(tally: Tally) -> (&'static str, &'static str) {
    match tally {
        Tally::Published => ("published", "Records sent to the engine."),
        Tally::Withheld => (
            "withheld",
            "Records that stay on this machine: they may be used once, or removals were missed.",
        ),
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
    one("upstream", "gauge", "Whether servers are told to ask.", &alone(agent.upstream.into()));
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
    use std::iter;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

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

    fn segment() -> Segment {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sslsweep.http.{}.{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let segment = Segment::host(&path, 1 << 16).unwrap();
        std::fs::remove_file(&path).unwrap();
        segment
    }

    /// Connects, with time limits for reading and writing.
    fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(60 * DEADLINE))?;
        stream.set_write_timeout(Some(60 * DEADLINE))?;
        Ok(stream)
    }

    /// Writes until the server closes the connection, or resets it.
    fn pour(address: SocketAddr, what: &[u8]) {
        let mut stream = connect(address).unwrap();
        let error = loop {
            if let Err(error) = stream.write_all(what) {
                break error.kind();
            }
        };
        assert!(matches!(error, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    }

    /// Returns the server's answer. The server drops a client that waits 200 ms for a processor; such a client asks again.
    fn ask(address: SocketAddr, request: &str) -> String {
        let exchange = || {
            let mut stream = connect(address)?;
            stream.write_all(request.as_bytes())?;
            io::read_to_string(stream)
        };
        let answers = iter::repeat_with(|| {
            thread::sleep(LOOK);
            exchange().unwrap_or_default()
        });
        answers.take(100).find(|answer| answer.starts_with("HTTP/")).expect("an answer")
    }

    #[test]
    fn s9_requests_and_their_answers() {
        let (segment, links) = (segment(), Links::default());
        let status = |request: &str| {
            let answer = answer(request.as_bytes(), &links, &segment);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("\r\nConnection: close"), "{head}");
            let length = head.split_once("Content-Length: ").unwrap().1.lines().next().unwrap();
            let is_head = request.starts_with("HEAD");
            assert_eq!(body.len(), if is_head { 0 } else { length.parse().unwrap() });
            head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse::<u16>().unwrap()
        };
        for (request, wanted) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET /metrics HTTP/1.0\r\n\r\n", 200),
            ("GET /metrics?a=b HTTP/1.1\n\n", 200),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", 200),
            ("HEAD /healthz HTTP/1.1\r\n\r\n", 503),
            ("POST /metrics HTTP/1.1\r\n\r\n", 405),
            ("GET / HTTP/1.1\r\n\r\n", 404),
            ("POST /else HTTP/1.1\r\n\r\n", 404),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n", 400),
            ("GET /metrics\r\n\r\n", 400),
            ("GET  /metrics HTTP/1.1\r\n\r\n", 400),
            ("GET /metrics HTTP/2.0\r\n\r\n", 400),
            ("\u{fffd}\0 \r\n\r\n", 400),
            ("", 400),
        ] {
            assert_eq!(status(request), wanted, "{request:?}");
        }
    }

    #[test]
    fn s9_health_needs_connections_and_that_servers_are_told_to_ask() {
        let path = std::env::temp_dir().join(format!("sslsweep.health.{}", std::process::id()));
        let agent = sslsweep_segment::Agent::attach(&path, 1 << 16, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        let links = Links::default();
        let health = || health(&agent.segment().agent(), &links);
        agent.set_upstream(true);
        assert!(health().0.starts_with("503") && health().1.starts_with("no connection for"));
        Link::ALL.into_iter().for_each(|link| links.up(link));
        assert_eq!(health(), ("200 OK", "ok\n".into()));
        agent.set_upstream(false);
        assert!(health().0.starts_with("503") && health().1.contains("told not to ask"));
    }

    #[test]
    fn s7_clients_that_do_not_behave_hold_up_nobody_for_long() {
        let (segment, links) = (segment(), Links::default());
        let server = Server::open(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = server.listener.as_ref().unwrap().local_addr().unwrap();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| server.serve(&links, &segment, &|| over.load(Ordering::Relaxed)));
            // A line without an end.
            pour(address, &[b'x'; 1024]);
            // One that says nothing.
            let mut idle = connect(address).unwrap();
            assert_eq!(idle.read(&mut [0; 10]).unwrap(), 0);
            // One that asks again and again, and reads nothing.
            pour(address, b"GET /metrics HTTP/1.1\r\n\r\n");
            let text = ask(address, "GET /metrics HTTP/1.1\r\n\r\n");
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
            assert!(text.contains("\nsslsweep_shared_upstream 0\n"), "{text}");
            // In the midst of an exchange.
            let _idle = connect(address).unwrap();
            over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn s9_an_address_in_use_is_waited_for() {
        let (segment, links) = (segment(), Links::default());
        let other = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = other.local_addr().unwrap();
        let server = Server::open(address).unwrap();
        assert!(server.listener.is_none());
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| server.serve(&links, &segment, &|| over.load(Ordering::Relaxed)));
            drop(other);
            let text = ask(address, "GET / HTTP/1.0\r\n\r\n");
            assert!(text.starts_with("HTTP/1.1 404"), "{text}");
            over.store(true, Ordering::Relaxed);
        });
        // Of the network for documentation, so no address of this machine.
        let error = Server::open(SocketAddr::from(([192, 0, 2, 1], 9419))).err().unwrap();
        assert!(error.starts_with("cannot listen at 192.0.2.1:9419: "), "{error}");
    }

    #[test]
    fn s9_dashboard_alerts_and_documents_use_metrics_that_exist() {
        let (segment, links) = (segment(), Links::default());
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
