//! `sslsweep share-key`: makes the key file of shared sessions, and rotates its keys.
//!
//! A server reads the file when it starts or reloads. So machines and processes are one step apart at times, and the
//! steps are such that what one seals the other opens: a key opens everywhere before it seals anywhere, and seals
//! nowhere any more before it goes.

mod file;
mod lines;

use std::path::Path;

use sslsweep_seal::{KeyError, Keys};

use crate::arguments::Step;
use crate::output::{Failure, print};
use crate::text::{plain, shown};

/// Takes this step with the file.
pub fn share_key(step: Step, path: &Path) -> Result<(), Failure> {
    let done = match step {
        Step::New => new(path),
        Step::Stage => change(path, |text| lines::stage(text, &new_line()?)),
        Step::Promote => change(path, lines::promote),
        Step::Retire => change(path, lines::retire),
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
