//! API keys: what programs call with. A key belongs to one mode for ever, holds what one role holds, and can be limited
//! to environments, addresses, a time and a rate. Of the key itself only a SHA-256 is kept.

pub mod command;
pub mod event;
pub mod http;
pub mod projection;
pub mod value;
