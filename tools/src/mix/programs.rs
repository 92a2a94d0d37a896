//! What programs of an organization have where its number is the point and not its history: environments with so many
//! secrets, and API keys.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use settled::actor::{Actor, ActorId};
use settled::ids::{CustomerId, EnvironmentId, Fresh, SecretId};
use settled::seal::Plain;
use settled::seal::api_key::PlainKey;
use settled::settings::api_keys::command::{ApiKeysCommand, CreateApiKey};
use settled::settings::api_keys::value::{Limits, prefix};
use settled::settings::environments::command::{CreateEnvironment, EnvironmentsCommand};
use settled::settings::environments::event::Mode;
use settled::settings::environments::value::{ConfigKey, Slug};
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::settings::secrets::command::{At, CreateSecret, SecretsCommand};
use settled::settings::secrets::value::Scope;
use settled::settings::secrets::value_field;
use settled::store::Submission;
use settled::store::resident::Handle;
use settled::text::Name;

use super::generate::Filled;
use super::store::OpenStore;
use super::words;

/// The mode of all of it.
const MODE: Mode = Mode::Live;

/// The programs of one organization of an open store, whose Owner acts.
pub struct Programs<'a> {
    open: &'a OpenStore,
    handle: Arc<Handle>,
    owner: Actor,
}

impl<'a> Programs<'a> {
    /// Those of an organization.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub async fn of(open: &'a OpenStore, filled: &Filled) -> Result<Self> {
        let handle = open.store.organization(filled.known.organization).await?;
        let handle = handle.context("the organization is there")?;
        let owner = Actor { id: ActorId::Person(filled.known.owner), session: None };
        Ok(Self { open, handle, owner })
    }

    /// Makes an environment with so many secrets, named [`words::secret`] of their number.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn environment(&self, slug: &str, secrets: usize) -> Result<Vec<SecretId>> {
        let environment: EnvironmentId = Fresh.id();
        let create = CreateEnvironment {
            environment,
            name: Name::try_from(slug)?,
            slug: Slug::try_from(slug)?,
            mode: MODE,
            description: None,
        };
        self.submit([Ok(Submission::new(EnvironmentsCommand::Create(create), self.owner))]).await?;
        let made: Vec<SecretId> = (0..secrets).map(|_| Fresh.id()).collect();
        let within = Scope::Environment(environment);
        let each = |(number, secret): (usize, &SecretId)| self.secret(within, number, *secret);
        self.submit(made.iter().enumerate().map(each)).await?;
        Ok(made)
    }

    /// Makes so many keys for workflows, all without limits.
    ///
    /// # Errors
    /// When the store refuses one.
    pub async fn keys(&self, count: usize) -> Result<Vec<PlainKey>> {
        let drawn: Vec<_> = (0..count).map(|_| PlainKey::draw(prefix(MODE))).collect();
        self.submit(drawn.iter().enumerate().map(|(number, plain)| self.key(number, plain))).await?;
        Ok(drawn)
    }

    /// Makes a secret of a customer in an environment, which takes the place of the first that everybody has there.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn customers_secret(&self, slug: &str, customer: CustomerId) -> Result<()> {
        let view = self.handle.view();
        let mut environments = view.organization().environments.iter();
        let found = environments.find(|environment| environment.slug == slug);
        let environment = found.context("the environment is there")?.id;
        self.submit([self.secret(Scope::Customer(environment, customer), 0, Fresh.id())]).await
    }

    fn secret(&self, scope: Scope, number: usize, secret: SecretId) -> Result<Submission> {
        let stream = self.handle.stream();
        let key = self.open.store.ring().mint(stream)?;
        let value = key
            .key()
            .seal(&value_field(stream, &secret.to_string()), &Plain::from(format!("sk_{:0>32}", number)));
        let create = CreateSecret {
            at: At { secret, scope },
            name: ConfigKey::try_from(words::secret(number).as_str())?,
            modes: Vec::new(),
            description: None,
            expires_at: None,
            value,
        };
        let mut submission = Submission::new(SecretsCommand::Create(create), self.owner);
        submission.keys = vec![key];
        Ok(submission)
    }

    fn key(&self, number: usize, plain: &PlainKey) -> Result<Submission> {
        let create = CreateApiKey {
            key: Fresh.id(),
            name: Name::try_from(format!("Program {number}").as_str())?,
            mode: MODE,
            role: RoleRef::System(SystemRole::Workflow),
            token: plain.hash(),
            last4: plain.last4().to_owned(),
            limits: Limits::NONE,
        };
        Ok(Submission::new(ApiKeysCommand::Create(create), self.owner))
    }

    async fn submit(&self, submissions: impl IntoIterator<Item = Result<Submission>>) -> Result<()> {
        self.open.submit_all(&self.handle, submissions).await
    }
}

#[cfg(test)]
mod tests {
    use settled::clock::Timestamp;

    use super::*;
    use crate::mix::generate::{Size, beginning, fill};

    #[test]
    fn an_organization_gets_environments_with_secrets_and_keys() {
        let end = Timestamp::from_micros(1_800_000_000_000_000);
        let open = OpenStore::in_memory(beginning(end)).unwrap();
        let filled = fill(&open, Size { events: 100, organizations: 1 }, 1, end).unwrap().remove(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let programs = Programs::of(&open, &filled).await.unwrap();
            let before = programs.handle.view().organization().api_keys.count();
            let secrets = programs.environment("filled", 100).await.unwrap();
            let keys = programs.keys(70).await.unwrap();
            let view = programs.handle.view();
            let is_there = |secret: &SecretId| view.organization().secrets.get(*secret).is_some();
            assert!(secrets.len() == 100 && secrets.iter().all(is_there));
            assert_eq!(view.organization().api_keys.count(), before + keys.len());
            let known = |key: &PlainKey| open.store.directory().key(key.hash()).is_some();
            assert!(keys.iter().all(known));
        });
        open.close().unwrap();
    }
}
