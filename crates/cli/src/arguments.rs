//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};

use crate::selection::{Selection, Target};
use crate::share::{LONGEST_WAIT, setting};

/// clap's own heading is "Usage:"; this is the heading of our messages.
const TEMPLATE: &str = "usage: {usage}\n\n{about-with-newline}\n{all-args}{after-help}";

const USAGE: &str = "sslsweep run [OPTIONS] [--] PROGRAM [ARGUMENT...]
       sslsweep doctor [PROGRAM|PID]
       sslsweep top [OPTIONS] [PID|NAME...]
       sslsweep stat [OPTIONS] [PID|NAME...]
       sslsweep flush [--all] PID|NAME...
       sslsweep share-key new|stage|promote|retire FILE
       sslsweep share-key revoke --segment PATH
       sslsweep shared OPTIONS | status OPTIONS | check OPTIONS
       sslsweep completions bash|zsh|fish
       sslsweep [--] PROGRAM [ARGUMENT...]
       sslsweep help [COMMAND] | --help | --version";

const RUN_AFTER: &str = "\
The program takes the place of the command. LD_PRELOAD keeps the libraries that it names already. Programs that it
starts inherit sslsweep, unless their environment is cleared.

The program runs as before, without sslsweep, if it
  - is set-user-ID or set-group-ID or has file capabilities: the system ignores LD_PRELOAD for it;
  - is linked statically or has its own libssl inside: there is nothing to preload before;
  - is of another architecture than the library.
The command warns on standard error, with the reason; sslsweep doctor PROGRAM says more.

Environment, which the options set:
  SSLSWEEP_VERBOSE=1                    --verbose
  SSLSWEEP_STATS=1                      --stats
  SSLSWEEP_AUTOFLUSH=batch|incremental  --autoflush
  SSLSWEEP_EVICTION=expiry|lru          --eviction
  SSLSWEEP_TICKETS=program|stateful     --tickets
  SSLSWEEP_SHARE=family|host:/PATH      --share
  SSLSWEEP_SHARE_KEY=FILE               --share-key
  SSLSWEEP_SHARE_WAIT=MILLISECONDS      --share-wait
  SSLSWEEP_DISABLE=1                    take nothing over

Exit status: the program's, or
  2    the command line is wrong
  125  the library cannot be preloaded, or what --share asks for cannot be had
  126  the program was found but cannot be run
  127  the program was not found";

const DOCTOR_AFTER: &str = "\
Every line begins with yes, no or note; a no is followed by the reason and the remedy. The command runs nothing: it
reads the file of the program, and the system's data about the process. Without PROGRAM and PID, the command lists
all running processes that use libssl.so or have sslsweep loaded, a line for each: yours, or everybody's if you are
root.

With SSLSWEEP_SHARE in the environment of the process (or, for PROGRAM, in that of the command) doctor also looks for
the share library, the key file and the segment.

Exit status: 0 if the program can be taken over, or the process (or every process listed) is taken over, even if its
cache is idle; 1 if not, or if it should share sessions and does not; 2 if it cannot be examined.";

const TOP_AFTER: &str = "\
Keys: arrows, Page Up and Down, Home and End move the selection; < and > choose the sort column, r reverses the order;
Enter shows all figures of the selected line; a averages the rates over 1, 10 or 60 seconds; t shows contexts,
processes or programs; i shows or hides idle ones; p pauses; ? explains each column; Ctrl-Z stops; q quits.
If standard output is not a terminal, top prints a table at each interval. NO_COLOR turns colours off.

Exit status: 0, also when all selected processes have ended; 1 if a PID or NAME has no figures, or the terminal is
gone. A signal that ends top (HUP, INT, TERM) is its status.";

const STAT_AFTER: &str = "\
Processes publish figures only with SSLSWEEP_STATS=1, which sslsweep run --stats sets. Without PID or NAME, stat
shows all processes whose cache is in force, and the number of idle ones. NAME is the name that ps -o comm shows.

