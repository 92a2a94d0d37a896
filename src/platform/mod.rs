//! The platform's areas.
pub mod accounts;
pub mod foundings;
pub mod operations;
