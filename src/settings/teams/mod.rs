//! Teams: people who get roles together. A team's roles are its members', as long as they are members; it holds nothing
//! else.

pub mod command;
pub mod event;
pub mod http;
pub mod joining;
pub mod members;
pub mod projection;
mod restore;
