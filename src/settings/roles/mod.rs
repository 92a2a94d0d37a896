//! Roles: who may do what. System roles stand in one table; assignments give them to people, in the whole
//! organization or in one environment. What an actor may do, by whatever gave it, is told in `access.rs`.

pub mod access;
pub mod command;
pub mod event;
pub mod http;
pub mod permission;
pub mod projection;
mod restore;
pub mod role;
