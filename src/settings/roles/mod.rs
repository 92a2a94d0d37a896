//! x
pub mod event;
pub mod role;
