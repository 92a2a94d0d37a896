//! Settled: an event-sourced settings store.
//!
//! Every settings change is an event appended to a log. What an organization's settings are is a fold over that log;
//! the audit log is a filter over it.
//!
//! ```text
//!  HTTP · CLI                                                auditors
//!    │ request                                                  ▲
//!    ▼                                                          │
//!  prepare ──► Command ──► Store::execute ──► decide ──► append, sync
//!  (checks the form,  authorises,        pure       EventLog    │
//!   seals, hashes,    queues                                    ▼
//!   looks up)                        apply(&mut Organization, &Recorded)
//!                                                  pure, total  │
//!    readers ◄──── Arc<View>, a value ◄────────────────────────┘
//! ```
//!
//! Read the modules in this order.

// `pub` says "used from outside"; where nobody can, it misleads.
#![warn(unreachable_pub)]

pub mod clock;
pub mod ids;
pub mod actor;
pub mod text;
pub mod event;
pub mod command;
pub mod area;
pub mod organization;
pub mod platform;
pub mod settings;
pub mod store;
pub mod log;
pub mod seal;
pub mod data_dir;
pub mod private;
pub mod room;
pub mod open;
pub mod fsck;
pub mod snapshot;
pub mod audit;
pub mod history;
pub mod promotion;
pub mod proof;
pub mod ctx;
pub mod http;
pub mod canonical;
mod varint;
pub mod password;
pub mod dns;
pub mod outgoing;
pub mod oauth;
pub mod mail;
pub mod server;
pub mod config;
pub mod demo;
pub mod client;
pub mod cli;
pub mod causes;
pub mod allocator;
pub mod logging;
pub mod metrics;
#[cfg(test)]
mod given;
