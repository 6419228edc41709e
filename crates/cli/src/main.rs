//! The `sslsweep` command: runs programs with the library preloaded, and shows the caches there.
//!
//! [`run`] starts programs, [`doctor`] examines files and processes, and all other subcommands read the [`figures`]
//! that processes publish.
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
mod output;
mod run;
mod selection;
mod share;
mod share_key;
mod shared;
mod stat;
mod system;
mod text;
mod top;

use std::ffi::OsString;

use arguments::{Command, Run, Stop};
use output::{Failure, print};

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
        Command::Run(run) => Err(run::run(&run)),
        Command::Program(program) => {
            let meant = arguments::meant(&program[0]);
            let mut failure = run::run(&Run { program, ..Run::default() });
            if let (run::NOT_FOUND, Some(message), Some(meant)) =
                (failure.status, &mut failure.message, meant)
            {
                message.push_str(&format!("; did you mean: sslsweep {meant}?"));
            }
            Err(failure)
        }
        Command::Doctor { target } => doctor::doctor(target.as_deref(), &run::library()),
        Command::Top(options) => top::top(&options),
        Command::Stat(options) => stat::stat(&options),
        Command::Flush(options) => flush::flush(&options),
        Command::ShareKey { step, file, segment } => {
            share_key::share_key(step, file.as_deref(), segment.as_deref())
        }
        Command::Shared { words } => Err(shared::shared(&words)),
        Command::Completions { shell } => Ok(print(&completions::completion(shell))?),
    }
}

/// Replaces Rust's own `main`, which would ignore SIGPIPE, so that the program that takes our place would, too.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(_: libc::c_int, _: *const *const libc::c_char) -> libc::c_int {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match command(&words) {
        Ok(()) => 0,
        Err(failure) => {
            failure.message.iter().for_each(|message| output::say(message));
            failure.status.into()
        }
    }
}
