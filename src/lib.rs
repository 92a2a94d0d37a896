//! Settled: an event-sourced settings store.

pub mod actor;
pub mod clock;
pub mod config;
pub mod event;
pub mod ids;
pub mod log;
pub mod platform;
pub mod seal;
pub mod settings;
