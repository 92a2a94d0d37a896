//! Opening and closing memberships to be.

use crate::actor::ActorId;
use crate::command::{Context, Need, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::ids::{AccountId, OrganizationId, UserId};
use crate::platform::Platform;
use crate::platform::accounts::event::{AccountNamed, AccountsEvent, SignedUp};
use crate::platform::accounts::projection::ORGANIZATIONS_PER_ACCOUNT_MAX;
use crate::platform::memberships::asks::ASKS_PER_DAY_MAX;
use crate::platform::memberships::event::{MembershipClosed, MembershipOpened, MembershipsEvent};

/// A command to memberships.
#[derive(Clone, Debug)]
pub enum MembershipsCommand {
    /// An account is to be somebody in an organization. Repeating it appends nothing.
    Open(OpenMembership),
    /// The organization has decided. Repeating it appends nothing.
    Close(CloseMembership),
}

/// An account is to be somebody in an organization.
#[derive(Clone, Debug)]
pub struct OpenMembership {
    /// Who, where, and on what ground.
    pub membership: MembershipOpened,
    /// The account, where it is made with this: whoever makes it has proven that the address is theirs.
    pub account: Option<Box<SignedUp>>,
    /// Whom the account was in organizations, and is no more: the organizations' own streams say so.
    pub left: Vec<(OrganizationId, UserId)>,
}

/// The organization has decided.
#[derive(Clone, Copy, Debug)]
pub struct CloseMembership {
    /// The organization.
    pub organization: OrganizationId,
    /// Whom the account was to be there.
    pub person: UserId,
    /// Whether the organization refused.
    pub refused: bool,
}

/// Why a command to memberships appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipsRejection {
    /// There is no such account of this actor.
    #[error("there is no such account")]
    UnknownAccount,
    /// The person is another account.
    #[error("another account is this person")]
    PersonTaken,
    /// The account is, or is about to be, somebody else there.
    #[error("the account is somebody in the organization already")]
    AlreadyThere,
    /// One account is somebody in as many organizations as it can.
    #[error("an account belongs to at most {ORGANIZATIONS_PER_ACCOUNT_MAX} organizations")]
    TooMany,
    /// The account has asked the organization as often as it may within a day.
    #[error("an account asks to join an organization at most {ASKS_PER_DAY_MAX} times a day")]
    AskedTooOften {
        /// When it may ask again.
        retry_after_seconds: u64,
    },
}

impl MembershipsCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::Open(open) if open.account.is_none() => Need::Own,
            Self::Open(_) | Self::Close(_) => Need::System,
        }
    }

    /// Decides.
    ///
    /// # Errors
    /// [`MembershipsRejection`].
    pub fn decide(&self, state: &Platform, context: &Context) -> Result<Vec<NewEvent>, MembershipsRejection> {
        match self {
            Self::Open(command) => command.decide(state, context),
            Self::Close(command) => Ok(command.decide(state)),
        }
    }
}

fn about(account: AccountId, organization: OrganizationId, event: MembershipsEvent) -> NewEvent {
    NewEvent::new(Resource::new(ResourceType::Account, account), event).relating(organization)
}

impl OpenMembership {
    fn decide(&self, state: &Platform, context: &Context) -> Result<Vec<NewEvent>, MembershipsRejection> {
        let MembershipOpened { account, organization, person, .. } = self.membership;
        if let Some(holder) = state.accounts.by_person(organization, person) {
            let is_own = holder.id == account;
            return if is_own { Ok(Vec::new()) } else { Err(MembershipsRejection::PersonTaken) };
        }
        let opened = MembershipsEvent::MembershipOpened(self.membership.clone());
        let mut events = match &self.account {
            Some(signed_up) => made(signed_up),
            None => {
                self.check(state, context)?;
                Vec::new()
            }
        };
        events.push(about(account, organization, opened));
        Ok(events)
    }

    /// That an account which is there may be one more.
    fn check(&self, state: &Platform, context: &Context) -> Result<(), MembershipsRejection> {
        let MembershipOpened { account, organization, .. } = self.membership;
        let held = state.accounts.get(account).filter(|_| context.actor.id == ActorId::Account(account));
        let held = held.ok_or(MembershipsRejection::UnknownAccount)?;
        // What an organization does not know yet, it does not know to have ended.
        let is_open = |pair: &(OrganizationId, UserId)| state.memberships.get(pair.0, pair.1).is_some();
        let mut held = held.persons.iter().filter(|pair| is_open(pair) || !self.left.contains(pair));
        if held.clone().count() >= ORGANIZATIONS_PER_ACCOUNT_MAX {
            return Err(MembershipsRejection::TooMany);
        }
        if held.any(|(there, _)| *there == organization) {
            return Err(MembershipsRejection::AlreadyThere);
        }
        let asks = self.membership.join_request.is_some();
        match state.memberships.asks.wait_seconds(account, organization, context.now).filter(|_| asks) {
            Some(retry_after_seconds) => Err(MembershipsRejection::AskedTooOften { retry_after_seconds }),
            None => Ok(()),
        }
    }
}

