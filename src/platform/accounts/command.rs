//! Making an account (that of the set-up is part of founding), ending it, and what it is in organizations. New credentials
//! stand in `credentials.rs`.

use crate::actor::ActorId;
use crate::command::{Context, Need, NewEvent};
use crate::event::{Resource, ResourceType};
use crate::ids::{AccountId, DataKeyId, OrganizationId, UserId};
use crate::platform::Platform;
use crate::platform::accounts::credentials::{
    ChangeEmail, ChangePassword, CloseEmailChange, RequestEmailChange, RequestReset, ResetPassword,
};
use crate::platform::accounts::event::{
    AccountForgotten, AccountNamed, AccountsEvent, MembershipEnded, SignedUp,
};
use crate::platform::accounts::projection::{Account, Purpose};
use crate::settings::sessions::event::TokenHash;

/// A command to accounts.
#[derive(Clone, Debug)]
pub enum AccountsCommand {
    /// Makes an account, or one to be. Repeating it appends nothing.
    SignUp(SignedUp),
    /// Makes an account of a sign-up.
    VerifyEmail(VerifyEmail),
    /// Forgets a sign-up whose time is over. Repeating it appends nothing.
    ExpireSignUp(AccountId),
    /// Replaces the password, which ends every session but one.
    ChangePassword(ChangePassword),
    /// Makes a link good for setting a new password.
    RequestReset(RequestReset),
    /// Sets a new password by a link, which ends every session.
    ResetPassword(ResetPassword),
    /// Makes a link good for giving the account another address.
    RequestEmailChange(RequestEmailChange),
    /// Gives it that address, which ends every session but one.
    ChangeEmail(ChangeEmail),
    /// Every organization knows the address. Repeating it appends nothing.
    CloseEmailChange(CloseEmailChange),
    /// The account left an organization. Repeating it appends nothing.
    EndMembership(EndMembership),
    /// Deletes an account.
    Delete(DeleteAccount),
}

/// Makes an account of a sign-up.
#[derive(Clone, Copy, Debug)]
pub struct VerifyEmail {
    /// The link that was followed.
    pub token: TokenHash,
}

/// The account left an organization.
#[derive(Clone, Copy, Debug)]
pub struct EndMembership {
    /// The organization.
    pub organization: OrganizationId,
    /// Who the account was there.
    pub person: UserId,
}

/// Deletes an account.
#[derive(Clone, Debug)]
pub struct DeleteAccount {
    /// Which.
    pub account: AccountId,
    /// The generation of the password that was verified: another one in the meantime makes this stale.
    pub verified_generation: u64,
    /// Whom the account was in organizations that it has left: the organizations' own streams say so.
    pub left: Vec<(OrganizationId, UserId)>,
}

/// Why a command to accounts appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountsRejection {
    /// There is no such account of this actor.
    #[error("there is no such account")]
    NotFound,
    /// The credentials were changed since the password was verified.
    #[error("the credentials were changed in the meantime")]
    Stale,
    /// The link was used, is void, has ended, or never was.
    #[error("the link is good for nothing")]
    InvalidLink,
    /// The server is not set up: its first account is its operator's.
    #[error("the server is not set up")]
    NotSetUp,
    /// Too many sign-ups wait.
    #[error("too many sign-ups wait to be verified")]
    TooManySignUps,
    /// The account belongs to an organization.
    #[error("the account belongs to an organization")]
    MembershipsLeft,
}

impl AccountsCommand {
    /// What it needs of its actor.
    pub fn need(&self) -> Need {
        match self {
            Self::SignUp(_)
            | Self::ExpireSignUp(_)
            | Self::RequestReset(_)
            | Self::CloseEmailChange(_)
            | Self::EndMembership(_) => Need::System,
            Self::VerifyEmail(_)
            | Self::ChangePassword(_)
            | Self::ResetPassword(_)
            | Self::RequestEmailChange(_)
            | Self::ChangeEmail(_)
            | Self::Delete(_) => Need::Own,
        }
    }

    /// Whether it takes an account away.
    pub fn is_a_removal(&self) -> bool {
        matches!(self, Self::Delete(_) | Self::EndMembership(_) | Self::ExpireSignUp(_))
    }

