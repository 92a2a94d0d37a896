//! Memberships to be: an account becomes somebody in an organization, or asks to. The organization's stream decides, and may
//! refuse; either way the intent is closed.

use std::sync::Arc;

use crate::actor::{Actor, ActorId};
use crate::command::{Command, Rejection};
use crate::ids::{Fresh, InvitationId, JoinRequestId, StreamId, UserId};
use crate::platform::accounts;
use crate::platform::accounts::command::{AccountsCommand, EndMembership};
use crate::platform::accounts::projection::Account;
use crate::platform::memberships::command::{CloseMembership, MembershipsCommand};
use crate::platform::memberships::event::{Ground, MembershipOpened};
use crate::seal::keyring::{KeyError, NewDataKey};
use crate::seal::{DataKey, Plain};
use crate::settings::invitations::acceptance::AcceptInvitation;
use crate::settings::invitations::command::{InvitationsCommand, InvitationsRejection};
use crate::settings::join_requests::command::{AskToJoin, JoinRequestsCommand, JoinRequestsRejection};
use crate::settings::join_requests::withdrawing::WithdrawJoinRequest;
use crate::settings::people;
use crate::settings::people::event::PersonJoined;
use crate::store::intents::IntentError;
use crate::store::resident::{Handle, View};
use crate::store::{Refusal, Store, Submission};

/// What the organization is asked, prepared: its command, and the data keys that it is the first to use.
struct Prepared {
    command: Command,
    keys: Vec<NewDataKey>,
}

impl Store {
    /// As [`Store::finish_membership`], in a task of its own: a caller that goes away does not leave it half done.
    ///
    /// # Errors
    /// As [`Store::finish_membership`].
    pub async fn finish_membership_detached(
        &self,
        membership: MembershipOpened,
    ) -> Result<Arc<Handle>, IntentError> {
        let store = self.clone();
        tokio::spawn(async move { store.finish_membership(&membership).await }).await?
    }

    /// The second half of a membership to be, and its end. Safe to repeat. The organization, once it has decided.
    ///
    /// # Errors
    /// [`Refusal::Rejected`] where the organization refuses: then the intent is closed, and the account and the person are
    /// no pair any more; [`Rejection::Stale`] where it was finished meanwhile, and the organization had refused. Any other
    /// error leaves it open.
    pub async fn finish_membership(&self, membership: &MembershipOpened) -> Result<Arc<Handle>, IntentError> {
        let MembershipOpened { organization, person, .. } = *membership;
        // What is refused must not be accepted afterwards: account and person are no pair then.
        let _lane = self.inner.deciding.of(person.uuid().into_bytes()).await;
        if self.platform().view().platform().memberships.get(organization, person) != Some(membership) {
            return self.decided_already(membership).await;
        }
        let decided = self.decide_membership(membership).await;
        let refused = match &decided {
            Ok(_) => false,
            Err(IntentError::Refused(Refusal::Rejected(_))) => true,
            Err(_) => return decided,
        };
        if let Ok(handle) = &decided {
            self.part_from_others(membership, handle).await?;
        }
        let close = MembershipsCommand::Close(CloseMembership { organization, person, refused });
        self.execute(self.platform(), Submission::new(close, Actor::SYSTEM)).await?;
        decided
    }

    /// Declines the request of somebody who waits to be let in and whose address is another one now: they may ask again by
    /// that one.
    pub(super) async fn withdraw_by_other_address(
        &self,
        handle: &Arc<Handle>,
        person: UserId,
        email: &Plain,
    ) -> Result<(), IntentError> {
        let (view, stream) = (handle.view(), handle.stream());
        let Some(request) = view.organization().join_requests.pending_of(person) else { return Ok(()) };
        let key = match self.ring().data_key(stream, request.key, request.commitment) {
            Ok(key) => key,
            Err(error) => {
                handle.beyond(view.version()).await;
                let waits = handle.view().organization().join_requests.pending_of(person).is_some();
                return if waits { Err(error.into()) } else { Ok(()) };
            }
        };
        let asked_by = key.open(&people::email_field(stream, &person.to_string()), &request.email);
        if asked_by.map_err(KeyError::from)?.as_bytes() != email.as_bytes() {
            self.withdraw_request(handle, person, Actor::SYSTEM).await?;
        }
        Ok(())
    }

