//! The findings, and what is printed of them.

use std::fmt::Write as _;

use super::sharing::TOPIC;

/// The kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is as it should be.
    Yes,
    /// It hinders sslsweep.
    No,
    /// It is good to know.
    Note,
}

/// One thing that was looked at, and the result.
#[derive(Debug)]
pub struct Finding {
    /// The kind.
    pub mark: Mark,
    /// A word for the thing.
    pub topic: &'static str,
    /// The result.
    pub text: String,
    /// The way to change it.
    pub remedy: Option<String>,
}

/// All findings.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order in which they were made.
    pub findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, mark: Mark, topic: &'static str, text: String, remedy: Option<String>) {
        self.findings.push(Finding { mark, topic, text, remedy });
    }

    /// Adds something that is as it should be.
    pub fn yes(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Mark::Yes, topic, text.into(), None);
    }

    /// Adds a note.
    pub fn note(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Mark::Note, topic, text.into(), None);
    }

    /// Adds a hindrance.
    pub fn no(&mut self, topic: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Mark::No, topic, text.into(), Some(remedy.into()));
    }

    /// Adds a note with the setting that changes it, where there is one.
    pub fn advise(&mut self, topic: &'static str, text: impl Into<String>, remedy: Option<&str>) {
        self.add(Mark::Note, topic, text.into(), remedy.map(String::from));
    }

    /// Returns whether there is such a finding.
    pub fn has(&self, mark: Mark, topic: &str) -> bool {
        self.findings.iter().any(|finding| finding.mark == mark && finding.topic == topic)
    }

    /// Returns whether something is not as it should be.
    pub fn has_no(&self) -> bool {
        self.findings.iter().any(|finding| finding.mark == Mark::No)
    }

    /// Returns whether there is a hindrance to the takeover; a program that cannot share is taken over nevertheless.
    pub fn is_hindered(&self) -> bool {
        self.findings.iter().any(|finding| finding.mark == Mark::No && finding.topic != TOPIC)
    }

    /// All findings, a line for each, and the verdict.
    pub fn text(&self, verdict: &str) -> String {
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