Columns:
  CTX       the context's number; all: the sum; other: contexts without a line; ended: contexts that have ended
  STATE     in-force, or why the cache is idle: off, external (a cache of the program's own), tickets (which need no
            cache), no-stores, client, unused (no handshake yet)
  HELD      sessions stored now; SIZE, the limit
  STORES    sessions stored
  HITS      lookups that found a session; MISSES, lookups that found none; HIT%, the hit rate
  EXTHITS   sessions that the program's own cache provided
  EVICTED   sessions evicted to make room
  FLUSHED   sessions that flushes removed; REMOVED, sessions removed one by one; ATEND, sessions that were still
            stored when their context ended
  FLUSHES   flushes that removed something; LASTFLUSH, the number of sessions that the last one removed
  MAXLOCK   the longest time that a flush held a lock

Columns of the second table, which is there where something was shared:
  PUBLISHED sessions published; NOTPUB, not published; REMOVED, removals; EVICTED, records evicted for want of room
  FETCHED   sessions of others that were used; ABSENT, not found; REFUSED, found and not used; TAKEN, for 0-RTT
  ALERTS    handshakes that ended in an alert; ASIDE, contexts that share nothing
  ASKED     questions to the fleet; WAITS, waits for an answer; FOREIGN, ids that the fleet did not make
  REASONS   the same by their reasons (docs/operations.md)

Exit status: 0; 1 if a PID or NAME has no figures, or if there are statistics files and none can be used.";

const FLUSH_AFTER: &str = "\
The command writes a request into the file in which a process publishes its figures (sslsweep run --stats): into those
of your processes, or of everybody's if you are root. Each context flushes when its cache is used next, in the thread
that uses it, so an idle server flushes with its next connection. The command waits for at most 5 seconds.

Exit status: 0 if all caches were flushed; 1 if a PID or NAME cannot be asked; 3 if some contexts will flush at their
next use.";

const SHARE_KEY_USAGE: &str = "sslsweep share-key new|stage|promote|retire FILE
       sslsweep share-key revoke --segment PATH";

const SHARE_KEY_AFTER: &str = "\
FILE is what SSLSWEEP_SHARE_KEY names: a line ID KEY for each key. The first key seals; all of them open. To rotate,
let every process on every machine take each step before the next one:
  stage    adds a key behind the others, which only opens; copy the file, and reload all servers
  promote  makes the staged key the first; copy the file, and reload all servers
  retire   removes the old keys; copy the file, once all sessions from before the reload have expired
The file belongs to you and has mode 0600. It is replaced as a whole, so a server that reads it finds the old or the
new one.

Apart from the keys there are the sessions. PATH is the file that SSLSWEEP_SHARE=host:PATH names:
  revoke   ends all shared sessions that were made until now: on this machine at once, and on every machine of the
           fleet as soon as the agent of this segment reaches it; their clients make full handshakes

Exit status: 0; 1 if the file cannot be used, or the step is not the next one.";

/// Preloads the sslsweep session cache into programs, and shows what it does there.
#[derive(Debug, Parser)]
#[command(name = "sslsweep", version, override_usage = USAGE, help_template = TEMPLATE, after_help = concat!(
    "Without a subcommand, PROGRAM is run as by sslsweep run. Programs that are set-user-ID, or linked statically\n",
    "with libssl, are left alone; sslsweep doctor PROGRAM tells why. See sslsweep help COMMAND."))]
