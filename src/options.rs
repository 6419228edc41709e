//! Options from the environment, read once. A set-user-id program has none (contract P7).

use std::ffi::CStr;
use std::fmt;
use std::num::NonZeroUsize;

use once_cell::race::OnceNonZeroUsize;

use crate::{report, system};

/// The operator's options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// `SSLSWEEP_VERBOSE`: say on standard error what was found and done.
    pub(crate) verbose: bool,
    /// `SSLSWEEP_DISABLE`: take nothing over.
    pub(crate) disable: bool,
    /// `SSLSWEEP_STATS`: publish figures for the `sslsweep` command.
    pub(crate) statistics: bool,
    /// `SSLSWEEP_AUTOFLUSH`: `batch`, the manual page's flush after every 255 sessions, or `incremental`,
    /// some sessions at each store.
    pub(crate) incremental: bool,
    /// `SSLSWEEP_EVICTION`: by `expiry`, or by last use (`lru`).
    pub(crate) least_recently_used: bool,
    /// `SSLSWEEP_TICKETS`: the `program`'s tickets, or `stateful` ones, which name sessions in the cache.
    pub(crate) stateful_tickets: bool,
}

/// The one table of options: name, its two values, of which the first is the default, and what the second
/// one sets.
type Field = fn(&mut Options) -> &mut bool;
const TABLE: [(&CStr, [&str; 2], Field); 6] = [
    (c"SSLSWEEP_VERBOSE", ["0", "1"], |options| &mut options.verbose),
    (c"SSLSWEEP_DISABLE", ["0", "1"], |options| &mut options.disable),
    (c"SSLSWEEP_STATS", ["0", "1"], |options| &mut options.statistics),
    (c"SSLSWEEP_AUTOFLUSH", ["batch", "incremental"], |options| &mut options.incremental),
    (c"SSLSWEEP_EVICTION", ["expiry", "lru"], |options| &mut options.least_recently_used),
    (c"SSLSWEEP_TICKETS", ["program", "stateful"], |options| &mut options.stateful_tickets),
];

/// The options as bits, in the order of the table, above a lowest one that is always set.
static OPTIONS: OnceNonZeroUsize = OnceNonZeroUsize::new();

/// The options, and on the first call a line for each value that can't be used.
#[inline]
pub(crate) fn get() -> Options {
    let bits = OPTIONS.get().unwrap_or_else(begin).get();
    let mut options = Options::default();
    for (number, (_, _, field)) in TABLE.into_iter().enumerate() {
        *field(&mut options) = bits >> (number + 1) & 1 != 0;
    }
    options
}

#[cold]
fn begin() -> NonZeroUsize {
    let bits = read(system::variable, |_| {});
    if OPTIONS.set(bits).is_ok() {
        read(system::variable, |complaint| report::line(complaint));
    }
    bits
}

/// Reads the options, and has something to say about each value that can't be used.
fn read<'a>(
    get: impl Fn(&'static CStr) -> Option<&'a CStr>,
    mut complain: impl FnMut(fmt::Arguments<'_>),
) -> NonZeroUsize {
    let mut bits = NonZeroUsize::MIN;
    for (number, (name, [default, other], _)) in TABLE.into_iter().enumerate() {
        let value = get(name).map_or(default.as_bytes(), CStr::to_bytes);
        if value == other.as_bytes() {
            bits |= 2 << number;
        } else if value != default.as_bytes() {
            // Whatever the value holds, the answer is one readable line.
            complain(format_args!(
                "{}={} is neither {default} nor {other}; using {default}",
                report::Text(name),
                value[..value.len().min(64)].escape_ascii(),
            ));
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits, and what is said.
    fn with(value: &'static CStr) -> (usize, Vec<String>) {
        let mut complaints = Vec::new();
        let get = |name| (name == c"SSLSWEEP_DISABLE").then_some(value);
        let bits = read(get, |complaint| complaints.push(complaint.to_string()));
        (bits.get(), complaints)
    }

    #[test]
    fn p7_values() {
        assert_eq!(with(c"0"), (1, vec![]));
        assert_eq!(with(c"1").0, 1 | 2 << 1);
        for bad in [c"", c"2", c"yes", c"1 ", c"01"] {
            let (bits, complaints) = with(bad);
            assert_eq!(bits, 1);
            assert_eq!(complaints.len(), 1);
            assert!(complaints[0].starts_with("SSLSWEEP_DISABLE="), "{complaints:?}");
            assert!(complaints[0].ends_with("using 0"), "{complaints:?}");
        }
        assert!(!with(c"a\nb\x1b").1[0].contains(['\n', '\x1b']), "one line, printable");
    }
}
