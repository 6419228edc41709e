//! `sslsweep completions`: clap's script for a shell, which also completes programs and the processes that publish
//! figures. The script asks `sslsweep completions targets` for these.

use std::collections::BTreeSet;

use clap::CommandFactory;

use crate::arguments::{Arguments, Shell};
use crate::figures;

/// The script for a shell.
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
        // The last line of clap's script calls its function, so ours must come earlier.
        Shell::Zsh => {
            let targets = |line: &str| match line.starts_with("'*::targets ") {
                true => line.replace(":_default'", ":_sslsweep_targets'"),
                false => line.to_string(),
            };
            let text = text.lines().map(targets).collect::<Vec<_>>().join("\n") + "\n";
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_asks_for_processes() {
        for (shell, times) in [(Shell::Bash, 1), (Shell::Zsh, 1), (Shell::Fish, 2)] {
            let text = completion(shell);
            assert_eq!(text.matches("sslsweep completions targets").count(), times, "{shell:?}");
        }
        let zsh = completion(Shell::Zsh);
        assert_eq!(zsh.matches(":_sslsweep_targets'").count(), 3, "for top, stat and flush");
        let [function, first] = ["_sslsweep_targets() {", "_sslsweep() {"].map(|it| zsh.find(it));
        assert!(function.is_some() && function < first);
    }
}
