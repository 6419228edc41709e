//! `sslsweep stat`: prints the figures once.

use std::fmt::Write as _;

use crate::arguments::Stat;
use crate::figures::{self, Block, Figures, Limit, Place, Reading, Sharing, Verdict};
use crate::output::{Failure, print, say};
use crate::selection::Selection;
use crate::system::user;
use crate::{metrics, text};
use sslsweep_figures::Word;
use sslsweep_share_table::Kind;

/// Prints the figures. For Prometheus, whose collector reads text files, no figures are an empty output and no error.
pub fn stat(stat: &Stat) -> Result<(), Failure> {
    let reading = figures::read_each(&stat.selection.targets)?;
    if stat.json {
        print(&format!("{:#}\n", metrics::json(&reading.processes)))?;
    } else if stat.prometheus {
        print(&metrics::prometheus(&reading.processes, stat.per_context))?;
    } else if reading.processes.is_empty() {
        say(&nothing(&reading));
    } else {
        let table = Table::new(&reading.processes, &stat.selection);
        let sharing = aligned(&sharing(&reading.processes));
        let between = if table.lines.is_empty() || sharing.is_empty() { "" } else { "\n" };
        print(&[&table.text(), between, &sharing].concat())?;
        table.remarks.iter().for_each(|line| say(line));
    }
    for figures in reading.processes.iter().filter(|figures| figures.left_shared > 0) {
        say(&format!(
            "{} {}: {} contexts are left to libssl, because they lie in memory that processes share",
            figures.program, figures.pid, figures.left_shared
        ));
    }
    reading.notes.iter().chain(&reading.complaints).for_each(|line| say(line));
    // A file that cannot be used is no failure if others show something.
    if reading.complaints.is_empty() || !reading.processes.is_empty() {
        Ok(())
    } else {
        Err(Failure::silent(1))
    }
}

/// The message that there is nothing to show, with the remedy.
pub fn nothing(reading: &Reading) -> String {
    let others = match reading.foreign {
        0 => String::new(),
        many if user() == 0 => format!(" ({many} files of other users cannot be used)"),
        many => format!(" ({many} files of other users: ask as root)"),
    };
    format!(
        "no process publishes statistics{others}; start one with: sslsweep run --stats -- PROGRAM"
    )
}

/// The line about idle processes and contexts that are not shown; `None` if there are none.
pub fn left_out(processes: u64, contexts: u64) -> Option<String> {
    let count = |number: u64, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    };
    let processes = (processes > 0).then(|| count(processes, "process", "processes"));
    let contexts = (contexts > 0).then(|| count(contexts, "further context", "further contexts"));
    let all: Vec<String> = processes.into_iter().chain(contexts).collect();
    (!all.is_empty()).then(|| format!("idle, and left out: {}; see --idle", all.join(" and ")))
}

/// The columns after the state: the heading and the figure.
const COLUMNS: [(&str, Word); 13] = [
    ("HELD", Word::Sessions),
    ("SIZE", Word::Limit),
    ("STORES", Word::Stores),
    ("HITS", Word::Hits),
    ("MISSES", Word::Misses),
    ("EXTHITS", Word::ExternalHits),
    ("EVICTED", Word::Evictions),
    ("FLUSHED", Word::Flushed),
    ("REMOVED", Word::Removals),
    ("ATEND", Word::LeftAtEnd),
    ("FLUSHES", Word::Flushes),
    ("LASTFLUSH", Word::LastRemoved),
    ("MAXLOCK", Word::LongestBatch),
];

/// A table with a line for each context, process and program, and with full counts.
struct Table {
    lines: Vec<Vec<String>>,
    /// Lines about idle processes, for standard error.
    remarks: Vec<String>,
}

impl Table {
    fn new(processes: &[Figures], selection: &Selection) -> Table {
        let mut table = Table { lines: Vec::new(), remarks: Vec::new() };
        let (mut idle_processes, mut idle_contexts) = (0, 0);
        for program in figures::programs(processes) {
            let mut shown = 0;
            for figures in &program.processes {
                let verdict = Verdict::of_process(figures);
                if verdict.is_idle() && !selection.shows_idle() {
                    idle_processes += 1;
                    continue;
                }
                shown += 1;
                if verdict.is_idle() {
                    table.remarks.push(remark(figures, verdict));
                }
                for (place, block) in figures.places() {
                    let verdict = Verdict::at(figures, place, &block);
                    if verdict.is_idle() && !selection.shows_idle() {
                        idle_contexts += 1;
                    } else {
                        let limit = figures.limit(place);
                        let names =
                            [figures.pid.to_string(), program.name.to_string(), place.to_string()];
                        table.add(names, verdict, limit, &block);
                    }
                }
            }
            if shown > 1 {
                let names = ["total".to_string(), program.name.to_string(), Place::All.to_string()];
                table.add(names, program.verdict(), program.limit(), &program.total());
            }
        }
        table.remarks.extend(left_out(idle_processes, idle_contexts));
        table
    }

