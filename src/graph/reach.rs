//! Nodes of a graph, and sets of them as bits.

/// A transform or sink of one graph, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node(pub(super) u8);

/// A set of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach(pub(super) u128);

impl Reach {
    /// Every node.
    pub const ALL: Self = Self(u128::MAX);

    /// Whether the node is in the set.
    pub const fn contains(self, node: Node) -> bool {
        self.0 & (1 << node.0) != 0
    }

    pub(super) const fn insert(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    pub(super) const fn has(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    /// The numbers in the set, ascending.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let at = (rest != 0).then_some(rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(at)
        })
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn with(self, index: usize) -> Self {
        Self(self.0 | 1 << index)
    }

    pub(super) const fn without(self, index: usize) -> Self {
        Self(self.0 & !(1 << index))
    }

    /// The greatest number in the set.
    pub(super) const fn last(self) -> Option<usize> {
        match self.0.checked_ilog2() {
            Some(at) => Some(at as usize),
            None => None,
        }
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
