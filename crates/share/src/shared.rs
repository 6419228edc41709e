//! What all contexts of the process have: the segment, the keys of the moment, and the core.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use sslsweep_seal::Keys;
use sslsweep_segment::Segment;
use sslsweep_share_table::{Core, EXCLUDED, Event, Origin};

use crate::flushed::CLOCKS;
use crate::options::{self, Options, Place};

/// What all contexts of the process have.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) core: &'static Core,
    pub(crate) segment: Segment,
    keys: Source,
    /// No context shares, because of the program.
    pub(crate) is_excluded: bool,
    /// The segment may have an agent, which has a fleet.
    pub(crate) has_fleet: bool,
    /// How long a handshake may wait for the fleet.
    pub(crate) wait: Duration,
    /// The segment's epoch, as far as this process has seen it rise,
    epoch: AtomicU64,
    /// and when it has seen that last; 0: never.
    revoked: AtomicI64,
}

/// Where keys come from.
#[derive(Debug)]
enum Source {
    Family(Arc<Keys>),
    /// With what was read last. (Only tried: a fork may have left it locked. Then the file is read anew each time.)
    File {
        path: PathBuf,
        read: Mutex<(Stamp, Arc<Keys>)>,
    },
}

/// What changes with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp([i64; 5]);

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let about = fs::symlink_metadata(path)?;
        let (device, inode, bytes) = (about.dev() as i64, about.ino() as i64, about.size() as i64);
        Ok(Self([device, inode, bytes, about.mtime(), about.mtime_nsec()]))
    }
}

impl Shared {
    /// Opens what the environment asks for. `Err` is what there is to say if it cannot be had.
    pub(crate) fn open(core: &'static Core) -> Result<Self, String> {
        let share = std::env::var_os("SSLSWEEP_SHARE").unwrap_or_default();
        let options = Options::read(share, std::env::var_os("SSLSWEEP_SHARE_KEY"));
        let Options { place, bytes } = options.map_err(|bad| bad.to_string())?;
        let has_fleet = matches!(place, Place::Host { .. });
        let wait = options::wait(std::env::var_os("SSLSWEEP_SHARE_WAIT"));
        let wait = wait.unwrap_or_else(|bad| {
            report(core, &bad.to_string());
            Duration::ZERO
        });
        let (segment, keys) = match place {
            Place::Family => {
                let segment = Segment::family(bytes);
                let keys =
                    Keys::random().map_err(|error| format!("no sharing: no key: {error}"))?;
                (
                    segment.map_err(|error| format!("no sharing: {error}"))?,
                    Source::Family(Arc::new(keys)),
                )
            }
            Place::Host { path, keys } => {
                // The keys first: a segment without them would be of no use.
                let failed = |error: &dyn std::fmt::Display| {
                    format!("no sharing: {}: {error}", keys.display())
                };
                let stamp = Stamp::of(&keys).map_err(|error| failed(&error))?;
                let read = Keys::read(&keys).map_err(|error| failed(&error))?;
                let segment = Segment::host(&path, bytes);
                let failed = |error| format!("no sharing: {}: {error}", path.display());
                let segment = segment.map_err(failed)?;
                let read = Mutex::new((stamp, Arc::new(read)));
                (segment, Source::File { path: keys, read })
            }
        };
        let excluded = excluded();
        if let Some(program) = excluded {
            report(
                core,
                &format!(
                    "no sharing: {program} takes a resumed session for evidence of who the client is"
                ),
            );
        }
        let is_excluded = excluded.is_some();
        let (epoch, revoked) = (AtomicU64::new(segment.epoch()), AtomicI64::new(0));
        Ok(Self { core, segment, keys, is_excluded, has_fleet, wait, epoch, revoked })
    }

    /// The epoch: what was made in an earlier one was revoked.
    pub(crate) fn epoch(&self) -> u64 {
        let epoch = self.segment.epoch();
        if self.epoch.load(Ordering::Acquire) < epoch {
            // The time first, so that who sees the epoch sees it.
            self.revoked.fetch_max(now(), Ordering::Relaxed);
            self.epoch.fetch_max(epoch, Ordering::Release);
        }
        epoch
    }

    /// What was published up to this time may have been removed; 0: nothing.
    pub(crate) fn floor(&self) -> i64 {
        i64::try_from(self.segment.floor()).unwrap_or(i64::MAX)
    }

    /// Returns whether what comes from this origin may be resumed. `Err` tells why not.
    pub(crate) fn check_origin(&self, origin: &Origin) -> Result<(), Event> {
        if origin.epoch < self.epoch() {
            return Err(Event::RefusedRevoked);
        }
        // Another machine's clock may be ahead. What comes from the future is from before a clock was set back.
        let ahead = if origin.home == self.segment.home() { 0 } else { CLOCKS };
        let (floor, now) = (self.floor(), now());
        let is_of_before =
            origin.time <= floor.saturating_add(ahead) || origin.time > now.saturating_add(ahead);
        if floor > 0 && is_of_before {
            return Err(Event::RefusedGap);
        }
        Ok(())
    }

