#![doc = include_str!("README.md")]

pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod decoy;
pub mod delivery;
pub mod fresh;
pub mod graph;
pub mod journal;
pub mod metrics;
pub mod record;
pub mod respond;
pub mod roles;
pub mod sys;
pub mod telemetry;
pub mod web;
