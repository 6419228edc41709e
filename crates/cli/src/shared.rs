//! `sslsweep shared`: the agent, a program of its own, in place of the command.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::output::Failure;
use crate::run::{NOT_FOUND, become_program};
use crate::text::plain;

const NAME: &str = "sslsweep-shared";

/// Runs the agent with these words. Returns only if it cannot be run.
pub fn shared(words: &[OsString]) -> Failure {
    let command = std::env::current_exe().unwrap_or_default();
    let Some(agent) = places(&command).find(|place| place.exists()) else {
        let what = format!(
            "the agent {NAME} is not installed; it comes with the package sslsweep-fleet, or make install-fleet"
        );
        return Failure::new(NOT_FOUND, what);
    };
    let error = become_program(&[&[agent.clone().into()], words].concat());
    Failure::new(126, format!("{} cannot be run: {}", agent.display(), plain(&error)))
}

/// Where the agent may be: beside the command, or in the folder for programs that nobody calls by hand.
fn places(command: &Path) -> impl Iterator<Item = PathBuf> {
    let beside = command.parent().map(|folder| folder.join(NAME));
    let tree = command.ancestors().nth(2).map(|tree| tree.join("libexec/sslsweep").join(NAME));
    beside.into_iter().chain(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_beside_the_command_or_in_libexec() {
        let found: Vec<PathBuf> = places(Path::new("/usr/bin/sslsweep")).collect();
        assert_eq!(
            found,
            ["/usr/bin/sslsweep-shared", "/usr/libexec/sslsweep/sslsweep-shared"]
                .map(PathBuf::from)
        );
    }
}
