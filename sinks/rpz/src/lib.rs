//! RPZ.
#![allow(dead_code)]
mod mark;
mod policy;
mod trigger;
mod zone;
