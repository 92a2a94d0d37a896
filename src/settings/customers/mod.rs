//! Customers: whom an organization works for. All that is known of one, name, external id, tags and metadata, is sealed
//! under the customer's own key and stays sealed in the projection; it is opened only to be shown, or for whoever searches.
//!
//! Deleting keeps the key, so what is deleted comes back by a restore. Erasing destroys it, with the keys of all that the
//! customer has (`belongings.rs`), and is final.

pub mod belongings;
pub mod command;
pub mod event;
pub mod http;
pub mod listing;
pub mod patching;
pub mod profile;
pub mod projection;
mod restore;
pub mod value;

/// What a customer who was erased is called.
pub const ERASED: &str = "erased customer";