pub struct Arguments {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program with sslsweep preloaded
    #[command(override_usage = "sslsweep run [OPTIONS] [--] PROGRAM [ARGUMENT...]", help_template = TEMPLATE)]
    #[command(after_help = RUN_AFTER)]
    Run(Run),
    /// Check whether a program can be taken over, or a process is taken over, and why not
    #[command(override_usage = "sslsweep doctor [PROGRAM|PID]", help_template = TEMPLATE, after_help = DOCTOR_AFTER)]
    Doctor {
        /// A program or library, by its path or from PATH, or the number of a process; without it, all services
        #[arg(value_hint = ValueHint::CommandName)]
        target: Option<OsString>,
    },
    /// Watch the caches of processes that run with sslsweep
    #[command(override_usage = "sslsweep top [OPTIONS] [PID|NAME...]", help_template = TEMPLATE, after_help = TOP_AFTER)]
    Top(Top),
    /// Print the figures of these caches once
    #[command(override_usage = "sslsweep stat [OPTIONS] [PID|NAME...]", help_template = TEMPLATE)]
    #[command(after_help = STAT_AFTER)]
    Stat(Stat),
    /// Flush the caches of running processes, without a restart
    #[command(override_usage = "sslsweep flush [--all] PID|NAME...", help_template = TEMPLATE, after_help = FLUSH_AFTER)]
    Flush(Flush),
    /// Make or rotate the key file of shared sessions, or revoke the sessions
    #[command(override_usage = SHARE_KEY_USAGE, help_template = TEMPLATE)]
    #[command(after_help = SHARE_KEY_AFTER)]
    ShareKey {
        /// The step
        step: Step,
        /// The key file
        #[arg(value_hint = ValueHint::FilePath, required_unless_present = "segment", conflicts_with = "segment")]
        file: Option<PathBuf>,
        /// The file of the segment, for revoke
        #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, required_if_eq("step", "revoke"))]
        segment: Option<PathBuf>,
    },
    /// Run the agent that shares sessions with other machines, or ask about it
    #[command(
        override_usage = "sslsweep shared OPTIONS | status OPTIONS | check OPTIONS",
        disable_help_flag = true
    )]
    Shared {
        /// The agent's own command line: see sslsweep shared --help
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
        words: Vec<OsString>,
    },
    /// Print the completion script of a shell
    #[command(override_usage = "sslsweep completions bash|zsh|fish", help_template = TEMPLATE)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// A program to run, with its arguments
    #[command(external_subcommand)]
    Program(Vec<OsString>),
}

/// `sslsweep run`
#[derive(Debug, Args, Default)]
pub struct Run {
    /// Publish figures, for sslsweep top, stat and flush
    #[arg(long)]
    pub stats: bool,
    /// Report on standard error which libssl was found and, at exit, what the cache did
    #[arg(long)]
    pub verbose: bool,
    /// Remove expired sessions after every 255 stores, or a few with each store
    #[arg(long, value_name = "HOW")]
    pub autoflush: Option<Autoflush>,
    /// Evict from a full cache the session that expires first, or the least recently used
    #[arg(long, value_name = "BY")]
    pub eviction: Option<Eviction>,
    /// Leave a server's tickets to the program, or make them name sessions in the cache
    #[arg(long, value_name = "WHOSE")]
    pub tickets: Option<Tickets>,
    /// Share sessions: family, with children and after reloads; host:/PATH, with all programs that name this file
    #[arg(long, value_name = "family|host:/PATH[:SIZE]", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "family", value_parser = share, value_hint = ValueHint::Other)]
    pub share: Option<OsString>,
    /// The file with the keys that seal what host shares: an absolute path
    #[arg(long, value_name = "FILE", requires = "share", value_hint = ValueHint::FilePath)]
    pub share_key: Option<OsString>,
    /// Let a handshake wait for the fleet, for at most this time: 0 to 20 milliseconds
    #[arg(long, value_name = "MILLISECONDS", requires = "share", value_hint = ValueHint::Other)]
    #[arg(value_parser = clap::value_parser!(u8).range(..=i64::from(LONGEST_WAIT)))]
    pub share_wait: Option<u8>,
    /// The program and its arguments
    #[arg(required = true, num_args = 1.., trailing_var_arg = true)]
    #[arg(value_name = "PROGRAM", value_hint = ValueHint::CommandWithArguments)]
    pub program: Vec<OsString>,
}

/// `SSLSWEEP_AUTOFLUSH`
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Autoflush {
    /// After every 255 stores, as libssl does.
    Batch,
    /// A few with each store.
    Incremental,
}

/// `SSLSWEEP_EVICTION`
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Eviction {
    /// The first to expire.
    Expiry,
    /// The least recently used.
    Lru,
}

