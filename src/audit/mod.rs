//! The audit log: a filtered view of a stream. It stores nothing.
//!
//! `query` turns a request's parameters into a [`Filter`](crate::log::filter::Filter), `row` turns events into rows,
//! which `facets` counts, `export` writes out and `stream` tells as they come; `http` answers. There is no event, no command and no projection here: by what is missing you see what it is.

pub mod export;
pub mod facets;
pub mod http;
pub mod ocsf;
pub mod query;
pub mod row;
pub mod stream;
