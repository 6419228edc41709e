//! Doubly linked lists through places, with what each place carries along.

use super::count;
use super::place::{Place, SHARDS};
use super::slots::grow;

/// The ends of one list.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    pub(super) first: Place,
    pub(super) last: Place,
}

impl List {
    pub(super) const EMPTY: Self = Self { first: Place::NONE, last: Place::NONE };

    pub(super) fn is_empty(&self) -> bool {
        self.first == Place::NONE
    }
}

/// The links of any number of lists of places, each place in one of them at most.
#[derive(Debug)]
pub(super) struct Links<T> {
    /// By shard, then slot. Empty until the first place.
    nodes: Vec<Vec<Node<T>>>,
}

/// The neighbours of a place, and what it carries along.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<T> {
    previous: Place,
    next: Place,
    pub(super) value: T,
}

impl<T> Default for Links<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T: Copy> Links<T> {
    /// Makes sure that the next new place of this shard needs no memory.
    #[inline]
    pub(super) fn reserve(&mut self, shard: usize) -> Option<()> {
        match self.nodes.get_mut(shard) {
            Some(nodes) => grow(nodes, 1),
            None => self.reserve_first(shard),
        }
    }

    #[cold]
    fn reserve_first(&mut self, shard: usize) -> Option<()> {
        self.nodes.try_reserve_exact(SHARDS).ok()?;
        self.nodes.resize_with(SHARDS, Vec::new);
        grow(&mut self.nodes[shard], 1)
    }

    /// Room that is held, used or not.
    pub(super) fn capacity(&self) -> usize {
        self.nodes.iter().map(Vec::capacity).sum()
    }

    /// The place after one.
    pub(super) fn next(&self, place: Place) -> Option<Place> {
        self.node(place).next.some()
    }

    /// The place before one.
    pub(super) fn previous(&self, place: Place) -> Option<Place> {
        self.node(place).previous.some()
    }

    /// Puts a place that is in no list at the end of one; memory was reserved.
    #[inline]
    pub(super) fn append(&mut self, list: &mut List, place: Place, value: T) {
        let previous = std::mem::replace(&mut list.last, place);
        let node = Node { previous, next: Place::NONE, value };
        match previous.some() {
            Some(previous) => self.node_mut(previous).next = place,
            None => list.first = place,
        }
        let nodes = &mut self.nodes[place.shard()];
        match nodes.get_mut(place.slot() as usize) {
            Some(free) => *free = node,
            // A shard's slots are numbered without gaps, so a new slot is the next node.
            None => nodes.push(node),
        }
    }

    /// Takes a place out of its list, given the node of the place.
    #[inline]
    pub(super) fn cut(&mut self, list: &mut List, Node { previous, next, .. }: Node<T>) {
        match previous.some() {
            Some(previous) => self.node_mut(previous).next = next,
            None => list.first = next,
        }
        match next.some() {
            Some(next) => self.node_mut(next).previous = previous,
            None => list.last = previous,
        }
    }

    /// The node of a place.
    #[inline]
    pub(super) fn node(&self, place: Place) -> Node<T> {
        count::touch();
        self.nodes[place.shard()][place.slot() as usize]
    }

    fn node_mut(&mut self, place: Place) -> &mut Node<T> {
        count::touch();
        &mut self.nodes[place.shard()][place.slot() as usize]
    }

    /// The places of a list, each linked once and both ways.
    pub(super) fn validate(&self, list: &List) -> Result<Vec<Place>, String> {
        let mut places = Vec::new();
        let mut at = list.first.some();
        while let Some(place) = at {
            if self.previous(place) != places.last().copied() {
                return Err(format!("{place:?} is wrongly linked"));
            }
            places.push(place);
            at = self.next(place);
        }
        if list.last.some() != places.last().copied() {
            return Err(format!("a list does not end at its last place, {:?}", places.last()));
        }
        Ok(places)
    }
}
