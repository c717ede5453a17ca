//! Unbalanced Tree Search: a tree whose shape nobody knows before walking it.
//!
//! The trees are those of the UTS benchmark (Olivier et al., 2006), so the number
//! of nodes is known: a node's state is a SHA-1 of its parent's state and its own
//! number among the siblings, and the number of its children is drawn from that.
//! T1 is geometric with a fixed branching factor, T3 binomial, thin and deep: its
//! stealable work sits in few, unforeseeable places.

use sha1::{Digest, Sha1};

/// What decides the shape.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Geometric: `b` children on average above `depth`, none below.
    Geometric {
        /// Mean number of children.
        b: f64,
        /// Levels.
        depth: u32,
    },
    /// Binomial: the root has `root` children; all others `m` with chance `q`.
    Binomial {
        /// Children of the root.
        root: u32,
        /// Children of an inner node.
        m: u32,
        /// The chance to be one.
        q: f64,
    },
}

/// A tree of the benchmark.
#[derive(Debug, Clone, Copy)]
pub struct Tree {
    /// Its shape.
    pub shape: Shape,
    /// The seed of its root.
    pub seed: u32,
    /// How many nodes it has.
    pub nodes: u64,
}

/// T1: 4,130,071 nodes, depth 10.
pub const T1: Tree = Tree {
    shape: Shape::Geometric { b: 4.0, depth: 10 },
    seed: 19,
    nodes: 4_130_071,
};

/// T3: 4,112,897 nodes, depth 1,572.
pub const T3: Tree = Tree {
    shape: Shape::Binomial {
        root: 2_000,
        m: 8,
        q: 0.124_875,
    },
    seed: 42,
    nodes: 4_112_897,
};

/// A small tree of T1's kind, for a smoke run; its size was counted by the plain walk.
pub const SMALL_T1: Tree = Tree {
    shape: Shape::Geometric { b: 4.0, depth: 6 },
    seed: 19,
    nodes: 0,
};

/// A small tree of T3's kind.
pub const SMALL_T3: Tree = Tree {
    shape: Shape::Binomial {
        root: 50,
        m: 8,
        q: 0.12,
    },
    seed: 42,
    nodes: 0,
};

/// One node; the rest of the tree follows from it.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    state: [u8; 20],
    height: u32,
}

impl Node {
    /// The root of a tree.
    pub fn root(tree: &Tree) -> Node {
        let mut start = [0u8; 20];
        start[16..].copy_from_slice(&tree.seed.to_be_bytes());
        Node {
            state: Sha1::digest(start).into(),
            height: 0,
        }
    }

    /// The `index`-th child.
    pub fn child(&self, index: u32) -> Node {
        let mut hash = Sha1::new();
        hash.update(self.state);
        hash.update(index.to_be_bytes());
        Node {
            state: hash.finalize().into(),
            height: self.height + 1,
        }
    }

    /// How many children it has.
    pub fn children(&self, tree: &Tree) -> u32 {
        let last = [
            self.state[16],
            self.state[17],
            self.state[18],
            self.state[19],
        ];
        let chance = f64::from(u32::from_be_bytes(last) & 0x7fff_ffff) / 2_147_483_648.0;
        match tree.shape {
            Shape::Binomial { root, .. } if self.height == 0 => root,
            Shape::Binomial { m, q, .. } => {
                if chance < q {
                    m
                } else {
                    0
                }
            }
            Shape::Geometric { depth, .. } if self.height >= depth => 0,
            Shape::Geometric { b, .. } => {
                let p = 1.0 / (1.0 + b);
                ((1.0 - chance).ln() / (1.0 - p).ln()).floor().min(100.0) as u32
            }
        }
    }
}

/// Counts without any pool.
pub fn count_plain(tree: &Tree, node: &Node) -> u64 {
    1 + (0..node.children(tree))
        .map(|i| count_plain(tree, &node.child(i)))
        .sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_have_the_published_number_of_nodes() {
        // The deep one on a stack that is deep enough.
        let count = |tree: Tree| {
            std::thread::Builder::new()
                .stack_size(64 << 20)
                .spawn(move || count_plain(&tree, &Node::root(&tree)))
                .unwrap()
                .join()
                .unwrap()
        };
        assert_eq!(count(T1), T1.nodes);
        assert_eq!(count(T3), T3.nodes);
    }
}
