//! Billing: which plan an organization has, how much it may have of what is metered, and how much it has.
//!
//! Quotas are held against what a command comes to where it is decided (`enforcement.rs`), so no race passes one. A plan's
//! limits are copied when an organization is founded or changes its plan, so that the platform's stream is not asked.

pub mod command;
pub mod customer_http;
pub mod customer_limits;
pub mod enforcement;
pub mod event;
pub mod http;
pub mod period;
pub mod projection;
pub mod usage;
pub mod value;
