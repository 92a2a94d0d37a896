//! Settled: an event-sourced settings store.

pub mod actor;
pub mod canonical;
pub mod clock;
pub mod event;
pub mod http;
pub mod ids;
pub mod log;
pub mod metrics;
pub mod password;
pub mod platform;
pub mod seal;
pub mod settings;
