//! This thread and its stack.

/// A number that no other living thread has.
pub(crate) fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| std::ptr::from_ref(here) as usize)
}

/// The address of a variable of the caller's, which tells how deep in its stack the thread is. (Stacks grow down wherever
/// OpenSSL runs.)
#[inline(always)]
pub(crate) fn here(variable: &u8) -> usize {
    std::ptr::from_ref(variable).addr()
}
