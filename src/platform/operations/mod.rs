//! Operations: what operators do to the server as a whole, recorded so that the platform has an audit log too.

pub mod command;
pub mod event;
pub mod projection;