    /// Decides.
    ///
    /// # Errors
    /// [`AccountsRejection`].
    pub fn decide(&self, state: &Platform, context: &Context) -> Result<Vec<NewEvent>, AccountsRejection> {
        match self {
            Self::SignUp(signed_up) => sign_up(signed_up, state, context),
            Self::VerifyEmail(command) => command.decide(state, context),
            Self::ExpireSignUp(account) => Ok(expire(*account, state, context)),
            Self::ChangePassword(command) => command.decide(state, context),
            Self::RequestReset(command) => command.decide(state),
            Self::ResetPassword(command) => command.decide(state, context),
            Self::RequestEmailChange(command) => command.decide(state, context),
            Self::ChangeEmail(command) => command.decide(state, context),
            Self::CloseEmailChange(command) => Ok(command.decide(state)),
            Self::EndMembership(command) => Ok(command.decide(state)),
            Self::Delete(command) => command.decide(state, context),
        }
    }
}

/// An event about an account.
pub(super) fn about(account: AccountId, event: AccountsEvent) -> NewEvent {
    NewEvent::new(Resource::new(ResourceType::Account, account), event)
}

fn sign_up(
    signed_up: &SignedUp,
    state: &Platform,
    context: &Context,
) -> Result<Vec<NewEvent>, AccountsRejection> {
    let id = signed_up.account;
    if state.accounts.get(id).is_some() || state.accounts.sign_ups.contains(id) {
        return Ok(Vec::new());
    }
    if signed_up.link.is_some() {
        if !state.foundings.any_ever() {
            return Err(AccountsRejection::NotSetUp);
        }
        if !state.accounts.sign_ups.has_room(context.now) {
            return Err(AccountsRejection::TooManySignUps);
        }
    }
    Ok(vec![about(id, AccountsEvent::SignedUp(signed_up.clone())).using(signed_up.key)])
}

fn expire(id: AccountId, state: &Platform, context: &Context) -> Vec<NewEvent> {
    let key = state.accounts.sign_ups.key_if_due(id, context.now);
    key.map(|key| expired(id, key)).into_iter().collect()
}

/// That an account to be is forgotten, and its key destroyed.
pub fn expired(account: AccountId, key: DataKeyId) -> NewEvent {
    about(account, AccountsEvent::SignUpExpired(AccountForgotten { account, destroyed_keys: vec![key] }))
}

/// That an account is forgotten, and its key destroyed.
pub fn deleted(account: &Account) -> NewEvent {
    let deleted = AccountForgotten { account: account.id, destroyed_keys: vec![account.key] };
    about(account.id, AccountsEvent::AccountDeleted(deleted))
}

impl VerifyEmail {
    fn decide(&self, state: &Platform, context: &Context) -> Result<Vec<NewEvent>, AccountsRejection> {
        let link = state.accounts.link(self.token, context.now).ok_or(AccountsRejection::InvalidLink)?;
        if link.purpose != Purpose::Verify || context.actor.id != ActorId::Account(link.account) {
            return Err(AccountsRejection::InvalidLink);
        }
        let verified = AccountNamed { account: link.account };
        Ok(vec![about(link.account, AccountsEvent::EmailVerified(verified))])
    }
}

impl EndMembership {
    fn decide(self, state: &Platform) -> Vec<NewEvent> {
        let Self { organization, person } = self;
        let account = state.accounts.by_person(organization, person);
        let ended = AccountsEvent::MembershipEnded(MembershipEnded { organization, person });
        account.map(|account| about(account.id, ended).relating(organization)).into_iter().collect()
    }
}

impl DeleteAccount {
    /// Whether the account belongs nowhere any more, so that it can be deleted.
    ///
    /// # Errors
    /// [`AccountsRejection::NotFound`], [`AccountsRejection::MembershipsLeft`].
    pub fn check(&self, state: &Platform) -> Result<(), AccountsRejection> {
        let account = state.accounts.get(self.account).ok_or(AccountsRejection::NotFound)?;
        // The second half of a founding, and of a membership to be, needs the account.
        let founds = state.foundings.of(self.account).next().is_some();
        let joins = state.memberships.of(self.account).next().is_some();
        if founds || joins || !account.persons.iter().all(|person| self.left.contains(person)) {
            return Err(AccountsRejection::MembershipsLeft);
        }
        Ok(())
    }

