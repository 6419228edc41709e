//! The beginning of a context, and its end: noticed in time to remove its sessions (C15).
//!
//! Two nets. The first is an ex_data free function, registered before any of the program's, so that
//! it runs with no lock held and while the program's ex_data still stands. But it belongs to the
//! default `OSSL_LIB_CTX` of the registration and dies with `OPENSSL_cleanup`. So, second, each
//! context that stores has a sentinel in its real internal cache: `SSL_CTX_free` flushes that, and
//! hands the sentinel to our remove callback. Up to OpenSSL 3.6.3 that comes under the context's
//! lock, and no real function that takes it may be called on that context.
//!
//! The sentinel also tells of a flush of everything past us (P12).

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::context::{Context, Trampolines};
use super::watch::watch;
use super::{registry, shared, summary, trampolines};
use crate::guard::{guard, uncancelled};
use crate::libssl::types::*;
use crate::libssl::{Api, Libssl, Session, SessionRef};
use crate::memory;
use crate::sharing::Sharing;

// --- Beginning -------------------------------------------------------------------------------

static BEGUN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The context that this thread has taken over last.
    static ADOPTED: Cell<*mut SSL_CTX> = const { Cell::new(std::ptr::null_mut()) };
    /// The generator of session ids that a context got on this thread before it was taken over, and that context's address.
    static EARLY: Cell<(usize, Option<GenerateCallback>)> = const { Cell::new((0, None)) };
}

/// Makes a context by the real function, in this library context, and takes it over.
///
/// Where libssl goes through the PLT, its `SSL_CTX_new` comes back to our `SSL_CTX_new_ex`, which
/// takes the context over first. (Marking the thread as inside libssl would not do: the program's
/// ex_data functions run in there.)
pub(crate) fn make(
    libssl: &'static Libssl,
    trampolines: Trampolines,
    library: *mut OSSL_LIB_CTX,
    new: impl FnOnce() -> *mut SSL_CTX,
) -> *mut SSL_CTX {
    ADOPTED.set(std::ptr::null_mut());
    EARLY.set((0, None));
    let made = new();
    if ADOPTED.replace(std::ptr::null_mut()) != made {
        // SAFETY: it was just made, and its maker has not seen it.
        if let Some(ctx) = unsafe { CtxRef::new(made) } {
            // Secrets are made, from random bytes.
            uncancelled(|| guard((), || adopt(libssl, trampolines, library, ctx)));
        }
    }
    ADOPTED.set(made);
    made
}

/// Takes over a context that the real libssl has just made. Nothing is done with a libssl that is left alone.
fn adopt(
    libssl: &'static Libssl,
    trampolines: Trampolines,
    library: *mut OSSL_LIB_CTX,
    ctx: CtxRef<'_>,
) {
    let Some(api) = &libssl.api else { return };
    let entered = !shared::is_left(api, ctx) && {
        watch_contexts(libssl, api);
        enter(libssl, api, trampolines, library, ctx)
    };
    if !entered {
        // It stays as it is, perhaps at the address of one that another process has freed.
        registry::find(ctx).iter().for_each(registry::forget);
    }
}

/// Returns whether there was memory for that.
fn enter(
    libssl: &'static Libssl,
    api: &'static Api,
    trampolines: Trampolines,
    library: *mut OSSL_LIB_CTX,
    ctx: CtxRef<'_>,
) -> bool {
    let number = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
    let context =
        Context::new(libssl, api, trampolines, library, ctx, number).and_then(memory::arc);
    let Some(context) = context.filter(registry::enter) else { return false };
    // With the callbacks that the program's ex_data functions may have set while the context was made.
    context.take_in();
    let (early, generate) = EARLY.get();
    let generate = generate.filter(|_| early == ctx.address());
    // (Else libssl's own is there already.)
    if generate.is_some() || context.sharing().is_some_and(Sharing::makes_ids) {
        set_generator(&context, generate);
    }
    summary::begun(number);
    true
}

/// The program sets a generator of session ids on a context that is not taken over. If it is just being made, the program's
/// ex_data functions do that, and libssl does not tell it later (P12).
pub(crate) fn note_early_generator(ctx: CtxRef<'_>, generate: Option<GenerateCallback>) {
    EARLY.set((ctx.address(), generate));
}

/// Sets the program's generator of session ids, or none. Returns what the real function does.
pub(crate) fn set_generator(context: &Context, generate: Option<GenerateCallback>) -> c_int {
    context.set_generate(generate);
    let makes_ids = context.sharing().is_some_and(Sharing::makes_ids);
    let installed = trampolines::generator_for(context.libssl, generate, makes_ids);
    let set = context.libssl.real.SSL_CTX_set_generate_session_id;
    // SAFETY: a live context; our generators live as long as the process.
    set.map_or(0, |set| unsafe { set(Some(context.ctx()), installed) })
}

/// Makes sure that the end of contexts is noticed: before the first context under this default library context, and
/// before the program's first ex_data index.
pub(crate) fn watch_contexts(libssl: &'static Libssl, api: &Api) {
    watch(libssl, api, CRYPTO_EX_INDEX_SSL_CTX, Some(context_made), context_freed);
}

// --- First net: ex_data ----------------------------------------------------------------------

/// Forgets the state of an earlier context at this address whose end went unnoticed, before the program's ex_data functions
/// set something on the new one: the old state would take it in.
unsafe extern "C-unwind" fn context_made(
    ctx: *mut c_void,
    _value: *mut c_void,
    _table: *mut c_void,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    // SAFETY: the context is being made.
    let stale = unsafe { CtxRef::new(ctx.cast()) }.and_then(registry::find);
    stale.iter().for_each(|context| guard((), || registry::forget(context)));
}

unsafe extern "C-unwind" fn context_freed(
    ctx: *mut c_void,
    _value: *mut c_void,
    _table: *mut c_void,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    // SAFETY: the context is alive until its ex_data is freed.
    let Some(context) = unsafe { CtxRef::new(ctx.cast()) }.and_then(registry::find) else { return };
    context.end();
    context.remove_sentinel();
    // Where libssl goes through the PLT, its own flush has come to us instead. What the program put
    // into the real cache past us comes to our remove callback, which lets it wait: this flush
    // holds the context's lock.
    context.flush_real();
    context.finish_leaving();
    guard((), || registry::forget(&context));
}

// --- Second net: the sentinel ----------------------------------------------------------------

/// Handles that libssl removes from its own cache what we put there: the sentinel, or a stand-in.
/// Returns whether it was that.
pub(super) fn handle_own(context: &Arc<Context>, session: SessionRef<'_>) -> bool {
    let is_sentinel = |planted: &Session| planted.get() == session;
    if context.sentinel.take(is_sentinel).is_none() {
        return context.take_stand_in(session);
    }
    let is_watched = context.is_watched();
    if context.is_being_freed().unwrap_or(!is_watched) {
        if !is_watched {
            context.sentinel.fall_here();
            context.end();
            guard((), || registry::forget(context));
        }
    } else if !context.may_real_cache_evict() || context.ask_real(SSL_CTRL_SESS_NUMBER) == 0 {
        context.flush_after_libssl();
    }
    // Else libssl may have made room in its cache, for a session that is being added past us.
    true
}
