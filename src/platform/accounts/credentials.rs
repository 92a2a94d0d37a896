//! New credentials: a password or an address that takes the place of another. Both raise the account's credential
//! generation, which ends its sessions and makes void whatever was mailed before.

use crate::actor::ActorId;
use crate::command::{Context, NewEvent};
use crate::ids::{AccountId, SessionId};
use crate::platform::Platform;
use crate::platform::accounts::command::{AccountsRejection, about};
use crate::platform::accounts::event::{
    AccountsEvent, EmailChangeClosed, EmailChangeRequested, EmailChanged, MailedLink, PasswordChanged,
    PasswordReset, PasswordResetRequested,
};
use crate::platform::accounts::projection::{Account, Link, Purpose};
use crate::seal::Sealed;
use crate::settings::sessions::event::TokenHash;

/// Replaces the password.
#[derive(Clone, Debug)]
pub struct ChangePassword {
    /// Whose.
    pub account: AccountId,
    /// The new hash.
    pub password: Sealed,
    /// The generation of the password that was verified: another one in the meantime makes this stale.
    pub verified_generation: u64,
    /// The session that goes on.
    pub spares: Option<SessionId>,
}

/// Makes a link good for setting a new password.
#[derive(Clone, Copy, Debug)]
pub struct RequestReset {
    /// Whose.
    pub account: AccountId,
    /// The link that is mailed.
    pub link: MailedLink,
}

/// Sets a new password by a link.
#[derive(Clone, Debug)]
pub struct ResetPassword {
    /// The link that was followed.
    pub token: TokenHash,
    /// The new hash.
    pub password: Sealed,
}

/// Makes a link good for giving the account another address.
#[derive(Clone, Debug)]
pub struct RequestEmailChange {
    /// Whose.
    pub account: AccountId,
    /// The address.
    pub email: Sealed,
    /// The link that is mailed there.
    pub link: MailedLink,
    /// The generation of the password that was verified: another one in the meantime makes this stale.
    pub verified_generation: u64,
    /// The session that goes on.
    pub session: SessionId,
}

/// Gives the account another address by a link.
#[derive(Clone, Copy, Debug)]
pub struct ChangeEmail {
    /// The link that was followed.
    pub token: TokenHash,
}

/// Every organization knows the address.
#[derive(Clone, Copy, Debug)]
pub struct CloseEmailChange {
    /// Whose.
    pub account: AccountId,
    /// The generation that it came with.
    pub generation: u64,
}

impl ChangePassword {
    pub(super) fn decide(
        &self,
        state: &Platform,
        context: &Context,
    ) -> Result<Vec<NewEvent>, AccountsRejection> {
        let account = own(state, context, self.account, self.verified_generation)?;
        let changed = PasswordChanged {
            account: self.account,
            password: self.password.clone(),
            generation: account.generation + 1,
            spares: self.spares,
        };
        Ok(vec![about(self.account, AccountsEvent::PasswordChanged(changed))])
    }
}

impl RequestReset {
    pub(super) fn decide(self, state: &Platform) -> Result<Vec<NewEvent>, AccountsRejection> {
        state.accounts.get(self.account).ok_or(AccountsRejection::NotFound)?;
        let requested = PasswordResetRequested { account: self.account, link: self.link };
        Ok(vec![about(self.account, AccountsEvent::PasswordResetRequested(requested))])
    }
}

impl ResetPassword {
    pub(super) fn decide(
        &self,
        state: &Platform,
        context: &Context,
    ) -> Result<Vec<NewEvent>, AccountsRejection> {
        let (account, link) = followed(state, context, self.token)?;
        if link.purpose != Purpose::Reset {
            return Err(AccountsRejection::InvalidLink);
        }
        let reset = PasswordReset {
            account: account.id,
            password: self.password.clone(),
            generation: account.generation + 1,
        };
        Ok(vec![about(account.id, AccountsEvent::PasswordReset(reset))])
    }
}

impl RequestEmailChange {
    pub(super) fn decide(
        &self,
        state: &Platform,
        context: &Context,
    ) -> Result<Vec<NewEvent>, AccountsRejection> {
        own(state, context, self.account, self.verified_generation)?;
        let requested = EmailChangeRequested {
            account: self.account,
            email: self.email.clone(),
            link: self.link,
            session: self.session,
        };
        Ok(vec![about(self.account, AccountsEvent::EmailChangeRequested(requested))])
    }
}

impl ChangeEmail {
    pub(super) fn decide(
        self,
        state: &Platform,
        context: &Context,
    ) -> Result<Vec<NewEvent>, AccountsRejection> {
        let (account, link) = followed(state, context, self.token)?;
        let Purpose::ChangeEmail { email, session } = &link.purpose else {
            return Err(AccountsRejection::InvalidLink);
        };
        let changed = EmailChanged {
            account: account.id,
            email: email.clone(),
            generation: account.generation + 1,
            spares: *session,
        };
        Ok(vec![about(account.id, AccountsEvent::EmailChanged(changed))])
    }
}

