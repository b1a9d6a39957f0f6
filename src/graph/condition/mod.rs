//! Conditions: CEL over the catalogue's ECS paths.
//!
//! In: an expression of the configuration; later, events. Out: [`ConditionProblem`]s with their place, or a
//! [`Condition`] that says yes or no to an event.
//!
//! Invariants:
//! 1. A condition is compiled once; an event pays for the fields that the evaluation comes to, no others.
//! 2. Every path names a field of the catalogue, or the configuration is refused with the path's place.
//! 3. An absent field is absent, never null: `has(a.b)` asks for it; an expression that ends in an error is false as a
//!    whole, and counted.
//! 4. What can be told without an event to be never true is refused: sides that never compare, operands that are neither
//!    true nor false, words that a field never says. A condition that fails all the same is counted and logged once.
//! 5. Size, depth and loops within loops are bounded, so one evaluation is.
//!
//! Limits: [`TEXT_BYTES_MAX`], [`DEPTH_MAX`], [`NODES_MAX`], [`LOOPS_MAX`]. Whole numbers and fractions compare
//! freely. `timestamp` stands for `@timestamp`; dates are RFC 3339 text in UTC with milliseconds, so they compare as
//! text. `in_cidr(source.ip, "10.0.0.0/8")` asks for membership.
//!
//! How paths are found: the parser knows `a.b.c` as selections on `a`. The compiler walks the tree and puts a numbered
//! identifier in the place of each path, so the interpreter asks for a field by its number and no map is built.

mod paths;
mod program;
mod types;
mod values;
mod words;

#[cfg(test)]
mod tests;

pub use program::{Condition, ConditionProblem, DEPTH_MAX, LOOPS_MAX, NODES_MAX, TEXT_BYTES_MAX, check};