    fn add(&mut self, names: [String; 3], verdict: Verdict, limit: Limit, block: &Block) {
        let mut line: Vec<String> = names.into_iter().map(|name| name.replace(' ', "_")).collect();
        line.push(verdict.word().replace(' ', "-"));
        for (_, word) in COLUMNS {
            line.push(match (word, block.get(word)) {
                (Word::Limit, _) => limit.to_string(),
                (Word::LongestBatch, time) => text::duration(time),
                (_, number) => number.to_string(),
            });
            if word == Word::Misses {
                line.push(text::percent(block.hit_rate()));
            }
        }
        self.lines.push(line);
    }

    /// The lines with their headings; empty if there are none.
    fn text(&self) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        let mut heading: Vec<String> = ["PID", "PROGRAM", "CTX", "STATE"].map(String::from).into();
        for (name, word) in COLUMNS {
            heading.push(name.to_string());
            heading.extend((word == Word::Misses).then(|| "HIT%".to_string()));
        }
        aligned(&[&[heading], &self.lines[..]].concat())
    }
}

/// The column of a kind of event of sharing.
fn column(kind: Kind) -> &'static str {
    match kind {
        Kind::Published => "PUBLISHED",
        Kind::NotPublished => "NOTPUB",
        Kind::Fetched => "FETCHED",
        Kind::Absent => "ABSENT",
        Kind::Refused => "REFUSED",
        Kind::Taken => "TAKEN",
        Kind::Removed => "REMOVED",
        Kind::Alerts => "ALERTS",
        Kind::Aside => "ASIDE",
        Kind::Evicted => "EVICTED",
        Kind::Asked => "ASKED",
        Kind::Waits => "WAITS",
        Kind::Foreign => "FOREIGN",
    }
}

/// A table of sharing, with a line for each process that has counted something, idle or not, and for each program with
/// several of them; empty if there are none. (A process that only fetches sessions stores none, and so is idle.)
fn sharing(processes: &[Figures]) -> Vec<Vec<String>> {
    let line = |pid: String, program: &str, sharing: &Sharing| {
        let names = [pid, program.replace(' ', "_")];
        let sums = Kind::ALL.map(|kind| sharing.sum(kind).to_string());
        let counted = Kind::ALL.into_iter().flat_map(|kind| sharing.counted(kind));
        let reasons: Vec<String> = counted
            .filter(|(event, _)| !event.reason().is_empty())
            .map(|(event, count)| format!("{}:{count}", event.name()))
            .collect();
        let reasons = if reasons.is_empty() { "-".to_string() } else { reasons.join(",") };
        names.into_iter().chain(sums).chain([reasons]).collect::<Vec<String>>()
    };
    let mut lines = Vec::new();
    for program in figures::programs(processes) {
        let shares = |it: &&&Figures| !it.sharing.is_empty();
        for figures in program.processes.iter().filter(shares) {
            lines.push(line(figures.pid.to_string(), program.name, &figures.sharing));
        }
        if program.processes.iter().filter(shares).count() > 1 {
            lines.push(line("total".to_string(), program.name, &program.sharing()));
        }
    }
    if !lines.is_empty() {
        let columns = ["PID", "PROGRAM"].into_iter().chain(Kind::ALL.map(column));
        lines.insert(0, columns.chain(["REASONS"]).map(String::from).collect());
    }
    lines
}

/// The reason why a process is idle, and the remedy.
fn remark(figures: &Figures, verdict: Verdict) -> String {
    let remedy = verdict.remedy(&figures.program).map(|setting| format!("; remedy: {setting}"));
    let (program, pid) = (&figures.program, figures.pid);
    format!("{program} {pid} is {}{}", verdict.sentence(), remedy.unwrap_or_default())
}