impl CloseEmailChange {
    pub(super) fn decide(self, state: &Platform) -> Vec<NewEvent> {
        let Self { account, generation } = self;
        if state.accounts.email_change(account) != Some(generation) {
            return Vec::new();
        }
        let closed = EmailChangeClosed { account, generation };
        vec![about(account, AccountsEvent::EmailChangeClosed(closed))]
    }
}

/// The actor's own account, if its credentials are still those that were verified.
fn own<'a>(
    state: &'a Platform,
    context: &Context,
    id: AccountId,
    verified_generation: u64,
) -> Result<&'a Account, AccountsRejection> {
    let account = state.accounts.get(id).ok_or(AccountsRejection::NotFound)?;
    if context.actor.id != ActorId::Account(id) {
        return Err(AccountsRejection::NotFound);
    }
    if account.generation != verified_generation {
        return Err(AccountsRejection::Stale);
    }
    Ok(account)
}

/// A link that the actor followed, and their account.
fn followed<'a>(
    state: &'a Platform,
    context: &Context,
    token: TokenHash,
) -> Result<(&'a Account, &'a Link), AccountsRejection> {
    let link = state.accounts.link(token, context.now).ok_or(AccountsRejection::InvalidLink)?;
    let account = state.accounts.get(link.account).ok_or(AccountsRejection::InvalidLink)?;
    if context.actor.id != ActorId::Account(link.account) {
        return Err(AccountsRejection::InvalidLink);
    }
    Ok((account, link))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::clock::HOUR_SECONDS;
    use crate::event::Event;
    use crate::given::{by, events, id, now, platform, sealed};
    use crate::platform::accounts::command::AccountsCommand;
    use crate::platform::accounts::event::SignedUp;
    use crate::platform::foundings::event::{FoundingOpened, FoundingsEvent};
    use crate::seal::Commitment;

    fn signed_up() -> Event {
        recorded(AccountsEvent::SignedUp(SignedUp {
            account: id(1),
            key: id(1),
            email: sealed(1),
            name: sealed(1),
            password: sealed(1),
            link: None,
        }))
    }

    fn joined() -> Event {
        Event::Foundings(FoundingsEvent::FoundingOpened(FoundingOpened {
            organization: id(1),
            account: id(1),
            person: id(1),
            name: sealed(1),
            timezone: "UTC".to_owned(),
            plan: None,
        }))
    }

    fn recorded(event: AccountsEvent) -> Event {
        Event::Accounts(event)
    }

    fn link(number: u8) -> MailedLink {
        MailedLink { token: Commitment([number; 32]), ends_at: now().plus_seconds(HOUR_SECONDS) }
    }

    fn change_password(account: u128, verified_generation: u64) -> AccountsCommand {
        AccountsCommand::ChangePassword(ChangePassword {
            account: id(account),
            password: sealed(2),
            verified_generation,
            spares: Some(id(1)),
        })
    }

    fn password_changed() -> Event {
        let (account, password, spares) = (id(1), sealed(2), Some(id(1)));
        recorded(AccountsEvent::PasswordChanged(PasswordChanged { account, password, generation: 2, spares }))
    }

    fn reset_requested(number: u8) -> Event {
        let requested = PasswordResetRequested { account: id(1), link: link(number) };
        recorded(AccountsEvent::PasswordResetRequested(requested))
    }

    fn reset(number: u8) -> AccountsCommand {
        let (token, password) = (link(number).token, sealed(3));
        AccountsCommand::ResetPassword(ResetPassword { token, password })
    }

    fn was_reset() -> Event {
        let reset = PasswordReset { account: id(1), password: sealed(3), generation: 2 };
        recorded(AccountsEvent::PasswordReset(reset))
    }

    fn change_requested(number: u8) -> Event {
        let (account, email, link, session) = (id(1), sealed(4), link(number), id(7));
        recorded(AccountsEvent::EmailChangeRequested(EmailChangeRequested { account, email, link, session }))
    }

    fn change_email(number: u8) -> AccountsCommand {
        AccountsCommand::ChangeEmail(ChangeEmail { token: link(number).token })
    }

    fn email_changed() -> Event {
        let (account, email, spares) = (id(1), sealed(4), id(7));
        recorded(AccountsEvent::EmailChanged(EmailChanged { account, email, generation: 2, spares }))
    }

    fn decide(
        command: &AccountsCommand,
        given: impl IntoIterator<Item = Event>,
        actor: u128,
    ) -> Result<Vec<Event>, AccountsRejection> {
        let actor = Actor { id: ActorId::Account(id(actor)), session: None };
        let given = [signed_up()].into_iter().chain(given);
        events(command.decide(&platform(given), &by(actor)))
    }

    #[test]
    fn a_new_password_raises_the_generation_and_spares_one_session() {
        assert_eq!(decide(&change_password(1, 1), [], 1), Ok(vec![password_changed()]));
        assert_eq!(decide(&change_password(1, 1), [password_changed()], 1), Err(AccountsRejection::Stale));
    }

    #[test]
    fn an_account_is_changed_only_by_itself() {
        assert_eq!(decide(&change_password(1, 1), [], 2), Err(AccountsRejection::NotFound));
        assert_eq!(decide(&change_password(2, 1), [], 2), Err(AccountsRejection::NotFound));
    }

    #[test]
    fn a_forgotten_password_is_set_anew_by_a_link_once() {
        let request = AccountsCommand::RequestReset(RequestReset { account: id(1), link: link(1) });
        assert_eq!(decide(&request, [], 1), Ok(vec![reset_requested(1)]));
        assert_eq!(decide(&reset(1), [reset_requested(1)], 1), Ok(vec![was_reset()]));
        let invalid = Err(AccountsRejection::InvalidLink);
        assert_eq!(decide(&reset(1), [reset_requested(1), was_reset()], 1), invalid);
        assert_eq!(decide(&reset(2), [reset_requested(1)], 1), invalid, "another token");
        assert_eq!(decide(&reset(1), [reset_requested(1)], 2), invalid, "another's");
        let unknown = AccountsCommand::RequestReset(RequestReset { account: id(9), link: link(1) });
        assert_eq!(decide(&unknown, [], 1), Err(AccountsRejection::NotFound));
    }

    #[test]
    fn a_link_ends_with_its_hour() {
        let state = platform([signed_up(), reset_requested(1)]);
        let actor = Actor { id: ActorId::Account(id(1)), session: None };
        let decided = |seconds| {
            let context = Context { now: now().plus_seconds(seconds), ..by(actor) };
            reset(1).decide(&state, &context).map(|events| events.len())
        };
        assert_eq!(decided(HOUR_SECONDS - 1), Ok(1));
        assert_eq!(decided(HOUR_SECONDS), Err(AccountsRejection::InvalidLink));
    }

    #[test]
    fn new_credentials_make_void_what_was_mailed_before() {
        for changed in [password_changed(), was_reset(), email_changed()] {
            let given = || [reset_requested(1), change_requested(2), changed.clone()];
            assert_eq!(decide(&reset(1), given(), 1), Err(AccountsRejection::InvalidLink), "{changed:?}");
            let decided = decide(&change_email(2), given(), 1);
            assert_eq!(decided, Err(AccountsRejection::InvalidLink), "{changed:?}");
        }
    }

    #[test]
    fn a_link_does_what_it_was_mailed_for_and_nothing_else() {
        let invalid = Err(AccountsRejection::InvalidLink);
        assert_eq!(decide(&reset(1), [change_requested(1)], 1), invalid);
        assert_eq!(decide(&change_email(1), [reset_requested(1)], 1), invalid);
    }

    #[test]
    fn of_many_links_the_newest_are_good() {
        let given = || (1..=9).map(reset_requested);
        assert_eq!(decide(&reset(1), given(), 1), Err(AccountsRejection::InvalidLink));
        assert!(decide(&reset(2), given(), 1).is_ok() && decide(&reset(9), given(), 1).is_ok());
    }

    #[test]
    fn another_address_is_asked_for_and_confirmed() {
        let request = |verified_generation| {
            let (account, email, link, session) = (id(1), sealed(4), link(1), id(7));
            let request = RequestEmailChange { account, email, link, verified_generation, session };
            AccountsCommand::RequestEmailChange(request)
        };
        assert_eq!(decide(&request(1), [], 1), Ok(vec![change_requested(1)]));
        assert_eq!(decide(&request(2), [], 1), Err(AccountsRejection::Stale));
        assert_eq!(decide(&request(1), [], 2), Err(AccountsRejection::NotFound));
        assert_eq!(decide(&change_email(1), [change_requested(1)], 1), Ok(vec![email_changed()]));
        assert_eq!(decide(&change_email(1), [change_requested(1)], 2), Err(AccountsRejection::InvalidLink));
        let state = platform([signed_up(), change_requested(1), email_changed()]);
        let account = state.accounts.get(id(1)).unwrap();
        assert_eq!((&account.email, account.is_verified, account.generation), (&sealed(4), true, 2));
        assert_eq!(account.spared, Some(id(7)));
    }

    #[test]
    fn a_changed_address_is_open_until_every_organization_knows_it() {
        let close =
            |generation| AccountsCommand::CloseEmailChange(CloseEmailChange { account: id(1), generation });
        let given = || [joined(), change_requested(1), email_changed()];
        let closed = EmailChangeClosed { account: id(1), generation: 2 };
        let closed = recorded(AccountsEvent::EmailChangeClosed(closed));
        assert_eq!(decide(&close(2), given(), 1), Ok(vec![closed.clone()]));
        assert_eq!(decide(&close(1), given(), 1), Ok(Vec::new()), "of an earlier change");
        assert_eq!(decide(&close(2), given().into_iter().chain([closed]), 1), Ok(Vec::new()));
        let alone = [change_requested(1), email_changed()];
        assert_eq!(decide(&close(2), alone, 1), Ok(Vec::new()), "no organization is to be told");
    }
}
