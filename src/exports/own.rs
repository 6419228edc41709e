//! sslsweep's own functions.
#![allow(non_camel_case_types, reason = "names of the C API")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::time::{Duration, Instant};

use super::taken_over;
use crate::cache::Cutoff;
use crate::libssl::call_program;
use crate::libssl::types::{CtxRef, ssl_ctx_st, ssl_session_st};
use crate::stack::here;
use crate::takeover::context::{Budget, Context, snapshot};
use crate::time;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };

/// sslsweep_version() returns the version of sslsweep in this process, such as "0.1.0".
///
/// The string is static. A program that may run without sslsweep can look the function up by
/// dlsym(RTLD_DEFAULT, "sslsweep_version"). No locks, no callbacks.
#[unsafe(no_mangle)]
pub extern "C" fn sslsweep_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The version of struct sslsweep_statistics. A library with more members has a higher version.
pub const SSLSWEEP_API_VERSION: u32 = 1;

/// The steps of a histogram of durations. Step 0 counts durations below a microsecond, each further step ends at twice
/// the duration of the one before, and the last step has no end.
pub const SSLSWEEP_HISTOGRAM_STEPS: usize = 24;

const _: () = assert!(SSLSWEEP_HISTOGRAM_STEPS == sslsweep_figures::STEPS);

/// The result of sslsweep_flush().
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct sslsweep_flushed {
    /// Sessions removed.
    pub removed: u64,
    /// Sessions that were due and are still stored when the function returns.
    pub still_due: u64,
    /// Nanoseconds from the call to its return, with the callbacks.
    pub took_ns: u64,
}

/// sslsweep_flush() is SSL_CTX_flush_sessions_ex() with a budget. It stops after `most_sessions` sessions or
/// `most_microseconds`, whichever comes first, and the next call continues. A program can thus spread a large flush
/// over its idle moments.
///
/// @param ctx                The context, alive.
/// @param tm                 Seconds since the epoch, as for SSL_CTX_flush_sessions_ex(): 0 for all sessions.
/// @param most_sessions      The most sessions to remove; 0 for any number.
/// @param most_microseconds  The time after which no further batch begins; 0 for any time. The time is checked
///                           after each batch of a few dozen sessions and its callbacks; a call does at least one.
/// @param flushed            The result; may be NULL.
///
/// Returns 1. Returns 0 and does nothing if `ctx` is NULL or not a context that sslsweep manages.
///
/// Sessions leave as in SSL_CTX_flush_sessions_ex(): earliest expiry first, remove callbacks with no lock held.
/// With a budget, the callbacks of a batch run before the next batch, so a session that a callback stores
/// again may be removed by the same call.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sslsweep_flush(
    ctx: *mut ssl_ctx_st,
    tm: libc::time_t,
    most_sessions: u64,
    most_microseconds: u64,
    flushed: *mut sslsweep_flushed,
) -> c_int {
    // SAFETY: the caller's own context, alive during the call.
    let Some(context) = taken_over(unsafe { CtxRef::new(ctx) }) else { return 0 };
    let cutoff = Cutoff::at(tm);
    let budget = Budget {
        sessions: (most_sessions > 0).then_some(most_sessions),
        time: (most_microseconds > 0).then(|| Duration::from_micros(most_microseconds)),
    };
    let variable = 0u8;
    let begun = Instant::now();
    let removed = context.flush_for_caller(cutoff, budget, here(&variable));
    let took = begun.elapsed();
    // SAFETY: NULL, or the caller's variable.
    if let Some(flushed) = unsafe { flushed.as_mut() } {
        *flushed = sslsweep_flushed {
            removed,
            still_due: context.cache.count_due(cutoff),
            took_ns: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        };
    }
    context.obey();
    1
}

/// The figures of a context's cache. Counters begin with the context.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct sslsweep_statistics {
    /// SSLSWEEP_API_VERSION of the library that filled this in.
    pub version: u32,
    /// Unused, 0.
    pub reserved: u32,
    /// Sessions stored now.
    pub sessions: u64,
    /// The most sessions, as SSL_CTX_sess_set_cache_size() set it; 0 for any number.
    pub limit: u64,
    /// Sessions that have expired at this moment and are still stored.
    pub due: u64,
    /// Sessions stored under a new key or in place of another one.
    pub stores: u64,
    /// Lookups that found a session here.
    pub hits: u64,
    /// Lookups that found none; with SSL_SESS_CACHE_NO_INTERNAL_LOOKUP, lookups by the program's get callback.
    pub misses: u64,
    /// Sessions that the program's get callback has provided.
    pub external_hits: u64,
    /// Sessions evicted from a full cache.
    pub evictions: u64,
    /// Sessions that a flush removed.
    pub flushed: u64,
    /// Sessions that were removed one by one.
    pub removals: u64,
    /// Flushes that removed something, of any kind.
    pub flushes: u64,
    /// Batches of these flushes.
    pub batches: u64,
    /// Nanoseconds of the longest batch, from asking for the lock to letting it go.
    pub longest_batch_ns: u64,
    /// Histogram of the durations of flushes, with their callbacks.
    pub flush_times: [u64; SSLSWEEP_HISTOGRAM_STEPS],
    /// Histogram of the durations of batches.
    pub batch_times: [u64; SSLSWEEP_HISTOGRAM_STEPS],
}

