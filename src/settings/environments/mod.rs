//! Environments: the places where workflows run, each test or live for ever, and the configuration that they read
//! there. Configuration is plain: what is secret belongs in secrets.

pub mod command;
pub mod config;
pub mod event;
pub mod http;
pub mod projection;
pub mod promotion;
mod restore;
pub mod value;
