//! What spans two streams: an intent where the uniqueness is, second halves elsewhere, then an event that closes it.
//!
//! If we die after the intent, it is open state and is finished at start; if we die after the second half, finishing
//! it again appends nothing there and closes the intent. So a command touches one stream, and no log needs a
//! transaction over several.

use std::sync::Arc;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::ids::{AccountId, Fresh, OrganizationId, StreamId, UserId};
use crate::platform::accounts;
use crate::platform::accounts::command::AccountsCommand;
use crate::platform::accounts::credentials::CloseEmailChange;
use crate::platform::accounts::projection::Account;
use crate::platform::foundings;
use crate::platform::foundings::command::FoundingsCommand;
use crate::platform::foundings::event::FoundingOpened;
use crate::platform::memberships::event::MembershipOpened;
use crate::platform::plans::projection::Plan;
use crate::seal::keyring::{KeyError, NewDataKey};
use crate::settings::general::command::{FoundOrganization, GeneralCommand};
use crate::settings::general::value::Timezone;
use crate::settings::people;
use crate::settings::people::command::PeopleCommand;
use crate::settings::people::event::{PersonEmailChanged, PersonJoined};
use crate::store::load::LoadError;
use crate::store::resident::Handle;
use crate::store::rotation::RotationError;
use crate::store::{Refusal, Store, Submission};
use crate::text::Name;

mod deletions;
mod memberships;

