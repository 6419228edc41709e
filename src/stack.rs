//! This thread and its stack, as the unwinder sees it that is linked for Rust's panics.

use std::ffi::{c_int, c_void};

type Context = c_void;
type Visit = extern "C" fn(*mut Context, *mut c_void) -> c_int;
const GO_ON: c_int = 0; // _URC_NO_REASON
const STOP: c_int = 4; // _URC_NORMAL_STOP

unsafe extern "C" {
    fn _Unwind_Backtrace(visit: Visit, walk: *mut c_void) -> c_int;
    fn _Unwind_GetIP(frame: *mut Context) -> usize;
    fn _Unwind_GetCFA(frame: *mut Context) -> usize;
    fn _Unwind_FindEnclosingFunction(address: *mut c_void) -> *mut c_void;
}

/// A number that no other living thread has.
pub(crate) fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| std::ptr::from_ref(here) as usize)
}

/// A call that has not returned.
pub(crate) struct Frame {
    /// The address at which it goes on.
    pub(crate) address: *mut c_void,
    /// The lowest address of its part of the stack.
    bottom: usize,
}

/// Visits the calls on this thread's stack, innermost first, until `visit` says that it has seen enough.
pub(crate) fn walk<F: FnMut(Frame) -> bool>(mut visit: F) {
    extern "C" fn one<F: FnMut(Frame) -> bool>(frame: *mut Context, visit: *mut c_void) -> c_int {
        // SAFETY: the closure that is handed to _Unwind_Backtrace below.
        let visit = unsafe { &mut *visit.cast::<F>() };
        // SAFETY: the unwinder passes a valid frame.
        let address = unsafe { _Unwind_GetIP(frame) } as *mut c_void;
        // SAFETY: as above.
        let bottom = unsafe { _Unwind_GetCFA(frame) };
        if visit(Frame { address, bottom }) { STOP } else { GO_ON }
    }
    // SAFETY: `one` matches the prototype and does not unwind; the closure outlives the call.
    unsafe { _Unwind_Backtrace(one::<F>, (&raw mut visit).cast()) };
}

/// Returns whether a call of `function`, with a variable at this address of the stack, has still to return. It has
/// not, but will never, if somebody left it by longjmp.
pub(crate) fn has_still_to_return(function: *mut c_void, variable: usize) -> bool {
    let (mut inner, mut found) = (None::<Frame>, false);
    walk(|frame| {
        if let Some(inner) = inner.replace(Frame { ..frame }) {
            if (inner.bottom..frame.bottom).contains(&variable) {
                // One back: a call that is the last of its function returns to behind it.
                let address = inner.address.wrapping_byte_sub(1);
                // SAFETY: any address may be asked about.
                found = unsafe { _Unwind_FindEnclosingFunction(address) } == function;
                return true;
            }
        }
        false
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn outer(ask: fn(usize) -> bool) -> (bool, usize) {
        let variable = 0u8;
        let address = std::hint::black_box(&raw const variable) as usize;
        (ask(address), address)
    }

    #[inline(never)]
    fn another(variable: usize) -> bool {
        std::hint::black_box([1u8; 256]);
        has_still_to_return(outer as *mut c_void, variable)
    }

    #[test]
    fn a_call_is_found_until_it_returns() {
        let (during, variable) = outer(another);
        assert!(during);
        assert!(!another(variable));
        assert!(!outer(|address| has_still_to_return(another as *mut c_void, address)).0);
    }
}
