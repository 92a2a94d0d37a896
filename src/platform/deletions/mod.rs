//! Organizations that an operator deleted. What it takes spans streams: the intent is here, the organization's own stream ends
//! and destroys its data keys, accounts are nobody there any more, and the intent is closed. Its history stays, as ciphertext.

pub mod command;
pub mod event;
pub mod projection;
