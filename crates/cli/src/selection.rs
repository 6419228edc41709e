//! The processes that the command line selects, by number or by the program's name.

use clap::Args;

/// One word of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A process.
    Pid(u32),
    /// All processes of this name.
    Name(String),
}

impl Target {
    /// A word of digits alone is the number of a process.
    pub fn parse(text: &str) -> Result<Target, String> {
        match text.parse() {
            _ if text.is_empty() => Err("it is empty".to_string()),
            _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Target::Name(text.to_string()))
            }
            Ok(pid) if pid > 0 => Ok(Target::Pid(pid)),
            _ => Err("not the number of a process".to_string()),
        }
    }

    /// Returns whether it means the process of this pid, which runs this program.
    pub fn means(&self, pid: u32, program: &str) -> bool {
        match self {
            Target::Pid(meant) => *meant == pid,
            Target::Name(meant) => meant == program,
        }
    }
}

/// The processes and contexts that `top` and `stat` are to show.
#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    /// Only these processes, by number or by the program's name
    #[arg(value_name = "PID|NAME", value_parser = Target::parse)]
    pub targets: Vec<Target>,
    /// Show idle processes and contexts, too
    #[arg(long)]
    pub idle: bool,
}

impl Selection {
    /// Returns whether idle processes and contexts are shown: with --idle, or if processes are named.
    pub fn shows_idle(&self) -> bool {
        self.idle || !self.targets.is_empty()
    }
}

/// Returns whether one of these means the process; no target means all.
pub fn takes(targets: &[Target], pid: u32, program: &str) -> bool {
    targets.is_empty() || targets.iter().any(|target| target.means(pid, program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let name = |text: &str| Ok(Target::Name(text.to_string()));
        assert_eq!(Target::parse("17"), Ok(Target::Pid(17)));
        assert_eq!(Target::parse("nginx"), name("nginx"));
        assert_eq!(Target::parse("7zip"), name("7zip"));
        for wrong in ["", "0", "99999999999"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn processes() {
        let takes = |targets: &[Target]| takes(targets, 4711, "nginx");
        let name = |text: &str| Target::Name(text.to_string());
        assert!(takes(&[]));
        assert!(takes(&[Target::Pid(1), name("nginx")]));
        assert!(takes(&[Target::Pid(4711)]));
        assert!(!takes(&[Target::Pid(471), name("ngin")]));
    }
}
