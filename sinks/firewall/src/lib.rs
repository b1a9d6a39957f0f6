//! x
pub mod run;
