//! `sslsweep shared status`: what the header of a segment says.

use std::fs;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sslsweep_segment::{Segment, Tally};

use crate::arguments::Place;
use crate::http::about;

/// An agent beats more often.
const BEAT: Duration = Duration::from_millis(300);

/// Describes the segment and its agent, in lines. The second value says whether an agent lives and reaches the engine.
///
/// # Errors
///
/// A line that says why the segment cannot be looked at.
pub fn status(place: &Place) -> Result<(String, bool), String> {
    let path = place.path.display();
    // Nothing is made that is not there, and any size will do.
    let about_file =
        fs::metadata(&place.path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    let segment =
        Segment::host(&place.path, about_file.len()).map_err(|error| format!("{path}: {error}"))?;
    let before = segment.agent().beat;
    thread::sleep(BEAT);
    let agent = segment.agent();
    let lives = agent.beat != before;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let census = segment.census(now);
    let mut lines = vec![
        format!(
            "segment      {path}, {} slots: {} live, {} dead, {} busy",
            segment.slots(),
            census.live,
            census.dead,
            census.busy
        ),
        format!(
            "agent        {}",
            match (agent.beat, lives) {
                (0, _) => "none was ever attached",
                (_, true) => "lives",
                (_, false) => "does not live; start sslsweep shared",
            }
        ),
        format!(
            "engine       {}",
            if lives && agent.upstream { "can be reached" } else { "cannot be reached" }
        ),
        format!(
            "waiting      {}",
            if agent.breaker_open {
                "nobody, after missed deadlines"
            } else {
                "as servers are told"
            }
        ),
        format!("stream       {}-{}", agent.stream.ms, agent.stream.seq),
        format!("epoch        {}", segment.epoch()),
        format!("floor        {}", segment.floor()),
    ];
    for tally in Tally::ALL {
        let (name, help) = about(tally);
        lines.push(format!("{name:<12} {:<12} {help}", agent.count(tally)));
    }
    Ok((lines.join("\n") + "\n", lives && agent.upstream))
}
