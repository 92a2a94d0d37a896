//! Deciding commands to the platform's stream.

use crate::command::{Context, Need, NewEvent, PlatformCommand, Rejection};
use crate::ids::StreamId;
use crate::platform::Platform;
use crate::settings::sessions::projection::Holder;

impl PlatformCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Foundings(command) => command.need(),
            Self::Memberships(command) => command.need(),
            Self::Deletions(_)
            | Self::ManagedApps(_)
            | Self::Operations(_)
            | Self::Plans(_)
            | Self::SigningKeys(_)
            | Self::EncryptionKeys(_)
            | Self::Finish(_) => Need::System,
            Self::Accounts(command) => command.need(),
            Self::Sessions(_) | Self::Refuse(_) => Need::Own,
        }
    }

    /// Decides, without asking whether the actor may.
    ///
    /// # Errors
    /// The area's rejection.
    pub fn decide(&self, state: &Platform, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        match self {
            Self::Accounts(command) => Ok(command.decide(state, context)?),
            Self::Foundings(command) => Ok(command.decide(state, context)?),
            Self::Deletions(command) => Ok(command.decide(state)?),
            Self::Memberships(command) => Ok(command.decide(state, context)?),
            Self::Sessions(command) => {
                let belongs =
                    |holder| matches!(holder, Holder::Account(id) if state.accounts.get(id).is_some());
                command.decide(&state.sessions, belongs, context)
            }
            Self::ManagedApps(command) => Ok(command.decide(&state.managed_apps)?),
            Self::Operations(command) => Ok(command.decide(context)),
            Self::Plans(command) => Ok(command.decide(&state.plans)?),
            Self::SigningKeys(command) => Ok(command.decide(&state.signing_keys)),
            Self::EncryptionKeys(note) => {
                Ok(note.decide(&state.encryption_keys, &StreamId::Platform.to_string()))
            }
            Self::Finish(entry) => Ok(entry.decide()),
            Self::Refuse(command) => Ok(command.decide(&state.denials, context)?),
        }
    }
}
