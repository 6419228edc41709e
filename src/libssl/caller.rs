//! Whose libssl a call is for, where its version node does not say: several libssl of one node are
//! in this process (Python's own, say, and one that a wheel has brought along).
//!
//! The caller's object is linked with one of them, so that one is found as the dynamic linker would.
//! Walking the stack takes a few hundred nanoseconds, which only such processes spend.

use std::ffi::{CStr, CString, c_void};

use super::object::{Object, object_of};
use crate::stack;

/// The function of this name that the object which called us is linked with. `None` for a call from the
/// program itself, whose libssl is the one that comes after us.
pub(super) fn function_of_caller(name: &CStr) -> Option<*mut c_void> {
    let function = Object::loaded(&calling_object()?)?.function(name);
    (!function.is_null()).then_some(function)
}

/// The path of the object that called us: the first on the stack that is not ours.
fn calling_object() -> Option<CString> {
    let ours = object_of(calling_object as *mut c_void);
    let mut found = None;
    stack::walk(|frame| {
        found = object_of(frame.address).filter(|found| ours.as_ref() != Some(found));
        found.is_some()
    });
    found
}
