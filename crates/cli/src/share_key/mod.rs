//! `sslsweep share-key`: makes the key file of shared sessions, and rotates its keys.
//!
//! A server reads the file when it starts or reloads. So machines and processes are one step apart at times, and the
//! steps are such that what one seals the other opens: a key opens everywhere before it seals anywhere, and seals
//! nowhere any more before it goes.

mod file;
mod lines;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sslsweep_seal::{KeyError, Keys};
use sslsweep_segment::Segment;

use crate::arguments::Step;
use crate::output::{Failure, print};
use crate::text::{plain, shown};

/// Takes this step with the key file, or with the segment.
pub fn share_key(step: Step, file: Option<&Path>, segment: Option<&Path>) -> Result<(), Failure> {
    let wrong = |it| Err(Failure::new(2, format!("share-key {it}")));
    let (path, done) = match (step, file, segment) {
        (Step::New, Some(path), _) => (path, new(path)),
        (Step::Stage, Some(path), _) => {
            (path, change(path, |text| lines::stage(text, &new_line()?)))
        }
        (Step::Promote, Some(path), _) => (path, change(path, lines::promote)),
        (Step::Retire, Some(path), _) => (path, change(path, lines::retire)),
        (Step::Revoke, _, Some(path)) => (path, revoke(path)),
        (Step::Revoke, ..) => return wrong("revoke needs --segment PATH"),
        _ => return wrong("new, stage, promote and retire need the key file, and no segment"),
    };
    let said = done.map_err(|why| Failure::new(1, format!("{}: {why}", shown(path))))?;
    Ok(print(&said)?)
}

fn new(path: &Path) -> Result<String, String> {
    let line = new_line()?;
    file::make(path, &lines::joined(&[line.as_bytes()]))?;
    Ok(format!("key {} seals and opens\n", lines::id(line.as_bytes())))
}

/// Replaces the file by what `edit` makes of it, and returns what `edit` says.
fn change(
    path: &Path,
    edit: impl FnOnce(&[u8]) -> Result<lines::Edited, String>,
) -> Result<String, String> {
    let locked = file::lock(path)?;
    let text = locked.text().map_err(|error| why(&error))?;
    Keys::parse(&text).map_err(|error| why(&error))?;
    let edited = edit(&text)?;
    Keys::parse(&edited.text).map_err(|error| why(&error))?;
    file::replace(path, locked.file(), &edited.text)?;
    Ok(edited.said)
}

/// Begins a new epoch in the segment at this path.
fn revoke(path: &Path) -> Result<String, String> {
    let about = std::fs::symlink_metadata(path)
        .map_err(|error| format!("there is no segment: {}", plain(&error)))?;
    let segment = Segment::host(path, about.len()).map_err(|error| error.to_string())?;
    // The time, too: a machine that has restarted may have forgotten the epoch of its fleet, whose next one this has to be.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let epoch = segment.epoch().saturating_add(1).max(now);
    segment.raise_epoch(epoch);
    Ok(format!("epoch {epoch} has begun; all shared sessions of earlier ones are revoked\n"))
}

fn new_line() -> Result<zeroize::Zeroizing<String>, String> {
    sslsweep_seal::new_line().map_err(|error| format!("there is no randomness: {}", plain(&error)))
}

/// The reason as one line, without the number that Rust adds.
fn why(error: &KeyError) -> String {
    match error {
        KeyError::File(error) => format!("the file cannot be read: {}", plain(error)),
        other => other.to_string(),
    }
}
