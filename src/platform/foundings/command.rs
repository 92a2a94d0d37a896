//! Opening and closing foundings.

use crate::actor::ActorId;
use crate::command::{Context, Need, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::ids::OrganizationId;
use crate::platform::Platform;
use crate::platform::accounts::event::{AccountsEvent, SignedUp};
use crate::platform::foundings::event::{FoundingClosed, FoundingOpened, FoundingsEvent};

/// The most organizations of one account.
pub const ORGANIZATIONS_PER_ACCOUNT_MAX: usize = 100;

/// A command to foundings.
#[derive(Clone, Debug)]
pub enum FoundingsCommand {
    /// The first of all: an account and its organization.
    SetUp(SetUp),
    /// A further organization.
    Open(FoundingOpened),
    /// The second half is there. Repeating it appends nothing.
    Close(OrganizationId),
}

/// The first account and its organization.
#[derive(Clone, Debug)]
pub struct SetUp {
    /// The account.
    pub account: SignedUp,
    /// Its organization.
    pub founding: FoundingOpened,
}

/// Why a command to foundings appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoundingsRejection {
    /// The server has its first organization.
    #[error("the server is already set up")]
    AlreadySetUp,
    /// There is no such account.
    #[error("there is no such account")]
    UnknownAccount,
    /// One account has as many organizations as it can.
    #[error("an account founds at most {ORGANIZATIONS_PER_ACCOUNT_MAX} organizations")]
    TooMany,
}

impl FoundingsCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::SetUp(_) | Self::Close(_) => Need::System,
            Self::Open(_) => Need::Own,
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`FoundingsRejection`].
    pub fn decide(&self, state: &Platform, context: &Context) -> Result<Vec<NewEvent>, FoundingsRejection> {
        match self {
            Self::SetUp(_) if state.foundings.any_ever() || !state.accounts.is_empty() => {
                Err(FoundingsRejection::AlreadySetUp)
            }
            Self::SetUp(set_up) => Ok(vec![
                NewEvent::new(
                    Resource::new(ResourceType::Account, set_up.account.account),
                    AccountsEvent::SignedUp(set_up.account.clone()),
                )
                .using(set_up.account.key),
                opening(&set_up.founding),
            ]),
            Self::Open(founding) => {
                if context.actor.id != ActorId::Account(founding.account) {
                    return Err(FoundingsRejection::UnknownAccount);
                }
                let account =
                    state.accounts.get(founding.account).ok_or(FoundingsRejection::UnknownAccount)?;
                if account.persons.len() >= ORGANIZATIONS_PER_ACCOUNT_MAX {
                    return Err(FoundingsRejection::TooMany);
                }
                Ok(vec![opening(founding)])
            }
            Self::Close(organization) => {
                if !state.foundings.open().any(|open| open.organization == *organization) {
                    return Ok(Vec::new());
                }
                Ok(vec![NewEvent::new(
                    Resource::new(ResourceType::Organization, organization),
                    FoundingsEvent::FoundingClosed(FoundingClosed { organization: *organization }),
                )])
            }
        }
    }
}

fn opening(founding: &FoundingOpened) -> NewEvent {
    NewEvent::new(
        Resource::new(ResourceType::Organization, founding.organization),
        FoundingsEvent::FoundingOpened(founding.clone()),
    )
    .relating(founding.account)
}
