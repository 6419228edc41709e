//! The functions that the core calls. No panic passes.

use std::ffi::{c_int, c_uchar, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::slice;

use once_cell::race::OnceBox;
use sslsweep_share_table::{Core, Event, Publication, QuestionsOf, Resumed, Share, State, VERSION};

use crate::context::Context;
use crate::memory;
use crate::openssl::{Api, Connection, Ctx, Session};
use crate::shared::{Shared, report};

static SHARED: OnceBox<Shared> = OnceBox::new();

static SHARE: Share = Share {
    version: VERSION,
    begin,
    end,
    before_connection,
    stand_aside,
    set_names,
    makes_ids,
    make_id,
    fetch,
    found,
    publish,
    confirm,
    forget,
    is_gone,
    re_expire,
    flushed,
};

/// See [`sslsweep_share_table::Open`].
#[unsafe(no_mangle)]
pub extern "C" fn sslsweep_share(core: &'static Core) -> Option<&'static Share> {
    guard(None, || {
        if core.version != VERSION {
            // (What follows the version may be anything.)
            return Some(&SHARE);
        }
        match Shared::open(core) {
            Ok(shared) => SHARED.set(Box::new(shared)).ok().map(|()| &SHARE),
            Err(why) => {
                report(core, &why);
                None
            }
        }
    })
}

/// Runs a step. Should it panic, which would be a defect of ours, nothing is shared by this call.
fn guard<R>(otherwise: R, step: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or(otherwise)
}

/// # Safety
///
/// From [`begin`], and not ended.
unsafe fn context<'a>(state: *const State) -> Option<&'a Context> {
    // SAFETY: as promised.
    unsafe { state.cast::<Context>().as_ref() }
}

/// # Safety
///
/// So many bytes, that stay as they are during the call.
unsafe fn bytes<'a>(start: *const c_uchar, length: usize) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: as promised.
    unsafe { slice::from_raw_parts(start, length) }
}

extern "C" fn begin(libssl: usize, ctx: *mut c_void, library: *mut c_void) -> *mut State {
    guard(ptr::null_mut(), || {
        let made = SHARED.get().and_then(|shared| {
            let api = Api::of(shared.core, libssl)?;
            // SAFETY: the core has just taken the context over, and ends the state before the context.
            let ctx = unsafe { Ctx::alive(api, ctx, library) };
            Context::new(shared, libssl, api, ctx)
        });
        made.and_then(memory::boxed).map_or(ptr::null_mut(), |made| Box::into_raw(made).cast())
    })
}

unsafe extern "C" fn end(state: *mut State) {
    guard((), || {
        if !state.is_null() {
            // SAFETY: as [`begin`] has made it, and it is used no more.
            drop(unsafe { Box::from_raw(state.cast::<Context>()) });
        }
    });
}

unsafe extern "C" fn before_connection(state: *const State) {
    guard((), || {
        // SAFETY: as the core promises.
        if let Some(context) = unsafe { context(state) } {
            context.before_connection();
        }
    });
}

unsafe extern "C" fn stand_aside(state: *const State, event: u32) {
    guard((), || {
        // SAFETY: as the core promises, here and below.
        let context = unsafe { context(state) };
        if let Some((context, event)) = context.zip(Event::from_number(event)) {
            context.stand_aside(event);
        }
    });
}

unsafe extern "C" fn set_names(state: *const State, names: bool) {
    guard((), || {
        // SAFETY: as above.
        if let Some(context) = unsafe { context(state) } {
            context.set_names(names);
        }
    });
}

unsafe extern "C" fn makes_ids(state: *const State) -> bool {
    // SAFETY: as above.
    guard(false, || unsafe { context(state) }.is_some_and(Context::makes_ids))
}

unsafe extern "C" fn make_id(
    state: *const State,
    libssl: usize,
    id: *mut c_uchar,
    length: usize,
) -> bool {
    guard(false, || {
        // SAFETY: room for so many bytes, which nobody else uses meanwhile.
        let id = unsafe { slice::from_raw_parts_mut(id, length) };
        // SAFETY: as above.
        match unsafe { context(state) } {
            Some(context) => context.make_id(id),
            None => SHARED
                .get()
                .and_then(|shared| Api::of(shared.core, libssl))
                // SAFETY: the default library context.
                .is_some_and(|api| unsafe { api.random(ptr::null_mut(), id) }),
        }
    })
}

unsafe extern "C" fn fetch(
    state: *const State,
    ssl: *mut c_void,
    id: *const c_uchar,
    length: usize,
    single_use: bool,
    questions: QuestionsOf,
    resumed: &mut Resumed,
) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: as above.
        let Some(context) = (unsafe { context(state) }) else { return ptr::null_mut() };
        // SAFETY: as above.
        let connection = unsafe { Connection::alive(context.api, ssl) };
        // SAFETY: as above.
        let id = unsafe { bytes(id, length) };
        let Some((session, found)) = context.fetch(connection, id, single_use, questions) else {
            return ptr::null_mut();
        };
        *resumed = found;
        session.into_raw()
    })
}

