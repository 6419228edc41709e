//! Whose libssl a call is for, where its version node does not say: several libssl of one node are
//! in this process (Python's own, say, and one that a wheel has brought along).
//!
//! The caller's object is linked with one of them, so that one is found as the dynamic linker would.
//! Walking the stack takes a few hundred nanoseconds, which only such processes spend.

use std::ffi::{CStr, CString, c_int, c_void};

use super::object::{Object, object_of};

/// `_Unwind_Backtrace` and `_Unwind_GetIP` of the unwinder that is linked for Rust's panics.
type Frame = c_void;
type Visit = extern "C" fn(*mut Frame, *mut c_void) -> c_int;
const GO_ON: c_int = 0; // _URC_NO_REASON
const STOP: c_int = 4; // _URC_NORMAL_STOP

unsafe extern "C" {
    fn _Unwind_Backtrace(visit: Visit, walk: *mut c_void) -> c_int;
    fn _Unwind_GetIP(frame: *mut Frame) -> usize;
}

/// The function of this name that the object which called us is linked with. `None` for a call from the
/// program itself, whose libssl is the one that comes after us.
pub(super) fn function_of_caller(name: &CStr) -> Option<*mut c_void> {
    let function = Object::loaded(&calling_object()?)?.function(name);
    (!function.is_null()).then_some(function)
}

/// The path of the object that called us: the first on the stack that is not ours.
fn calling_object() -> Option<CString> {
    struct Walk {
        ours: Option<CString>,
        found: Option<CString>,
    }
    extern "C" fn visit(frame: *mut Frame, walk: *mut c_void) -> c_int {
        // SAFETY: `walk` is what was handed to _Unwind_Backtrace below.
        let walk = unsafe { &mut *walk.cast::<Walk>() };
        // SAFETY: the unwinder passes a valid frame.
        let address = unsafe { _Unwind_GetIP(frame) } as *mut c_void;
        walk.found = object_of(address).filter(|found| walk.ours.as_ref() != Some(found));
        if walk.found.is_some() { STOP } else { GO_ON }
    }
    let mut walk = Walk { ours: object_of(visit as *mut c_void), found: None };
    // SAFETY: `visit` matches the prototype and does not unwind; `walk` outlives the call.
    unsafe { _Unwind_Backtrace(visit, (&raw mut walk).cast()) };
    walk.found
}
