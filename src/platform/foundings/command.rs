//! Opening and closing foundings.

use crate::actor::ActorId;
use crate::command::{Context, Need, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::ids::OrganizationId;
use crate::platform::Platform;
use crate::platform::accounts::event::{AccountsEvent, SignedUp};
use crate::platform::accounts::projection::ORGANIZATIONS_PER_ACCOUNT_MAX;
use crate::platform::foundings::event::{FoundingClosed, FoundingOpened, FoundingsEvent};

/// A command to foundings.
#[derive(Clone, Debug)]
pub enum FoundingsCommand {
    /// The first of all: an account and its organization.
    SetUp(SetUp),
    /// A further organization, with the plan that is meant for such.
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
                let plan = state.plans.founding().map(|plan| plan.id.clone());
                Ok(vec![opening(&FoundingOpened { plan, ..founding.clone() })])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::event::Event;
    use crate::given::{by, events, id, platform, sealed};

    fn account() -> SignedUp {
        SignedUp {
            account: id(1),
            key: id(1),
            email: sealed(1),
            name: sealed(1),
            password: sealed(1),
            link: None,
        }
    }

    fn founding(number: u128) -> FoundingOpened {
        FoundingOpened {
            organization: id(number),
            account: id(1),
            person: id(number),
            name: sealed(1),
            timezone: "Europe/Berlin".to_owned(),
            plan: None,
        }
    }

    fn opened(number: u128) -> Event {
        Event::Foundings(FoundingsEvent::FoundingOpened(founding(number)))
    }

    fn set_up() -> Vec<Event> {
        vec![Event::Accounts(AccountsEvent::SignedUp(account())), opened(1)]
    }

    fn closed(number: u128) -> Event {
        Event::Foundings(FoundingsEvent::FoundingClosed(FoundingClosed { organization: id(number) }))
    }

    fn decide(
        command: FoundingsCommand,
        given: Vec<Event>,
        actor: Actor,
    ) -> Result<Vec<Event>, FoundingsRejection> {
        events(command.decide(&platform(given), &by(actor)))
    }

    fn as_account(number: u128) -> Actor {
        Actor { id: ActorId::Account(id(number)), session: None }
    }

    #[test]
    fn a_server_is_set_up_once() {
        let command = || FoundingsCommand::SetUp(SetUp { account: account(), founding: founding(1) });
        assert_eq!(decide(command(), Vec::new(), Actor::SYSTEM), Ok(set_up()));
        for given in [set_up(), set_up()[..1].to_vec()] {
            assert_eq!(decide(command(), given, Actor::SYSTEM), Err(FoundingsRejection::AlreadySetUp));
        }
    }

    #[test]
    fn an_account_founds_for_itself() {
        let command = || FoundingsCommand::Open(founding(2));
        assert_eq!(decide(command(), set_up(), as_account(1)), Ok(vec![opened(2)]));
        assert_eq!(decide(command(), set_up(), as_account(2)), Err(FoundingsRejection::UnknownAccount));
        assert_eq!(decide(command(), Vec::new(), as_account(1)), Err(FoundingsRejection::UnknownAccount));
    }

    #[test]
    fn an_account_founds_so_many_and_no_more() {
        let many =
            |count: usize| set_up()[..1].iter().cloned().chain((0..count as u128).map(opened)).collect();
        let command = || FoundingsCommand::Open(founding(1_000));
        assert!(decide(command(), many(ORGANIZATIONS_PER_ACCOUNT_MAX - 1), as_account(1)).is_ok());
        let decided = decide(command(), many(ORGANIZATIONS_PER_ACCOUNT_MAX), as_account(1));
        assert_eq!(decided, Err(FoundingsRejection::TooMany));
    }

    #[test]
    fn a_founding_is_closed_once() {
        let close = || FoundingsCommand::Close(id(1));
        assert_eq!(decide(close(), set_up(), Actor::SYSTEM), Ok(vec![closed(1)]));
        let given = set_up().into_iter().chain([closed(1)]).collect();
        assert_eq!(decide(close(), given, Actor::SYSTEM), Ok(Vec::new()));
    }
}
