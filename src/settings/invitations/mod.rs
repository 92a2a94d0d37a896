//! Invitations: somebody is asked, by mail, to become a member with a role and in teams. An invitation has the future
//! person's id and key; accepting it keeps both, declining or revoking it destroys the key, and so does its lying about for
//! 30 days after its end. What it gives is what its inviter may give, when it is sent and when it is accepted.

pub mod acceptance;
pub mod accepting;
pub mod command;
pub mod event;
pub mod http;
pub mod projection;

use crate::ids::StreamId;
use crate::seal::Plain;
use crate::seal::keyring::{KeyError, KeyRing};
use crate::settings::invitations::projection::Invitation;
use crate::settings::people::email_field;

/// The address that an invitation was sent to. It is sealed where the person's would be, under the key that would be theirs.
///
/// # Errors
/// When its key is not to be had.
pub fn open_email(stream: StreamId, invitation: &Invitation, ring: &KeyRing) -> Result<Plain, KeyError> {
    let key = ring.data_key(stream, invitation.key, invitation.commitment)?;
    Ok(key.open(&email_field(stream, &invitation.person.to_string()), &invitation.email)?)
}
