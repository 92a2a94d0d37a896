//! The settings' areas, in the sidebar's order.
pub mod api_keys;
pub mod connections;
pub mod customer_data;
pub mod customers;
pub mod billing;
pub mod environments;
pub mod executions;
pub mod general;
pub mod invitations;
pub mod join_requests;
pub mod oauth_apps;
pub mod people;
pub mod places;
pub mod roles;
pub mod secrets;
pub mod sessions;
pub mod teams;