/// An intent that could not be finished now; it stays open, and is finished at the next start.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    /// A key was not to be had.
    #[error("a key is not to be had")]
    Key(#[from] KeyError),
    /// A stream could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store refused a command.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A stream's key could not be replaced.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// What the intent holds is not what was put there, or another one comes before it.
    #[error("the intent cannot be finished as things are: {0}")]
    Invalid(String),
    /// The thread that works on keys died.
    #[error("the thread that works on keys died")]
    Thread(#[from] tokio::task::JoinError),
}

impl Store {
    /// Finishes every open intent, at start and then each time the scheduler looks. One that cannot be finished now
    /// (the disk is full, the clock jumped) stays open, is logged, and keeps nothing else from going on.
    pub async fn finish_intents(&self) {
        let platform = || self.platform().view();
        let foundings: Vec<_> = platform().platform().foundings.open().cloned().collect();
        self.finish_foundings(&foundings).await;
        self.finish_deletions().await;
        let memberships: Vec<_> = platform().platform().memberships.open().cloned().collect();
        self.finish_memberships(&memberships).await;
        // After those: whoever is about to join somewhere may have joined with the address of before.
        let changed: Vec<AccountId> = platform().platform().accounts.email_changes().collect();
        for account in changed {
            if let Err(error) = self.finish_email_change(account).await {
                let error = with_causes(&error);
                tracing::error!(%account, error, "a changed address stays open; it is tried again each minute");
            }
        }
    }

    /// As [`Store::finish_intents`], but only the foundings and memberships to be of one account: a request that repeats
    /// an earlier one may meet it between its halves, or cut there, and has nobody else's work to do.
    pub async fn finish_intents_of(&self, account: AccountId) {
        let platform = || self.platform().view();
        let foundings: Vec<_> = platform().platform().foundings.of(account).cloned().collect();
        self.finish_foundings(&foundings).await;
        let memberships: Vec<_> = platform().platform().memberships.of(account).cloned().collect();
        self.finish_memberships(&memberships).await;
    }

    async fn finish_foundings(&self, foundings: &[FoundingOpened]) {
        for founding in foundings {
            if let Err(error) = self.finish_founding(founding).await {
                let (organization, error) = (founding.organization, with_causes(&error));
                tracing::error!(%organization, error, "a founding stays open; it is tried again each minute");
            }
        }
    }

    async fn finish_memberships(&self, memberships: &[MembershipOpened]) {
        for membership in memberships {
            let MembershipOpened { organization, person, .. } = membership;
            match self.finish_membership(membership).await {
                Ok(_) => {}
                Err(IntentError::Refused(Refusal::Rejected(rejection))) => {
                    tracing::info!(%organization, %person, %rejection, "an organization refused a membership");
                }
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::error!(%organization, %person, error, "a membership stays open; it is tried again each minute");
                }
            }
        }
    }

    /// As [`Store::finish_founding`], in a task of its own: a caller that goes away does not leave it half done.
    ///
    /// # Errors
    /// When it cannot be finished now; the intent stays open.
    pub async fn finish_founding_detached(
        &self,
        founding: FoundingOpened,
    ) -> Result<Arc<Handle>, IntentError> {
        let store = self.clone();
        tokio::spawn(async move { store.finish_founding(&founding).await }).await?
    }

    /// As [`Store::finish_email_change`], in a task of its own.
    ///
    /// # Errors
    /// When it cannot be finished now; the intent stays open.
    pub async fn finish_email_change_detached(&self, account: AccountId) -> Result<(), IntentError> {
        let store = self.clone();
        tokio::spawn(async move { store.finish_email_change(account).await }).await?
    }

    /// Tells every organization that an account is somebody in its new address, and closes the intent. Safe to repeat.
    ///
    /// # Errors
    /// When it cannot be finished now; the intent stays open.
    pub async fn finish_email_change(&self, account: AccountId) -> Result<(), IntentError> {
        let platform = self.platform().view();
        let platform = platform.platform();
        let accounts = &platform.accounts;
        let open = accounts.get(account).zip(accounts.email_change(account));
        let Some((account, generation)) = open else { return Ok(()) };
        // Its second half may have taken the address of before, and not be there yet.
        let founds = platform.foundings.of(account.id).next().is_some();
        if founds || platform.memberships.of(account.id).next().is_some() {
            return Err(IntentError::Invalid("a founding or a membership of the account is open".to_owned()));
        }
        for (organization, person) in &account.persons {
            self.tell_email(account, generation, *organization, *person).await?;
        }
        let close = AccountsCommand::CloseEmailChange(CloseEmailChange { account: account.id, generation });
        self.execute(self.platform(), Submission::new(close, Actor::SYSTEM)).await?;
        Ok(())
    }

    /// Opens the address that is sealed for the platform's stream, and seals it anew for one organization's.
    async fn tell_email(
        &self,
        account: &Account,
        generation: u64,
        organization: OrganizationId,
        person: UserId,
    ) -> Result<(), IntentError> {
        let Some(handle) = self.organization(organization).await? else { return Ok(()) };
        let view = handle.view();
        let stream = handle.stream();
        let email = accounts::open_email(account, self.ring())?;
        // Who has left needs no address, and who waits to be let in does so by the address of before.
        let Some(held) = view.organization().people.get(person) else {
            return self.withdraw_by_other_address(&handle, person, &email).await;
        };
        let key = match self.ring().data_key(stream, held.key, held.commitment) {
            Ok(key) => key,
            Err(error) => {
                handle.beyond(view.version()).await;
                let is_there = handle.view().organization().people.get(person).is_some();
                // Who was erased just now needs no address either.
                return if is_there { Err(error.into()) } else { Ok(()) };
            }
        };
        let email = key.seal(&people::email_field(stream, &person.to_string()), &email);
        let command = PeopleCommand::ChangeEmail(PersonEmailChanged { person, email, generation });
        self.execute(&handle, Submission::new(command, Actor::SYSTEM)).await?;
        Ok(())
    }

    /// The second half of a founding, and its end. Safe to repeat.
    ///
    /// # Errors
    /// When it cannot be finished now; the intent stays open.
    pub async fn finish_founding(&self, founding: &FoundingOpened) -> Result<Arc<Handle>, IntentError> {
        let prepared = {
            let (store, founding) = (self.clone(), founding.clone());
            tokio::task::spawn_blocking(move || store.prepare_founding(&founding)).await??
        };
        let handle = self.stream(StreamId::Organization(founding.organization)).await?;
        let mut submission = Submission::new(GeneralCommand::Found(prepared.command), Actor::SYSTEM);
        submission.keys = prepared.keys;
        self.execute(&handle, submission).await?;
        let close = FoundingsCommand::Close(founding.organization);
        self.execute(self.platform(), Submission::new(close, Actor::SYSTEM)).await?;
        Ok(handle)
    }

    /// Opens what the intent sealed for the platform's stream, and seals it anew for the organization's.
    fn prepare_founding(&self, founding: &FoundingOpened) -> Result<Prepared, IntentError> {
        let stream = StreamId::Organization(founding.organization);
        let platform = self.platform().view();
        let platform = platform.platform();
        let account = platform
            .accounts
            .get(founding.account)
            .ok_or_else(|| IntentError::Invalid("its account is not there".to_owned()))?;
        // Which plan it is was decided with the intent; what that limits is as of now.
        let open = platform.foundings.get(founding.organization);
        let plan = open.and_then(|open| platform.plans.get(open.plan.as_deref()?)).map(Plan::taken);
        let name = self.opened_name(account, founding)?;
        let timezone = Timezone::try_from(founding.timezone.as_str())
            .map_err(|error| IntentError::Invalid(error.to_string()))?;

        self.ring().create_stream_key(stream)?;
        let organization_key = self.ring().mint(stream)?;
        let person_key = self.ring().mint(stream)?;
        let founder = PersonJoined {
            person: founding.person,
            key: person_key.id(),
            name: person_key.key().seal(
                &people::name_field(stream, &founding.person.to_string()),
                &accounts::open_name(account, self.ring())?,
            ),
            email: person_key.key().seal(
                &people::email_field(stream, &founding.person.to_string()),
                &accounts::open_email(account, self.ring())?,
            ),
        };
        let command = FoundOrganization {
            organization: founding.organization,
            key: organization_key.id(),
            name,
            timezone,
            plan,
            founder,
            assignment: Fresh.id(),
        };
        Ok(Prepared { command, keys: vec![organization_key, person_key] })
    }

    fn opened_name(&self, account: &Account, founding: &FoundingOpened) -> Result<Name, IntentError> {
        let key = self.ring().data_key(StreamId::Platform, account.key, account.commitment)?;
        let plain = key
            .open(&foundings::name_field(&founding.organization.to_string()), &founding.name)
            .map_err(KeyError::from)?;
        let text = plain.as_str().map_err(|error| IntentError::Invalid(error.to_string()))?;
        Name::try_from(text).map_err(|error| IntentError::Invalid(error.to_string()))
    }
}

struct Prepared {
    command: FoundOrganization,
    keys: Vec<NewDataKey>,
}