unsafe extern "C" fn found(state: *const State, session: *mut c_void, resumed: &mut Resumed) {
    guard((), || {
        // SAFETY: as above.
        if let Some(context) = unsafe { context(state) } {
            // SAFETY: as above.
            *resumed = context.found(unsafe { Session::alive(context.api, session) });
        }
    });
}

unsafe extern "C" fn publish(
    state: *const State,
    current: *const State,
    ssl: *mut c_void,
    session: *mut c_void,
    single_use: bool,
    resumed: Option<&Resumed>,
) -> Publication {
    guard(Publication::Not, || {
        // SAFETY: as above.
        let Some(original) = (unsafe { context(state) }) else { return Publication::Not };
        // SAFETY: as above.
        let current = unsafe { context(current) };
        // SAFETY: as above.
        let connection = unsafe { Connection::alive(original.api, ssl) };
        // SAFETY: as above.
        let session = unsafe { Session::alive(original.api, session) };
        original.publish(current, connection, session, single_use, resumed)
    })
}

unsafe extern "C" fn confirm(
    state: *const State,
    current: *const State,
    ssl: *mut c_void,
    resumed: &Resumed,
) -> bool {
    guard(false, || {
        // SAFETY: as above.
        let Some(original) = (unsafe { context(state) }) else { return false };
        // SAFETY: as above.
        let current = unsafe { context(current) };
        // SAFETY: as above.
        let connection = unsafe { Connection::alive(original.api, ssl) };
        original.confirm(current, connection, resumed)
    })
}

unsafe extern "C" fn forget(
    state: *const State,
    version: c_int,
    id: *const c_uchar,
    length: usize,
    expiry: i64,
    stored: bool,
) {
    guard((), || {
        // SAFETY: as above.
        let Some(context) = (unsafe { context(state) }) else { return };
        // SAFETY: as above.
        context.forget(version, unsafe { bytes(id, length) }, expiry, stored);
    });
}

unsafe extern "C" fn is_gone(state: *const State, ssl: *mut c_void, session: *mut c_void) -> bool {
    guard(false, || {
        // SAFETY: as above.
        let Some(context) = (unsafe { context(state) }) else { return false };
        // SAFETY: as above.
        let connection = unsafe { Connection::alive(context.api, ssl) };
        // SAFETY: as above.
        context.is_gone(connection, unsafe { Session::alive(context.api, session) })
    })
}

unsafe extern "C" fn re_expire(state: *const State, session: *mut c_void) {
    guard((), || {
        // SAFETY: as above.
        let Some(context) = (unsafe { context(state) }) else { return };
        // SAFETY: as above.
        context.re_expire(unsafe { Session::alive(context.api, session) });
    });
}

unsafe extern "C" fn flushed(state: *const State, before: i64) {
    guard((), || {
        // SAFETY: as above.
        if let Some(context) = unsafe { context(state) } {
            context.flushed(before);
        }
    });
}