/// `SSLSWEEP_TICKETS`
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Tickets {
    /// As the program has them.
    Program,
    /// They name sessions in the cache.
    Stateful,
}

/// `sslsweep top`
#[derive(Debug, Args)]
pub struct Top {
    /// The processes to show
    #[command(flatten)]
    pub selection: Selection,
    /// Refresh interval, 0.1 to 60
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    #[arg(value_hint = ValueHint::Other)]
    pub interval: Duration,
    /// End after this number of refreshes
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(value_hint = ValueHint::Other)]
    pub iterations: Option<u64>,
    /// Use no colour
    #[arg(long)]
    pub no_color: bool,
}

/// `sslsweep stat`
#[derive(Debug, Args)]
pub struct Stat {
    /// The processes to show
    #[command(flatten)]
    pub selection: Selection,
    /// All figures as JSON
    #[arg(long, conflicts_with = "prometheus")]
    pub json: bool,
    /// The totals of each process for Prometheus, as a text file
    #[arg(long)]
    pub prometheus: bool,
    /// For Prometheus, the figures of each context in place of the totals
    #[arg(long, requires = "prometheus")]
    pub per_context: bool,
}

/// `sslsweep flush`
#[derive(Debug, Args)]
pub struct Flush {
    /// The processes, by number or by the program's name
    #[arg(value_name = "PID|NAME", required = true, value_parser = Target::parse)]
    pub targets: Vec<Target>,
    /// Remove every session, not only the expired ones
    #[arg(long)]
    pub all: bool,
}

/// The steps of a key's life.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Step {
    /// Make a file with one key
    New,
    /// Add a key that opens
    Stage,
    /// Let the staged key seal
    Promote,
    /// Remove the old keys
    Retire,
    /// End all shared sessions that were made until now
    Revoke,
}

/// The shells that have a completion script.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
    /// Pids and names of processes, for which the scripts ask
    #[value(hide = true)]
    Targets,
}

fn share(text: &str) -> Result<OsString, &'static str> {
    setting(text.as_bytes()).map(|_| OsString::from(text))
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=60.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds from 0.1 to 60".to_string()),
    }
}

/// An answer in place of a command.
#[derive(Debug)]
pub enum Stop {
    /// The help or the version.
    Answer(String),
    /// The command line is wrong: a message of one line, and the usage.
    Wrong(String, String),
}

/// Reads the command line.
pub fn read(words: &[OsString]) -> Result<Command, Stop> {
    let none = || Stop::Wrong("no program given".to_string(), USAGE.to_string());
    let first = words.first().ok_or_else(none)?;
    if words == ["--"] {
        return Err(none());
    }
    // clap accepts no subcommand after `--`.
    let run = (first == "--").then(|| OsString::from("run"));
    let all = std::iter::once(OsString::from("sslsweep")).chain(run).chain(words.iter().cloned());
    let mut definition = Arguments::command();
    let matches = definition.try_get_matches_from_mut(all);
    let usage = first
        .to_str()
        .filter(|&word| word != "help")
        .and_then(|word| definition.find_subcommand_mut(word))
        .map_or(USAGE.to_string(), |subcommand| {
            subcommand.render_usage().to_string().replacen("Usage: ", "", 1)
        });
    let arguments = matches.and_then(|it| Arguments::from_arg_matches(&it));
    arguments.map(|it| it.command).map_err(|error| stop(&error, &usage))
}

/// The subcommand that a misspelt word may mean.
pub fn meant(word: &OsStr) -> Option<String> {
    let subcommands = Arguments::command().get_subcommands().cloned().collect::<Vec<_>>();
    let definition = clap::Command::new("sslsweep").subcommands(subcommands);
    suggestion(&definition.try_get_matches_from([OsStr::new("sslsweep"), word]).err()?)
}

fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    match kinds.into_iter().find_map(|kind| error.get(kind))? {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(several) => several.last().cloned(),
        _ => None,
    }
}