/// Aligns columns: programs, states and reasons to the left, all others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    const LEFT: [&str; 3] = ["PROGRAM", "STATE", "REASONS"];
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| Some(line.get(column)?.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (column, word) in line.iter().enumerate() {
            let (space, width) = (if column == 0 { "" } else { " " }, widths[column]);
            let _ = match LEFT.contains(&lines[0][column].as_str()) {
                // Nothing follows the last one.
                true if column + 1 == columns => write!(text, "{space}{word}"),
                true => write!(text, "{space}{word:<width$}"),
                false => write!(text, "{space}{word:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::sharing as shared;
    use crate::figures::tests::figures;
    use crate::selection::Target;
    use sslsweep_figures::MODE_KNOWN;
    use sslsweep_share_table::Event;

    fn process(pid: u32, program: &str, contexts: &[(u64, u64, u64)]) -> Figures {
        let (mode, stores) = (Word::Mode as usize, Word::Stores as usize);
        let words: Vec<_> = contexts
            .iter()
            .map(|&(number, of_mode, of_stores)| {
                [(0, number), (mode, MODE_KNOWN | of_mode), (stores, of_stores)]
            })
            .collect();
        let blocks: Vec<(usize, &[(usize, u64)])> =
            words.iter().enumerate().map(|(at, words)| (at + 2, &words[..])).collect();
        let mut figures = figures(&blocks);
        (figures.pid, figures.program) = (pid, program.to_string());
        figures
    }

    fn table(processes: &[Figures], selection: &Selection) -> (Vec<String>, Vec<String>) {
        let table = Table::new(processes, selection);
        let names = |line: &Vec<String>| line[..4].join(" ") + " " + &line[6];
        (table.lines.iter().map(names).collect(), table.remarks)
    }

    #[test]
    fn idle_ones_are_left_out() {
        let all = [
            process(1, "nginx", &[(1, 2, 5), (2, 0, 0)]),
            process(2, "redis-server", &[(1, 0, 0)]),
            process(3, "nginx", &[(1, 2, 7)]),
            process(4, "curl", &[(1, 1, 0)]),
        ];
        let (lines, remarks) = table(&all, &Selection::default());
        let nginx = [
            "1 nginx all in-force 5",
            "1 nginx 1 in-force 5",
            "3 nginx 1 in-force 7",
            "total nginx all in-force 12",
        ];
        assert_eq!(lines, nginx);
        assert_eq!(remarks, ["idle, and left out: 2 processes and 1 further context; see --idle"]);
        let (lines, remarks) = table(&all, &Selection { idle: true, ..Selection::default() });
        assert_eq!(lines.len(), 7);
        assert!(lines.contains(&"1 nginx 2 off 0".to_string()), "{lines:?}");
        assert_eq!(
            remarks[0],
            "redis-server 2 is idle: the program has switched libssl's session cache off; remedy: tls-session-caching yes"
        );
        assert_eq!(remarks[1], "curl 4 is idle: it makes connections and accepts none");
        let one = Selection { targets: vec![Target::Pid(2)], idle: false };
        assert_eq!(table(&all[1..2], &one).0, ["2 redis-server 1 off 0"], "asked for by name");
        assert_eq!(Table::new(&all[1..2], &Selection::default()).text(), "");
    }

    #[test]
    fn s9_sharing_has_a_table_of_those_that_share() {
        let mut all = [
            process(1, "nginx", &[(1, 2, 5)]),
            process(2, "curl", &[(1, 1, 0)]),
            process(3, "nginx", &[(1, 2, 0)]),
        ];
        assert_eq!(aligned(&sharing(&all)), "", "nobody shares");
        all[0].sharing = shared(&[
            (Event::Published, 12),
            (Event::NoRoom, 1),
            (Event::TooLarge, 2),
            (Event::RefusedTrust, 4),
        ]);
        all[2].sharing = shared(&[(Event::Fetched, 5)]);
        assert_eq!(
            aligned(&sharing(&all)),
            "\
\x20 PID PROGRAM PUBLISHED NOTPUB FETCHED ABSENT REFUSED TAKEN REMOVED ALERTS ASIDE EVICTED ASKED WAITS FOREIGN REASONS
    1 nginx          12      3       0      0       4     0       0      0     0       0     0     0       0 \
             not_published_no_room:1,not_published_too_large:2,refused_trust:4
    3 nginx           0      0       5      0       0     0       0      0     0       0     0     0       0 -
total nginx          12      3       5      0       4     0       0      0     0       0     0     0       0 \
             not_published_no_room:1,not_published_too_large:2,refused_trust:4
"
        );
        all[0].sharing = Sharing::default();
        assert_eq!(sharing(&all).len(), 2, "no sum of one");
    }
}