    fn decide(&self, state: &Platform, context: &Context) -> Result<Vec<NewEvent>, AccountsRejection> {
        let account = state.accounts.get(self.account).ok_or(AccountsRejection::NotFound)?;
        if context.actor.id != ActorId::Account(self.account) {
            return Err(AccountsRejection::NotFound);
        }
        if account.generation != self.verified_generation {
            return Err(AccountsRejection::Stale);
        }
        self.check(state)?;
        Ok(vec![deleted(account)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::clock::{DAY_SECONDS, Timestamp};
    use crate::command::Context;
    use crate::event::Event;
    use crate::given::{by, events, id, now, platform, sealed};
    use crate::ids::StreamId;
    use crate::platform::accounts::event::MailedLink;
    use crate::platform::foundings::event::{FoundingClosed, FoundingOpened, FoundingsEvent};
    use crate::seal::Commitment;

    const WEEK: i64 = 7 * DAY_SECONDS;

    fn signed_up(account: u128, link: Option<u8>) -> SignedUp {
        let link = link
            .map(|number| MailedLink { token: Commitment([number; 32]), ends_at: now().plus_seconds(WEEK) });
        SignedUp {
            account: id(account),
            key: id(account),
            email: sealed(account),
            name: sealed(account),
            password: sealed(account),
            link,
        }
    }

    fn recorded(event: AccountsEvent) -> Event {
        Event::Accounts(event)
    }

    fn opened(organization: u128) -> Event {
        Event::Foundings(FoundingsEvent::FoundingOpened(FoundingOpened {
            organization: id(organization),
            account: id(1),
            person: id(organization),
            name: sealed(1),
            timezone: "UTC".to_owned(),
            plan: None,
        }))
    }

    fn closed(organization: u128) -> Event {
        Event::Foundings(FoundingsEvent::FoundingClosed(FoundingClosed { organization: id(organization) }))
    }

    /// A server that was set up by account 1.
    fn set_up(more: impl IntoIterator<Item = Event>) -> Vec<Event> {
        let first = recorded(AccountsEvent::SignedUp(signed_up(1, None)));
        [first, opened(1), closed(1)].into_iter().chain(more).collect()
    }

    fn pending() -> Event {
        recorded(AccountsEvent::SignedUp(signed_up(2, Some(9))))
    }

    fn account(number: u128) -> Actor {
        Actor { id: ActorId::Account(id(number)), session: None }
    }

    fn decide(
        command: &AccountsCommand,
        given: Vec<Event>,
        actor: Actor,
        at: Timestamp,
    ) -> Result<Vec<Event>, AccountsRejection> {
        events(command.decide(&platform(given), &Context { now: at, ..by(actor) }))
    }

    fn verify(token: u8) -> AccountsCommand {
        AccountsCommand::VerifyEmail(VerifyEmail { token: Commitment([token; 32]) })
    }

    #[test]
    fn who_signs_up_has_an_account_once_the_address_is_verified() {
        let sign_up = AccountsCommand::SignUp(signed_up(2, Some(9)));
        assert_eq!(decide(&sign_up, set_up([]), Actor::SYSTEM, now()), Ok(vec![pending()]));
        assert_eq!(decide(&sign_up, set_up([pending()]), Actor::SYSTEM, now()), Ok(Vec::new()));
        assert!(platform(set_up([pending()])).accounts.get(id(2)).is_none());
        let verified = recorded(AccountsEvent::EmailVerified(AccountNamed { account: id(2) }));
        let decided = decide(&verify(9), set_up([pending()]), account(2), now());
        assert_eq!(decided, Ok(vec![verified.clone()]));
        let state = platform(set_up([pending(), verified.clone()]));
        assert!(state.accounts.get(id(2)).is_some_and(|account| account.is_verified));
        let again = decide(&verify(9), set_up([pending(), verified]), account(2), now());
        assert_eq!(again, Err(AccountsRejection::InvalidLink), "a link works once");
    }

    #[test]
    fn a_link_verifies_within_its_time_and_for_its_own_account() {
        let decided = |actor, seconds| {
            decide(&verify(9), set_up([pending()]), account(actor), now().plus_seconds(seconds))
        };
        assert!(decided(2, WEEK - 1).is_ok());
        assert_eq!(decided(2, WEEK), Err(AccountsRejection::InvalidLink));
        assert_eq!(decided(1, 0), Err(AccountsRejection::InvalidLink));
        let unknown = decide(&verify(8), set_up([pending()]), account(2), now());
        assert_eq!(unknown, Err(AccountsRejection::InvalidLink));
    }

    #[test]
    fn nobody_signs_up_before_the_server_is_set_up() {
        let sign_up = AccountsCommand::SignUp(signed_up(2, Some(9)));
        assert_eq!(decide(&sign_up, vec![], Actor::SYSTEM, now()), Err(AccountsRejection::NotSetUp));
    }

    #[test]
    fn a_sign_up_is_forgotten_thirty_days_after_its_link_has_ended_with_its_key() {
        let expire = AccountsCommand::ExpireSignUp(id(2));
        let decided = |given: Vec<Event>, seconds| {
            decide(&expire, given, Actor::SYSTEM, now().plus_seconds(seconds)).unwrap()
        };
        let kept = WEEK + 30 * DAY_SECONDS;
        assert_eq!(decided(set_up([pending()]), kept - 1), []);
        let forgotten = AccountForgotten { account: id(2), destroyed_keys: vec![id(2)] };
        let expired = recorded(AccountsEvent::SignUpExpired(forgotten));
        assert_eq!(decided(set_up([pending()]), kept), vec![expired.clone()]);
        assert_eq!(decided(set_up([pending(), expired]), kept), []);
        let verified = recorded(AccountsEvent::EmailVerified(AccountNamed { account: id(2) }));
        assert_eq!(decided(set_up([pending(), verified]), kept), [], "an account is not forgotten");
    }

    #[test]
    fn so_many_sign_ups_wait_and_those_that_ended_make_room() {
        let mut state = platform(set_up([]));
        let sign_up = |number| Event::Accounts(AccountsEvent::SignedUp(signed_up(number, Some(9))));
        let at = |seconds| now().plus_seconds(seconds);
        for number in 100..20_100 {
            state.apply(&crate::given::recorded(
                StreamId::Platform,
                9,
                now(),
                Actor::SYSTEM,
                sign_up(number),
            ));
        }
        let further = AccountsCommand::SignUp(signed_up(2, Some(8)));
        let decided = |state: &Platform, now| {
            events(further.decide(state, &Context { now, ..by(Actor::SYSTEM) })).map(|events| events.len())
        };
        assert_eq!(decided(&state, at(WEEK - 1)), Err(AccountsRejection::TooManySignUps));
        assert_eq!(decided(&state, at(WEEK)), Ok(1));
        let late = sign_up(2);
        state.apply(&crate::given::recorded(StreamId::Platform, 9, at(WEEK), Actor::SYSTEM, late));
        assert!(state.accounts.sign_ups.get(id(100)).is_none(), "of what has ended only the key is left");
        assert_eq!(state.accounts.sign_ups.len(), 20_001);
        let kept = WEEK + 30 * DAY_SECONDS;
        let expire = AccountsCommand::ExpireSignUp(id(100));
        let expired = |seconds| expire.decide(&state, &Context { now: at(seconds), ..by(Actor::SYSTEM) });
        assert_eq!((expired(kept - 1).unwrap().len(), expired(kept).unwrap().len()), (0, 1));
        assert_eq!(state.accounts.sign_ups.due(at(kept)).count(), 20_001);
    }

    fn ended(organization: u128) -> Event {
        let (organization, person) = (id(organization), id(organization));
        recorded(AccountsEvent::MembershipEnded(MembershipEnded { organization, person }))
    }

    #[test]
    fn a_membership_ends_once() {
        let end = AccountsCommand::EndMembership(EndMembership { organization: id(1), person: id(1) });
        assert_eq!(decide(&end, set_up([]), Actor::SYSTEM, now()), Ok(vec![ended(1)]));
        assert_eq!(decide(&end, set_up([ended(1)]), Actor::SYSTEM, now()), Ok(Vec::new()));
    }

    fn delete(verified_generation: u64, left: &[u128]) -> AccountsCommand {
        let left = left.iter().map(|number| (id(*number), id(*number))).collect();
        AccountsCommand::Delete(DeleteAccount { account: id(1), verified_generation, left })
    }

    #[test]
    fn an_account_that_has_left_everywhere_is_deleted_with_its_key() {
        let forgotten = AccountForgotten { account: id(1), destroyed_keys: vec![id(1)] };
        let deleted = recorded(AccountsEvent::AccountDeleted(forgotten));
        for (given, left) in [(set_up([]), &[1][..]), (set_up([ended(1)]), &[])] {
            assert_eq!(decide(&delete(1, left), given, account(1), now()), Ok(vec![deleted.clone()]));
        }
        let state = platform(set_up([deleted]));
        assert!(state.accounts.get(id(1)).is_none() && state.accounts.by_person(id(1), id(1)).is_none());
    }

    #[test]
    fn an_account_that_belongs_or_is_about_to_belong_somewhere_stays() {
        let left = Err(AccountsRejection::MembershipsLeft);
        assert_eq!(decide(&delete(1, &[]), set_up([]), account(1), now()), left);
        assert_eq!(decide(&delete(1, &[1]), set_up([opened(2), closed(2)]), account(1), now()), left);
        assert_eq!(decide(&delete(1, &[1, 2]), set_up([opened(2)]), account(1), now()), left);
    }

    #[test]
    fn an_account_is_deleted_by_itself_alone_and_by_its_present_password() {
        assert_eq!(decide(&delete(1, &[1]), set_up([]), account(2), now()), Err(AccountsRejection::NotFound));
        assert_eq!(decide(&delete(2, &[1]), set_up([]), account(1), now()), Err(AccountsRejection::Stale));
    }
}
