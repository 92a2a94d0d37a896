//! The parts of `cargo xtask`, as a library so that their own tests reach them. `main.rs` parses; each
//! subcommand is a module here.

pub mod bench;
pub mod ci;
pub mod counts;
pub mod demo;
pub mod dictionary;
pub mod fill;
pub mod flamegraph;
pub mod install;
pub mod mix;
pub mod run;
pub mod schemas;
pub mod soak;
pub mod test;
