//! The past of an organization's settings: who changed what from what to what, how two points in time differ, and
//! bringing back what was.
//!
//! All of it follows from the areas' folds and descriptions. It stores nothing: a restore appends ordinary events
//! through the store, and what there was is read from the stream.

pub mod description;
pub mod http;
pub mod past;
pub mod readable;
pub mod restore;
