//! What is the same for every route: reading requests strictly, answering problems, pages, conditions,
//! limits, and the loop that serves connections. No area's handler is here, and nothing here reads a store.

pub mod client;
pub mod conditional;
pub mod credentials;
pub mod headers;
pub mod input;
pub mod json;
pub mod layers;
pub mod limits;
pub mod page;
pub mod patch;
pub mod percent;
pub mod problem;
pub mod query;
pub mod refusal;
pub mod request_id;
pub mod server;
pub mod throttle;
pub mod timed;
