//! Allocations that may fail: a program that is out of memory goes on without sharing.

/// A value on the heap; `None` without memory.
pub(crate) fn boxed<T>(value: T) -> Option<Box<T>> {
    let mut room = Vec::new();
    room.try_reserve_exact(1).ok()?;
    room.push(value);
    let slice = Box::into_raw(room.into_boxed_slice());
    // SAFETY: a slice of one value is laid out as that.
    Some(unsafe { Box::from_raw(slice.cast()) })
}
