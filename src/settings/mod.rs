//! The settings' areas, in the sidebar's order.
pub mod people;
pub mod general;
pub mod environments;
pub mod roles;
pub mod sessions;
