//! Roles: who may do what. System roles stand in one table, custom ones are made; assignments give them to people and
//! teams, in the whole organization or in one environment. What an actor may do, by whatever gave it, is told in
//! `access.rs`.

pub mod access;
pub mod assignments;
pub mod command;
mod custom;
pub mod event;
pub mod explain;
pub(in crate::settings) mod granting;
pub mod http;
pub mod permission;
pub mod projection;
mod restore;
pub mod role;
pub mod value;
