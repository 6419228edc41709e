//! The `sslsweep` command: runs programs with the library preloaded, and shows what it does there.
//!
//! `run` needs no more than [`arguments`] and [`run`]; all else reads what processes publish ([`figures`], whose
//! layout is the library's) or what the system says of a program ([`doctor`]).
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code, reason = "tests have a main of their own"))]

mod arguments;
mod completions;
mod doctor;
#[cfg(test)]
mod documents;
mod figures;
mod flush;
mod metrics;
mod run;
mod selection;
mod stat;
mod text;
mod top;
mod verdict;

use std::ffi::OsString;
use std::io::{self, Write};

use arguments::{Command, Stop};

/// How the command ends when it can't do what it should.
#[derive(Debug)]
pub struct Failure {
    status: u8,
    message: Option<String>,
}

impl Failure {
    fn new(status: u8, message: impl Into<String>) -> Failure {
        Failure { status, message: Some(message.into()) }
    }

    /// All has been said.
    fn silent(status: u8) -> Failure {
        Failure { status, message: None }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::new(1, run::plain(&error))
    }
}

/// Writes a line to standard error. A failure is ignored: there is nobody to tell.
fn say(message: &str) {
    let _ = writeln!(io::stderr(), "sslsweep: {message}");
}

/// Text on standard output.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn command(words: &[OsString]) -> Result<(), Failure> {
    let command = match arguments::read(words) {
        Ok(command) => command,
        Err(Stop::Answer(text)) => return Ok(print(&text)?),
        Err(Stop::Wrong(message, usage)) => {
            return Err(Failure::new(
                2,
                format!("{}\nusage: {usage}", text::printable(message.as_bytes())),
            ));
        }
    };
    match command {
        Command::Run(program) => {
            let (status, mut message) = run::run(&program);
            let is_subcommand = words[0] == "run" || words[0] == "--";
            if let (run::NOT_FOUND, false, Some(meant)) =
                (status, is_subcommand, arguments::meant(&words[0]))
            {
                message.push_str(&format!("; did you mean: sslsweep {meant}?"));
            }
            Err(Failure::new(status, message))
        }
        Command::Doctor { target } => doctor::doctor(target.as_deref()),
        Command::Top(options) => top::top(&options),
        Command::Stat(options) => stat::stat(&options),
        Command::Flush(options) => flush::flush(&options),
        Command::Completions { shell } => Ok(print(&completions::completion(shell))?),
        Command::Program(_) => unreachable!("arguments::read makes it a Run"),
    }
}

/// Not Rust's own: that would ignore SIGPIPE, and so would the program that takes our place.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(_: libc::c_int, _: *const *const libc::c_char) -> libc::c_int {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match command(&words) {
        Ok(()) => 0,
        Err(failure) => {
            failure.message.iter().for_each(|message| say(message));
            failure.status.into()
        }
    }
}
