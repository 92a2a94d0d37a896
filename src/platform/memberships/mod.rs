//! Memberships to be: an account becomes, or asks to become, somebody in an organization. The intent stands here, with the
//! pair of account and person; its second half stands in the organization's stream, which may refuse it; then the intent is
//! closed. Open ones are finished at start.

pub mod asks;
pub mod command;
pub mod event;
pub mod http;
pub mod projection;
