//! Plans: what organizations may have of what is metered. Operators set them; organizations copy what a plan limits when
//! they take it, so that a change of a plan is nobody's until they take it again. None is ever removed.

pub mod command;
pub mod event;
pub mod http;
pub mod projection;
