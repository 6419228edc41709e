//! `sslsweep doctor`: whether a program can be taken over, or a process is, and if not, why and what to do. Nothing
//! is run: `ldd` would start the program's own loader, which a hostile file chooses itself.

mod elf;
mod process;
mod program;
mod services;

use std::ffi::OsStr;
use std::fmt::Write as _;

use crate::{Failure, print};
pub use program::{find, hindrance};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Yes,
    No,
    Note,
}

/// One thing that was looked at, and the result.
#[derive(Debug)]
struct Finding {
    mark: Mark,
    topic: &'static str,
    text: String,
    remedy: Option<String>,
}

/// All that was found, and what follows.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, mark: Mark, topic: &'static str, text: impl Into<String>) {
        self.findings.push(Finding { mark, topic, text: text.into(), remedy: None });
    }

    fn yes(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Mark::Yes, topic, text);
    }

    fn note(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Mark::Note, topic, text);
    }

    fn no(&mut self, topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.findings.push(Finding {
            mark: Mark::No,
            topic,
            text: text.into(),
            remedy: Some(remedy.into()),
        });
    }

    /// A note with a setting that changes it, where there is one.
    fn advise(&mut self, topic: &'static str, text: impl Into<String>, remedy: Option<&str>) {
        let (text, remedy) = (text.into(), remedy.map(String::from));
        self.findings.push(Finding { mark: Mark::Note, topic, text, remedy });
    }

    fn has(&self, mark: Mark, topic: &str) -> bool {
        self.findings.iter().any(|finding| finding.mark == mark && finding.topic == topic)
    }

    fn hindered(&self) -> bool {
        self.findings.iter().any(|finding| finding.mark == Mark::No)
    }

    fn text(&self, verdict: &str) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let mark = match finding.mark {
                Mark::Yes => "yes",
                Mark::No => "no",
                Mark::Note => "note",
            };
            let _ = writeln!(text, "{mark:<5} {:<11} {}", finding.topic, finding.text);
            if let Some(remedy) = &finding.remedy {
                let _ = writeln!(text, "{:<17} remedy: {remedy}", "");
            }
        }
        let _ = writeln!(text, "\n{verdict}");
        text
    }
}

/// Looks at a program, at a process if the word is a number, or without a word at all services that run.
pub fn doctor(target: Option<&OsStr>) -> Result<(), Failure> {
    let Some(target) = target else { return services::doctor() };
    let pid = target
        .to_str()
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()) && !word.is_empty());
    let (report, verdict) = match pid {
        Some(word) => match word.parse::<u32>() {
            Ok(pid) if pid != 0 => process::examine(pid),
            _ => Err(format!("{word} is no number of a process")),
        },
        None => program::examine(target),
    }
    .map_err(|why| Failure::new(2, why))?;
    print(&report.text(&verdict))?;
    if report.hindered() { Err(Failure::silent(1)) } else { Ok(()) }
}
