//! `sslsweep shared`: the agent of a machine.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use sslsweep_agent::agent::{self, End};
use sslsweep_agent::arguments::{Arguments, Command, Run, words};
use sslsweep_agent::engine::Settings;
use sslsweep_agent::http::Server;
use sslsweep_agent::log::{Links, say};
use sslsweep_agent::{check, engine, status, system};
use sslsweep_segment::{Agent, Error};

/// The pause between two attempts to attach, and between two looks whether the agent ends that has to.
const AGAIN: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    engine::use_tls();
    let result = match Arguments::parse_from(words(std::env::args_os())).command {
        Command::Status { segment } => status::status(&segment).map(|(text, is_well)| {
            print(&text);
            is_well
        }),
        Command::Check(upstream) => {
            upstream.settings().map_err(|error| error.to_string()).map(|settings| {
                let report = check::check(&settings);
                print(&(report.lines.join("\n") + "\n"));
                report.usable
            })
        }
        Command::Run(run) => carry(run).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            say(what);
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output, whose reader may have gone away.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Runs the agent until a signal ends it.
fn carry(run: Run) -> Result<(), String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        let kept = signal_hook::flag::register(signal, Arc::clone(&stop));
        kept.map_err(|error| format!("signals cannot be handled: {error}"))?;
    }
    let group = run.group.as_deref().map(system::group).transpose()?;
    let settings = run.upstream.settings().map_err(|error| error.to_string())?;
    settings.check().map_err(|error| error.to_string())?;
    let links = Links::default();
    while let Some(agent) = attach(&run.segment, group, &stop)? {
        // Not before: the agent from which this one takes over listens at the same address.
        let server = run.listen.map(Server::open).transpose()?;
        system::notify("READY=1");
        let end = attended(server, &links, &agent, &stop, longest_end(&settings), || {
            agent::run(&agent, &settings, &links, &stop)
        });
        match end {
            End::Stopped => break,
            End::Removed => {
                say("the segment was removed from its path; a new one is looked for or made")
            }
        }
    }
    system::notify("STOPPING=1");
    Ok(())
}

/// Runs something. Meanwhile answers by HTTP, and ends the process if `run` does not end when it has to.
fn attended(
    server: Option<Server>,
    links: &Links,
    agent: &Agent,
    stop: &AtomicBool,
    longest_end: Duration,
    run: impl FnOnce() -> End,
) -> End {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let set_over = SetAtEnd(&over);
        let is_over = || over.load(Ordering::Relaxed);
        if let Some(server) = server {
            let is_over = move || is_over() || stop.load(Ordering::Relaxed);
            scope.spawn(move || server.serve(links, agent.segment(), &is_over));
        }
        scope.spawn(move || {
            let has_to_end = || stop.load(Ordering::Relaxed) || !agent.is_in_place();
            if hangs(AGAIN, longest_end, has_to_end, is_over) {
                // The lock of the segment ends with the process, and what was not sent is marked in the segment.
                agent.set_upstream(false);
                say(format_args!(
                    "a thread has not ended within {} seconds of when it had to, so the agent ends without it; \
                     the next agent goes on",
                    longest_end.as_secs()
                ));
                std::process::exit(1);
            }
        });
        let end = run();
        drop(set_over);
        end
    })
}

/// Ends the threads beside the agent, also when it panics.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The longest time that the agent may take to end. A thread ends after its operation. At worst that asks every address and every
/// node of a Cluster in turn, and sends a few commands one after the other; each of these steps has the time limits of the settings.
/// The seconds more are for steps without a limit: looking names up, reading an answer in pieces, and waiting for a busy processor.
fn longest_end(settings: &Settings) -> Duration {
    let steps = 16 + u32::try_from(settings.urls.len()).unwrap_or(u32::MAX).min(16);
    steps * (settings.connect + settings.answer) + Duration::from_secs(5)
}

/// Waits until it is over; then returns false. Returns true if that has not come although something has to end for as long as
/// `longest`.
///
/// Counts its looks, because the clock goes on while the whole process is stopped.
fn hangs(
    look: Duration,
    longest: Duration,
    has_to_end: impl Fn() -> bool,
    is_over: impl Fn() -> bool,
) -> bool {
    let mut looked = Duration::ZERO;
    while !is_over() {
        if looked > longest {
            return true;
        }
        thread::sleep(look);
        looked = if has_to_end() { looked + look } else { Duration::ZERO };
    }
    false
}

/// Attaches to the segment, as soon as no other agent is. `None` if a signal comes first.
fn attach(
    place: &sslsweep_agent::arguments::Place,
    group: Option<u32>,
    stop: &AtomicBool,
) -> Result<Option<Agent>, String> {
    let mut told = false;
    while !stop.load(Ordering::Relaxed) {
        match Agent::attach(&place.path, place.bytes, group) {
            Ok(agent) => return Ok(Some(agent)),
            Err(Error::Attached) if !told => {
                say(
                    "another agent is attached to the segment; this one waits, to take over from it",
                );
                told = true;
                // A spare is what was asked for.
                system::notify("READY=1");
            }
            Err(Error::Attached) => {}
            Err(error) => return Err(format!("{}: {error}", place.path.display())),
        }
        thread::sleep(AGAIN);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn s7_an_agent_that_has_to_end_and_does_not_is_noticed() {
        let millisecond = Duration::from_millis(1);
        assert!(hangs(millisecond, 20 * millisecond, || true, || false));
        assert!(!hangs(millisecond, Duration::ZERO, || true, || true));
        // Looks count in a row only.
        let looks = Cell::new(0);
        let now_and_then = || {
            looks.set(looks.get() + 1);
            looks.get() % 20 != 0
        };
        assert!(!hangs(millisecond, 20 * millisecond, now_and_then, || looks.get() > 100));
        assert!(hangs(millisecond, 10 * millisecond, now_and_then, || false));
    }
}
