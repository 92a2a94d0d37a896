//! General: the organization's own settings. Its name, time zone and e-mail domain, and what happens to people
//! whose address is in that domain.

pub mod command;
pub mod event;
pub mod http;
pub mod projection;
mod restore;
pub mod value;