    /// Sessions that were made up to this time are gone, wherever they are stored; 0: none. That is the floor, or when this
    /// process has learned of a revocation: sessions have no epoch.
    pub(crate) fn gone_until(&self) -> i64 {
        self.epoch();
        self.floor().max(self.revoked.load(Ordering::Relaxed))
    }

    /// The keys for a context that begins: those of the file as it is now, if it can be read still and is well formed.
    /// `None` if it has to be read and cannot.
    pub(crate) fn keys(&self) -> Option<Arc<Keys>> {
        let (path, read) = match &self.keys {
            Source::Family(keys) => return Some(Arc::clone(keys)),
            Source::File { path, read } => (path, read),
        };
        let Ok(mut read) = read.try_lock() else { return Keys::read(path).map(Arc::new).ok() };
        if let Some(now) = Stamp::of(path).ok().filter(|now| *now != read.0) {
            match Keys::read(path) {
                Ok(keys) => read.1 = Arc::new(keys),
                Err(error) => {
                    let path = path.display();
                    self.report(&format!("{path}: {error}; the former keys are kept"));
                }
            }
            read.0 = now;
        }
        Some(Arc::clone(&read.1))
    }

    pub(crate) fn report(&self, text: &str) {
        report(self.core, text);
    }

    pub(crate) fn count(&self, event: Event) {
        (self.core.event)(event.number());
    }
}

pub(crate) fn report(core: &Core, text: &str) {
    (core.report)(text.as_ptr(), text.len());
}

/// The excluded program that this process runs.
fn excluded() -> Option<&'static str> {
    let path = fs::read_link("/proc/self/exe").ok()?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    EXCLUDED.into_iter().find(|&program| program == name.trim_end_matches(" (deleted)"))
}

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use sslsweep_share_table::VERSION;

    use super::*;

    extern "C" fn find(_: usize, _: *const std::ffi::c_char) -> *mut std::ffi::c_void {
        std::ptr::null_mut()
    }

    extern "C" fn report_nothing(_: *const u8, _: usize) {}

    extern "C" fn count_nothing(_: u32) {}

    static CORE: Core =
        Core { version: VERSION, find, report: report_nothing, event: count_nothing };

    fn shared() -> Shared {
        Shared {
            core: &CORE,
            segment: Segment::family(1 << 20).unwrap(),
            keys: Source::Family(Arc::new(Keys::random().unwrap())),
            is_excluded: false,
            has_fleet: true,
            wait: Duration::ZERO,
            epoch: AtomicU64::new(0),
            revoked: AtomicI64::new(0),
        }
    }

    #[test]
    fn s3_a_gap_hides_what_a_clock_that_is_ahead_has_dated_later() {
        let shared = shared();
        let home = shared.segment.home();
        let check =
            |home, time, epoch| shared.check_origin(&Origin { home, number: 1, time, epoch });
        assert_eq!(check(home, 0, 0), Ok(()), "there is no floor");
        shared.segment.raise_floor(1000);
        assert_eq!(check(home, 1000, 0), Err(Event::RefusedGap));
        assert_eq!(check(home, 1001, 0), Ok(()), "this machine's clock is exact");
        assert_eq!(check(home ^ 1, 1000 + CLOCKS, 0), Err(Event::RefusedGap));
        assert_eq!(check(home ^ 1, 1001 + CLOCKS, 0), Ok(()));
        shared.segment.raise_epoch(2);
        assert_eq!(check(home, 1001, 1), Err(Event::RefusedRevoked));
        assert_eq!(check(home, 1001, 2), Ok(()));
        shared.segment.raise_floor(u64::MAX);
        assert_eq!(check(home ^ 1, i64::MAX, 2), Err(Event::RefusedGap));
    }

    #[test]
    fn s3_a_floor_and_a_revocation_end_what_was_made_before() {
        let shared = shared();
        assert_eq!((shared.epoch(), shared.floor(), shared.gone_until()), (0, 0, 0));
        shared.segment.raise_floor(100);
        assert_eq!((shared.floor(), shared.gone_until()), (100, 100));
        let before = now();
        shared.segment.raise_epoch(3);
        let seen = shared.gone_until();
        assert!((before..=now()).contains(&seen), "{seen}");
        assert_eq!((shared.epoch(), shared.floor()), (3, 100));
        // The time of a revocation is when it was seen first.
        shared.revoked.store(200, Ordering::Relaxed);
        assert_eq!(shared.gone_until(), 200);
        shared.segment.raise_epoch(4);
        assert!(shared.gone_until() >= before, "another one");
        shared.segment.raise_floor(u64::MAX);
        assert_eq!(shared.gone_until(), i64::MAX);
    }
}