    /// Takes back the request of somebody who waits to be let in, if they do.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn withdraw_request(
        &self,
        handle: &Arc<Handle>,
        person: UserId,
        actor: Actor,
    ) -> Result<(), Refusal> {
        let withdraw = JoinRequestsCommand::Withdraw(WithdrawJoinRequest { person });
        if self.execute(handle, Submission::new(withdraw, actor)).await?.events == 0 {
            return Ok(());
        }
        let StreamId::Organization(organization) = handle.stream() else { return Ok(()) };
        let end = AccountsCommand::EndMembership(EndMembership { organization, person });
        self.execute(self.platform(), Submission::new(end, Actor::SYSTEM)).await?;
        Ok(())
    }

    /// Parts the account from whom it was to be in the organization and is not: it came another way, or asked again.
    async fn part_from_others(&self, membership: &MembershipOpened, handle: &Handle) -> Result<(), Refusal> {
        // Before the organization: its state then knows of all that is not open here.
        let platform = self.platform().view();
        let platform = platform.platform();
        let Some(account) = platform.accounts.get(membership.account) else { return Ok(()) };
        let organization = membership.organization;
        let view = handle.view();
        let (people, requests) = (&view.organization().people, &view.organization().join_requests);
        for person in others(account, membership) {
            let is_open = platform.memberships.get(organization, person).is_some();
            if !is_open && people.get(person).is_none() && requests.pending_of(person).is_none() {
                let end = AccountsCommand::EndMembership(EndMembership { organization, person });
                self.execute(self.platform(), Submission::new(end, Actor::SYSTEM)).await?;
            }
        }
        Ok(())
    }

    /// What somebody else has finished: the organization tells whether it took them. Why it refused, its next answer says.
    async fn decided_already(&self, membership: &MembershipOpened) -> Result<Arc<Handle>, IntentError> {
        let refused = || rejected(Rejection::Stale);
        let handle = self.organization(membership.organization).await?.ok_or_else(refused)?;
        let view = handle.view();
        let organization = view.organization();
        let requested = membership.join_request.and_then(|id| organization.join_requests.get(id));
        let is_taken = organization.people.ever(membership.person).is_some() || requested.is_some();
        if is_taken { Ok(handle) } else { Err(refused()) }
    }

    async fn decide_membership(&self, membership: &MembershipOpened) -> Result<Arc<Handle>, IntentError> {
        let Some(handle) = self.organization(membership.organization).await? else {
            return Err(rejected(JoinRequestsRejection::NotJoinable));
        };
        let view = handle.view();
        // What made them a member is there no more, so it cannot be prepared anew.
        if view.organization().people.ever(membership.person).is_some() {
            return Ok(handle);
        }
        let prepared = match self.prepared(membership, &view).await {
            // What it rests on may be over just now, its key with it: an invitation that was taken back is not there then.
            Err(IntentError::Key(_)) => {
                handle.beyond(view.version()).await;
                self.prepared(membership, &handle.view()).await?
            }
            prepared => prepared?,
        };
        let actor = Actor { id: ActorId::Person(membership.person), session: None };
        let mut submission = Submission::new(prepared.command, actor);
        submission.keys = prepared.keys;
        self.execute(&handle, submission).await?;
        Ok(handle)
    }

    async fn prepared(
        &self,
        membership: &MembershipOpened,
        view: &Arc<View>,
    ) -> Result<Prepared, IntentError> {
        let (store, membership, view) = (self.clone(), membership.clone(), Arc::clone(view));
        tokio::task::spawn_blocking(move || store.prepare_membership(&membership, &view)).await?
    }

    /// What the organization is asked, by the ground of the membership.
    fn prepare_membership(
        &self,
        membership: &MembershipOpened,
        view: &View,
    ) -> Result<Prepared, IntentError> {
        let platform = self.platform().view();
        let account = platform
            .platform()
            .accounts
            .get(membership.account)
            .ok_or_else(|| IntentError::Invalid("its account is not there".to_owned()))?;
        match membership.ground() {
            Some(Ground::Domain(request)) => self.prepare_to_ask(membership, request, account, view),
            Some(Ground::Invitation(invitation)) => {
                self.prepare_to_accept(membership, invitation, account, view)
            }
            None => Err(IntentError::Invalid("it has no ground".to_owned())),
        }
    }

    /// That somebody accepts an invitation, whose key becomes theirs.
    fn prepare_to_accept(
        &self,
        membership: &MembershipOpened,
        invitation: InvitationId,
        account: &Account,
        view: &View,
    ) -> Result<Prepared, IntentError> {
        let found = view.organization().invitations.get(invitation);
        let found = found.ok_or_else(|| rejected(InvitationsRejection::InvalidLink))?;
        let key = self.ring().data_key(view.stream, found.key, found.commitment)?;
        let person = self.joining(membership, view.stream, account, &key)?;
        let others = others(account, membership).collect();
        let accept = AcceptInvitation { invitation, person, assignment: Fresh.id(), others };
        Ok(Prepared { command: InvitationsCommand::Accept(accept).into(), keys: Vec::new() })
    }

    /// That a domain user asks to join.
    fn prepare_to_ask(
        &self,
        membership: &MembershipOpened,
        join_request: JoinRequestId,
        account: &Account,
        view: &View,
    ) -> Result<Prepared, IntentError> {
        let domain =
            self.verified_domain(account)?.ok_or_else(|| rejected(JoinRequestsRejection::NotJoinable))?;
        let is_vouched = self.is_vouched(view, &domain);
        let key = self.ring().mint(view.stream)?;
        let person = self.joining(membership, view.stream, account, key.key())?;
        let ask = AskToJoin { join_request, person, domain, is_vouched, assignment: Fresh.id() };
        Ok(Prepared { command: JoinRequestsCommand::Ask(ask).into(), keys: vec![key] })
    }

    /// The person that an account will be: its name and address, opened and sealed anew for the organization's stream.
    fn joining(
        &self,
        membership: &MembershipOpened,
        stream: StreamId,
        account: &Account,
        key: &DataKey,
    ) -> Result<PersonJoined, KeyError> {
        let person = membership.person.to_string();
        let seal = |field, plain: &Plain| key.seal(&field, plain);
        Ok(PersonJoined {
            person: membership.person,
            key: key.id(),
            name: seal(people::name_field(stream, &person), &accounts::open_name(account, self.ring())?),
            email: seal(people::email_field(stream, &person), &accounts::open_email(account, self.ring())?),
        })
    }
}

/// Whom else an account is in the organization, or was, or asked to be.
fn others(account: &Account, membership: &MembershipOpened) -> impl Iterator<Item = UserId> {
    let (there, person) = (membership.organization, membership.person);
    account.persons.iter().filter(move |pair| pair.0 == there && pair.1 != person).map(|(_, person)| *person)
}

fn rejected(rejection: impl Into<Rejection>) -> IntentError {
    IntentError::Refused(Refusal::Rejected(rejection.into()))
}
