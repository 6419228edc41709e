//! Options from the environment, read once. A set-user-id program has none (contract P7).

use std::ffi::CStr;

use once_cell::race::OnceBox;

use crate::report;

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
}

/// The one table of options: name, its two values, of which the first is the default, and what the second
/// one sets.
type Field = fn(&mut Options) -> &mut bool;
const TABLE: [(&CStr, [&str; 2], Field); 5] = [
    (c"SSLSWEEP_VERBOSE", ["0", "1"], |options| &mut options.verbose),
    (c"SSLSWEEP_DISABLE", ["0", "1"], |options| &mut options.disable),
    (c"SSLSWEEP_STATS", ["0", "1"], |options| &mut options.statistics),
    (c"SSLSWEEP_AUTOFLUSH", ["batch", "incremental"], |options| &mut options.incremental),
    (c"SSLSWEEP_EVICTION", ["expiry", "lru"], |options| &mut options.least_recently_used),
];

static DEFAULT: Options = Options {
    verbose: false,
    disable: false,
    statistics: false,
    incremental: false,
    least_recently_used: false,
};

static OPTIONS: OnceBox<Options> = OnceBox::new();

/// The options, and on the first call a line for each value that can't be used.
#[inline]
pub(crate) fn get() -> &'static Options {
    OPTIONS.get().unwrap_or_else(begin)
}

#[cold]
fn begin() -> &'static Options {
    let (options, complaints) = read(|name| {
        // SAFETY: the name is a string.
        let value = unsafe { secure_getenv(name.as_ptr()) };
        // SAFETY: a value that is not NULL is a string in the environment.
        (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) }.to_owned())
    });
    if OPTIONS.set(Box::new(options)).is_ok() {
        complaints.iter().for_each(report::line);
    }
    OPTIONS.get().unwrap_or(&DEFAULT)
}

unsafe extern "C" {
    /// glibc and musl; the `libc` crate has it not on every target.
    fn secure_getenv(name: *const std::ffi::c_char) -> *mut std::ffi::c_char;
}

fn read(get: impl Fn(&CStr) -> Option<std::ffi::CString>) -> (Options, Vec<String>) {
    let mut options = Options::default();
    let mut complaints = Vec::new();
    for (name, [default, other], field) in TABLE {
        match get(name).as_deref().map(CStr::to_bytes) {
            None => {}
            Some(value) if value == default.as_bytes() => {}
            Some(value) if value == other.as_bytes() => *field(&mut options) = true,
            Some(value) => complaints.push(format!(
                "{}={} is neither {default} nor {other}; using {default}",
                name.to_string_lossy(),
                // Whatever the value holds, the answer is one readable line.
                value
                    .iter()
                    .take(64)
                    .flat_map(|&byte| byte.escape_ascii())
                    .map(char::from)
                    .collect::<String>(),
            )),
        }
    }
    (options, complaints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &'static CStr) -> (Options, Vec<String>) {
        read(|name| (name == c"SSLSWEEP_DISABLE").then(|| value.to_owned()))
    }

    #[test]
    fn p7_values() {
        assert_eq!(with(c"0"), (Options::default(), vec![]));
        assert_eq!(with(c"1").0, Options { disable: true, ..DEFAULT });
        for bad in [c"", c"2", c"yes", c"1 ", c"01"] {
            let (options, complaints) = with(bad);
            assert_eq!(options, Options::default());
            assert_eq!(complaints.len(), 1);
            assert!(complaints[0].starts_with("SSLSWEEP_DISABLE="), "{complaints:?}");
            assert!(complaints[0].ends_with("using 0"), "{complaints:?}");
        }
        assert!(!with(c"a\nb\x1b").1[0].contains(['\n', '\x1b']), "one line, printable");
    }
}
