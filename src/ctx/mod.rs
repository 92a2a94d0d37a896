//! What a workflow reads at run time: the configuration and the secrets of an environment, whole or one secret by its
//! name, and word of when they change. Programs alone read here, with an API key.
//!
//! Nothing here is a setting or an event of its own: what is seen is resolved from the areas (`seen.rs`), and that it was
//! read is recorded as a use of the key (`store/key_uses`).

pub mod access;
pub mod http;
pub mod large;
pub mod memory;
pub mod seen;
pub mod watch;
