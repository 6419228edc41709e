//! `sslsweep completions`: what clap knows of the command line, and what it does not: programs, and the processes that publish
//! figures, for which the shell asks `sslsweep completions targets`.

use std::collections::BTreeSet;

use clap::CommandFactory;

use crate::arguments::{Arguments, Shell};
use crate::figures;

/// The text for a shell.
pub fn completion(shell: Shell) -> String {
    let (generator, more) = match shell {
        Shell::Bash => (clap_complete::Shell::Bash, include_str!("bash")),
        Shell::Zsh => (clap_complete::Shell::Zsh, include_str!("zsh")),
        Shell::Fish => (clap_complete::Shell::Fish, include_str!("fish")),
        Shell::Targets => return targets(),
    };
    let mut text = Vec::new();
    clap_complete::generate(generator, &mut Arguments::command(), "sslsweep", &mut text);
    let text = String::from_utf8_lossy(&text);
    match shell {
        // Its function must be there before it is first called, at the end of the text.
        Shell::Zsh => {
            let text = text.replace(":_default'", ":_sslsweep_targets'");
            text.replacen("\n_sslsweep() {", &format!("\n{more}\n_sslsweep() {{"), 1)
        }
        _ => format!("{text}\n{more}"),
    }
}

/// The pids and program names that `top`, `stat` and `flush` take, one a line.
fn targets() -> String {
    let processes = figures::read(&[]).processes;
    let names: BTreeSet<&str> = processes.iter().map(|it| it.program.as_str()).collect();
    let pids = processes.iter().map(|it| it.pid.to_string());
    let words = pids.chain(names.into_iter().map(String::from));
    words.map(|word| word + "\n").collect()
}
