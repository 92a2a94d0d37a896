//! Requests to join: people whose verified address is in the organization's domain ask to become members, or are let in at
//! once where the organization wants that. A request has the future person's id and key; approving keeps both, declining
//! destroys the key.

pub mod command;
pub mod event;
pub mod http;
pub mod projection;
pub mod withdrawing;