/// sslsweep_get_statistics() writes the figures of the cache of `ctx` to `statistics`.
///
/// @param ctx         The context, alive.
/// @param statistics  Receives the figures.
/// @param size        sizeof(*statistics). A library that knows more members fills in only these, and one
///                    that knows fewer sets the others to 0.
///
/// Returns 1. Returns 0 and writes nothing if `ctx` is NULL or not a context that sslsweep manages, if
/// `statistics` is NULL, or if `size` is too small for `version`.
///
/// No callbacks run. Locks are held for a few instructions each. Other threads continue meanwhile, so the members
/// may be of slightly different moments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sslsweep_get_statistics(
    ctx: *mut ssl_ctx_st,
    statistics: *mut sslsweep_statistics,
    size: usize,
) -> c_int {
    if statistics.is_null() || size < size_of::<u32>() {
        return 0;
    }
    // SAFETY: the caller's own context, alive during the call.
    let Some(context) = taken_over(unsafe { CtxRef::new(ctx) }) else { return 0 };
    let known = statistics_of(&context);
    let common = size.min(size_of_val(&known));
    // SAFETY: the caller has `size` bytes there, and all of `known` is initialised integers.
    unsafe { statistics.cast::<u8>().copy_from((&raw const known).cast(), common) };
    let rest = statistics.cast::<u8>().wrapping_add(common);
    // SAFETY: within the caller's `size` bytes.
    unsafe { rest.write_bytes(0, size - common) };
    1
}

fn statistics_of(context: &Context) -> sslsweep_statistics {
    let done = context.cache.statistics();
    let events = &context.events;
    let flush_times = events.flush_times();
    sslsweep_statistics {
        version: SSLSWEEP_API_VERSION,
        reserved: 0,
        sessions: context.cache.len() as u64,
        limit: context.size().max(0) as u64,
        due: context.cache.count_due(Cutoff::Before(time::now())),
        stores: done.stored,
        hits: done.hits,
        misses: context.all_misses(),
        external_hits: context.callback_hits() as u64,
        evictions: done.evicted,
        flushed: done.flushed,
        removals: done.taken,
        flushes: flush_times.iter().sum(),
        batches: done.batches,
        longest_batch_ns: events.longest_batch(),
        flush_times,
        batch_times: events.batch_times(),
    }
}

/// sslsweep_for_each_session() calls `visit` for each session that the cache of `ctx` holds at this moment, in
/// the order of their addresses.
///
/// @param ctx      The context, alive.
/// @param visit    Called with each session and with `argument`; returns 0 to continue, anything else to stop.
/// @param argument Passed to `visit`.
///
/// Returns the number of sessions visited, or -1 if `ctx` is NULL or not a context that sslsweep manages, if
/// `visit` is NULL, or if memory runs out.
///
/// The function visits a snapshot: each session in it stays alive until `visit` has seen it, whatever happens to
/// the cache meanwhile. `visit` runs with no lock held and may call any function of OpenSSL, including those that
/// change this cache. Other threads may use the context meanwhile, unlike with SSL_CTX_sessions(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sslsweep_for_each_session(
    ctx: *mut ssl_ctx_st,
    visit: Option<unsafe extern "C-unwind" fn(*mut ssl_session_st, *mut c_void) -> c_int>,
    argument: *mut c_void,
) -> i64 {
    // SAFETY: the caller's own context, alive during the call.
    let context = taken_over(unsafe { CtxRef::new(ctx) });
    let (Some(context), Some(visit)) = (context, visit) else { return -1 };
    let Some(sessions) = snapshot(&context.cache) else { return -1 };
    let mut visited = 0;
    for session in sessions {
        visited += 1;
        let session = session.get().any().as_ptr();
        // SAFETY: the caller's function, with a session that is alive.
        if call_program(|| unsafe { visit(session, argument) }) != 0 {
            break;
        }
    }
    visited
}