/// Shortens clap's message, which has several paragraphs: "error: ...", tips and mostly "Usage: ...".
fn stop(error: &clap::Error, usage: &str) -> Stop {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return Stop::Answer(text);
    }
    let message = text.split("\nUsage: ").next().unwrap_or_default();
    let message = message.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    let mut message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(meant) = suggestion(error) {
        message.push_str(&format!("; did you mean {meant}?"));
    }
    Stop::Wrong(message, usage.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_words(words: &[&str]) -> Result<Command, Stop> {
        read(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn programs() {
        for words in [
            &["nginx", "--help", "--"][..],
            &["--", "nginx", "--help", "--"],
            &["run", "nginx", "--help", "--"],
            &["run", "--", "nginx", "--help", "--"],
        ] {
            match read_words(words) {
                Ok(Command::Run(Run { program, .. }) | Command::Program(program)) => {
                    assert_eq!(program, ["nginx", "--help", "--"], "{words:?}")
                }
                other => panic!("{words:?}: {other:?}"),
            }
        }
        match read_words(&["run", "--stats", "--eviction", "lru", "--tickets=stateful", "--", "-x"])
        {
            Ok(Command::Run(run)) => {
                assert!(run.stats && matches!(run.eviction, Some(Eviction::Lru)));
                assert!(matches!(run.tickets, Some(Tickets::Stateful)));
                assert_eq!(run.program, ["-x"]);
            }
            other => panic!("{other:?}"),
        }
        match read_words(&["run", "--share", "nginx"]) {
            Ok(Command::Run(run)) => {
                assert_eq!((run.share, run.program), (Some("family".into()), vec!["nginx".into()]))
            }
            other => panic!("{other:?}"),
        }
        assert!(
            matches!(read_words(&["--", "top"]), Ok(Command::Run(_))),
            "a program of that name"
        );
    }

    #[test]
    fn misspelt_subcommands() {
        for (word, subcommand) in
            [("stta", "stat"), ("topp", "top"), ("docter", "doctor"), ("flsh", "flush")]
        {
            assert_eq!(meant(OsStr::new(word)).as_deref(), Some(subcommand));
        }
        assert_eq!(meant(OsStr::new("nginx")), None);
    }

    #[test]
    fn wrong_words() {
        for words in [
            &[][..],
            &["--"],
            &["--stats"],
            &["run"],
            &["run", "--eviction=size", "true"],
            &["run", "--tickets=none", "true"],
            &["run", "--share=all", "true"],
            &["run", "--share=host:relative", "true"],
            &["run", "--share=family:1", "true"],
            &["run", "--share-key=/file", "true"],
            &["run", "--nothing", "true"],
            &["top", "0"],
            &["top", ""],
            &["top", "99999999999"],
            &["flush"],
            &["flush", "--al", "1"],
            &["flush", "0"],
            &["stat", "--per-context"],
            &["stat", "--jsn"],
            &["help", "nothing"],
            &["completions"],
            &["top", "--interval", "0.09"],
            &["top", "--interval", "nan"],
            &["top", "--interval", "61"],
            &["top", "--iterations", "0"],
            &["stat", "--json", "--prometheus"],
            &["stat", "-1"],
            &["completions", "csh"],
            &["share-key"],
            &["share-key", "new"],
            &["share-key", "old", "file"],
            &["share-key", "new", "file", "file"],
            &["share-key", "revoke"],
            &["share-key", "revoke", "file"],
            &["share-key", "revoke", "--segment"],
            &["share-key", "new", "file", "--segment=file"],
            &["run", "--share-wait=5", "true"],
            &["run", "--share", "--share-wait=21", "true"],
            &["run", "--share", "--share-wait=-1", "true"],
            &["run", "--share", "--share-wait=1.5", "true"],
        ] {
            match read_words(words) {
                Err(Stop::Wrong(message, usage)) => {
                    assert!(!message.is_empty() && !message.contains('\n'), "{words:?}: {message}");
                    assert!(usage.starts_with("sslsweep "), "{words:?}: {usage}");
                }
                other => panic!("{words:?}: {other:?}"),
            }
        }
    }
}
