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
use sslsweep_agent::log::{Links, say};
use sslsweep_agent::{check, engine, http, status, system};
use sslsweep_segment::{Agent, Error};
use tiny_http::Server;

/// The pause between two attempts to attach.
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
    let server = run.listen.map(http::listen).transpose()?;
    let settings = run.upstream.settings().map_err(|error| error.to_string())?;
    settings.check().map_err(|error| error.to_string())?;
    let links = Links::default();
    while let Some(agent) = attach(&run.segment, group, &stop)? {
        system::notify("READY=1");
        let end = with_server(server.as_ref(), &links, &agent, &stop, || {
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

/// Runs something, and meanwhile answers by HTTP.
fn with_server(
    server: Option<&Server>,
    links: &Links,
    agent: &Agent,
    stop: &AtomicBool,
    run: impl FnOnce() -> End,
) -> End {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        if let Some(server) = server {
            scope.spawn(|| {
                http::serve(server, links, agent.segment(), &|| over.load(Ordering::Relaxed), stop)
            });
        }
        let end = run();
        over.store(true, Ordering::Relaxed);
        end
    })
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
