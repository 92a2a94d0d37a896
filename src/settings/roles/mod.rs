//! Roles: who may do what. System roles stand in one table; assignments give them to people, in the whole
//! organization or in one environment. What an actor may do is computed when an assignment changes, never per
//! request.

pub mod command;
pub mod event;
pub mod http;
pub mod permission;
pub mod projection;
pub mod role;