/// An account comes to be whose address is proven.
fn made(signed_up: &SignedUp) -> Vec<NewEvent> {
    let about = |event| NewEvent::new(Resource::new(ResourceType::Account, signed_up.account), event);
    let verified = AccountNamed { account: signed_up.account };
    vec![
        about(AccountsEvent::SignedUp(signed_up.clone())).using(signed_up.key),
        about(AccountsEvent::EmailVerified(verified)),
    ]
}

impl CloseMembership {
    fn decide(self, state: &Platform) -> Vec<NewEvent> {
        let Self { organization, person, refused } = self;
        let closed = MembershipsEvent::MembershipClosed(MembershipClosed { organization, person, refused });
        let open = state.memberships.get(organization, person);
        open.map(|open| about(open.account, organization, closed)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::clock::DAY_SECONDS;
    use crate::event::Event;
    use crate::given::{by, events, id, platform, sealed};
    use crate::platform::accounts::event::MembershipEnded;

    fn signed_up(account: u128) -> SignedUp {
        SignedUp {
            account: id(account),
            key: id(account),
            email: sealed(account),
            name: sealed(account),
            password: sealed(account),
            link: None,
        }
    }

    fn membership(account: u128, organization: u128, person: u128) -> MembershipOpened {
        MembershipOpened {
            account: id(account),
            organization: id(organization),
            person: id(person),
            join_request: Some(id(person)),
            invitation: None,
        }
    }

    fn made_with(account: u128) -> Vec<Event> {
        let verified = AccountNamed { account: id(account) };
        vec![
            Event::Accounts(AccountsEvent::SignedUp(signed_up(account))),
            Event::Accounts(AccountsEvent::EmailVerified(verified)),
        ]
    }

    /// Accounts 1 and 2, and what happened since.
    fn accounts(more: impl IntoIterator<Item = Event>) -> Platform {
        platform(made_with(1).into_iter().chain(made_with(2)).chain(more))
    }

    fn opened(account: u128, organization: u128, person: u128) -> Event {
        Event::Memberships(MembershipsEvent::MembershipOpened(membership(account, organization, person)))
    }

    fn closed(organization: u128, person: u128, refused: bool) -> Event {
        let closed = MembershipClosed { organization: id(organization), person: id(person), refused };
        Event::Memberships(MembershipsEvent::MembershipClosed(closed))
    }

    fn open(account: u128, organization: u128, person: u128) -> OpenMembership {
        let membership = membership(account, organization, person);
        OpenMembership { membership, account: None, left: Vec::new() }
    }

    fn decide(
        command: OpenMembership,
        state: &Platform,
        account: u128,
    ) -> Result<Vec<Event>, MembershipsRejection> {
        let actor = Actor { id: ActorId::Account(id(account)), session: None };
        events(MembershipsCommand::Open(command).decide(state, &by(actor)))
    }

    fn close(state: &Platform, refused: bool) -> Vec<Event> {
        let command = CloseMembership { organization: id(1), person: id(7), refused };
        let decided = MembershipsCommand::Close(command).decide(state, &by(Actor::SYSTEM));
        events(decided).unwrap()
    }

    #[test]
    fn an_account_is_to_be_somebody_once() {
        let decided = decide(open(1, 1, 7), &accounts([]), 1);
        assert_eq!(decided, Ok(vec![opened(1, 1, 7)]));
        for given in [vec![opened(1, 1, 7)], vec![opened(1, 1, 7), closed(1, 7, false)]] {
            let state = accounts(given);
            assert_eq!(decide(open(1, 1, 7), &state, 1), Ok(Vec::new()));
            assert_eq!(decide(open(1, 1, 8), &state, 1), Err(MembershipsRejection::AlreadyThere));
            assert_eq!(decide(open(2, 1, 7), &state, 2), Err(MembershipsRejection::PersonTaken));
            assert!(decide(open(1, 2, 8), &state, 1).is_ok(), "another organization");
        }
    }

    #[test]
    fn an_account_acts_for_itself() {
        let unknown = Err(MembershipsRejection::UnknownAccount);
        assert_eq!(decide(open(1, 1, 7), &accounts([]), 2), unknown);
        assert_eq!(decide(open(3, 1, 7), &accounts([]), 3), unknown);
    }

    #[test]
    fn an_account_can_be_made_with_it_and_its_address_is_proven() {
        let command = OpenMembership { account: Some(Box::new(signed_up(3))), ..open(3, 1, 7) };
        assert_eq!(MembershipsCommand::Open(command.clone()).need(), Need::System);
        let decided = events(command.decide(&accounts([]), &by(Actor::SYSTEM))).unwrap();
        let expected: Vec<Event> = made_with(3).into_iter().chain([opened(3, 1, 7)]).collect();
        assert_eq!(decided, expected);
        let state = accounts(decided);
        assert!(state.accounts.get(id(3)).unwrap().is_verified);
        assert_eq!(command.decide(&state, &by(Actor::SYSTEM)), Ok(Vec::new()));
    }

    #[test]
    fn who_has_left_may_come_again_but_not_while_that_is_undecided() {
        let again = || OpenMembership { left: vec![(id(1), id(7))], ..open(1, 1, 8) };
        let state = accounts([opened(1, 1, 7), closed(1, 7, false)]);
        assert_eq!(decide(again(), &state, 1), Ok(vec![opened(1, 1, 8)]));
        let undecided = accounts([opened(1, 1, 7)]);
        assert_eq!(decide(again(), &undecided, 1), Err(MembershipsRejection::AlreadyThere));
        let ended = MembershipEnded { organization: id(1), person: id(7) };
        let ended = Event::Accounts(AccountsEvent::MembershipEnded(ended));
        let state = accounts([opened(1, 1, 7), closed(1, 7, false), ended]);
        assert_eq!(decide(open(1, 1, 8), &state, 1), Ok(vec![opened(1, 1, 8)]));
    }

    #[test]
    fn an_account_is_somebody_in_so_many_organizations_and_no_more() {
        let many = |count: usize| (10..).take(count).map(|number| opened(1, number, number));
        let state = accounts(many(ORGANIZATIONS_PER_ACCOUNT_MAX - 1));
        assert!(decide(open(1, 1, 7), &state, 1).is_ok());
        let state = accounts(many(ORGANIZATIONS_PER_ACCOUNT_MAX));
        assert_eq!(decide(open(1, 1, 7), &state, 1), Err(MembershipsRejection::TooMany));
    }

    #[test]
    fn who_was_refused_so_often_waits_for_another_day_unless_invited() {
        let asked = |number: u128| [opened(1, 1, number), closed(1, number, true)];
        let state = |count: u32| accounts((10..10 + u128::from(count)).flat_map(asked));
        assert!(decide(open(1, 1, 7), &state(ASKS_PER_DAY_MAX - 1), 1).is_ok());
        let state = state(ASKS_PER_DAY_MAX);
        let retry_after_seconds = DAY_SECONDS.unsigned_abs();
        let refused = Err(MembershipsRejection::AskedTooOften { retry_after_seconds });
        assert_eq!(decide(open(1, 1, 7), &state, 1), refused);
        assert!(decide(open(1, 2, 7), &state, 1).is_ok(), "another organization");
        let mut invited = open(1, 1, 7);
        (invited.membership.join_request, invited.membership.invitation) = (None, Some(id(1)));
        assert!(decide(invited, &state, 1).is_ok());
    }

    #[test]
    fn what_the_organization_refused_is_as_if_it_had_never_been() {
        let state = accounts([opened(1, 1, 7)]);
        assert_eq!(close(&state, true), [closed(1, 7, true)]);
        let state = accounts([opened(1, 1, 7), closed(1, 7, true)]);
        assert!(state.accounts.by_person(id(1), id(7)).is_none());
        assert_eq!(state.accounts.get(id(1)).unwrap().persons, []);
        assert!(decide(open(1, 1, 8), &state, 1).is_ok());
    }

    #[test]
    fn what_the_organization_took_is_closed_once_and_the_pair_stays() {
        assert_eq!(close(&accounts([opened(1, 1, 7)]), false), [closed(1, 7, false)]);
        let state = accounts([opened(1, 1, 7), closed(1, 7, false)]);
        assert_eq!(close(&state, false), []);
        assert_eq!(state.accounts.by_person(id(1), id(7)).unwrap().id, id(1));
        assert_eq!(state.memberships.open().count(), 0);
    }
}
