//! Storage with stable numbers, which reports a lack of memory instead of aborting.
//!
//! (The `slab` crate does the same but can't reserve fallibly.)

use super::count;

/// Values under numbers that stay valid until the value is removed.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// The first free slot of a chain, or `slots.len()`.
    free: u32,
    len: u32,
}

#[derive(Debug)]
enum Slot<T> {
    Used(T),
    Free { next: u32 },
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: 0, len: 0 }
    }
}

impl<T> Slots<T> {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// The number after the last one that was ever used.
    pub(super) fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Room that is held, used or not.
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Makes sure that the next [`Slots::insert`] needs no memory. `most` bounds the slots.
    #[inline]
    pub(super) fn reserve(&mut self, most: u32) -> Option<()> {
        if (self.free as usize) < self.slots.len() {
            return Some(());
        }
        if self.slots.len() >= most as usize {
            return None;
        }
        grow(&mut self.slots, 1)
    }

    /// Puts `value` into a free slot and returns the slot's number.
    #[inline(always)]
    pub(super) fn insert(&mut self, value: T) -> u32 {
        count::touch();
        let number = self.free;
        match self.slots.get_mut(number as usize) {
            Some(slot) => {
                let Slot::Free { next } = *slot else {
                    unreachable!("the free chain is of free slots")
                };
                self.free = next;
                *slot = Slot::Used(value);
            }
            None => {
                self.slots.push(Slot::Used(value));
                self.free += 1;
            }
        }
        self.len += 1;
        number
    }

    /// Takes the value out of a used slot.
    pub(super) fn remove(&mut self, number: u32) -> T {
        count::touch();
        let slot = &mut self.slots[number as usize];
        let Slot::Used(value) = std::mem::replace(slot, Slot::Free { next: self.free }) else {
            unreachable!("slot {number} is not in use");
        };
        self.free = number;
        self.len -= 1;
        value
    }

    /// The value in a slot, if the slot is in use.
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        count::touch();
        match self.slots.get(number as usize) {
            Some(Slot::Used(value)) => Some(value),
            _ => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.slots.iter().enumerate().filter_map(|(number, slot)| match slot {
            Slot::Used(value) => Some((number as u32, value)),
            Slot::Free { .. } => None,
        })
    }
}

impl<T> std::ops::Index<u32> for Slots<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        count::touch();
        match &self.slots[number as usize] {
            Slot::Used(value) => value,
            Slot::Free { .. } => unreachable!("slot {number} is not in use"),
        }
    }
}

impl<T> std::ops::IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        count::touch();
        match &mut self.slots[number as usize] {
            Slot::Used(value) => value,
            Slot::Free { .. } => unreachable!("slot {number} is not in use"),
        }
    }
}

/// Bytes up to which storage doubles. (Growing in smaller steps from the start leaves more holes in the heap.)
const SMALL: usize = 4096;

/// Makes room for `more` elements; from [`SMALL`] on an eighth ahead, since doubling would leave half of a
/// large cache's index unused. (The allocator moves large tables without copying.)
#[inline]
pub(super) fn grow<T>(vec: &mut Vec<T>, more: usize) -> Option<()> {
    if vec.capacity() - vec.len() >= more {
        return Some(());
    }
    grow_now(vec, more)
}

#[cold]
fn grow_now<T>(vec: &mut Vec<T>, more: usize) -> Option<()> {
    let length = vec.len();
    let ahead = if length * size_of::<T>() < SMALL { length } else { length / 8 };
    vec.try_reserve_exact(ahead.max(more).max(4)).ok()
}
