//! What of the mix is about OAuth apps, and about what the organization may have and how much it uses.

use anyhow::Result;
use settled::actor::Actor;
use settled::clock::Timestamp;
use settled::ids::{Fresh, OauthAppId};
use settled::seal::keyring::NewDataKey;
use settled::seal::{Plain, Sealed};
use settled::settings::billing::command::{BillingCommand, RecordUsage};
use settled::settings::billing::event::QuotaSet;
use settled::settings::billing::period::{Period, hour};
use settled::settings::billing::value::{Meter, Quota};
use settled::settings::oauth_apps::client_secret_field;
use settled::settings::oauth_apps::command::{CreateOauthApp, OauthAppsCommand, UpdateOauthApp, UrlsPatch};
use settled::settings::oauth_apps::value::{ClientId, ProviderName, Scopes};
use settled::store::{Store, Submission};

use super::Company;
use crate::mix::words;

/// So many of anything, and more: nobody here comes near.
const LIMIT_LEAST: u64 = 1_000_000;

/// An OAuth app of the model.
pub(super) struct App {
    pub(super) id: OauthAppId,
    pub(super) credentials_version: u64,
}

impl Company {
    pub(super) fn create_app(&mut self, actor: Actor, store: &Store) -> Result<Submission> {
        let app: OauthAppId = Fresh.id();
        let (provider, scopes) = words::provider(&mut self.dice);
        let (client_secret, key) = self.client_secret(app, store)?;
        let create = CreateOauthApp {
            app,
            provider: ProviderName::try_from(provider)?,
            name: None,
            client_id: ClientId::try_from(format!("client-{:012x}", self.dice.number() >> 16).as_str())?,
            client_secret,
            scopes: serde_json::from_value::<Scopes>(serde_json::json!(scopes))?,
            urls: None,
            client_authentication: None,
            pkce: None,
        };
        self.apps.push(App { id: app, credentials_version: 1 });
        Ok(self.submit_with(OauthAppsCommand::Create(create), actor, key))
    }

    /// It gets another secret.
    pub(super) fn update_app(&mut self, actor: Actor, store: &Store) -> Result<Submission> {
        let which = self.dice.below(self.apps.len());
        let app = self.apps[which].id;
        self.apps[which].credentials_version += 1;
        let (client_secret, key) = self.client_secret(app, store)?;
        let update = UpdateOauthApp {
            app,
            name: None,
            client_id: None,
            client_secret: Some(client_secret),
            scopes: None,
            urls: UrlsPatch::default(),
            client_authentication: None,
            pkce: None,
        };
        Ok(self.submit_with(OauthAppsCommand::Update(update), actor, key))
    }

    pub(super) fn delete_app(&mut self, actor: Actor) -> Submission {
        let unused = self.apps.iter().map(|app| app.id).filter(|app| !self.is_in_use(*app));
        let unused: Vec<OauthAppId> = unused.collect();
        let app = unused[self.dice.below(unused.len())];
        self.apps.retain(|other| other.id != app);
        self.submit_change(OauthAppsCommand::Delete(app), actor)
    }

    fn client_secret(&mut self, app: OauthAppId, store: &Store) -> Result<(Sealed, NewDataKey)> {
        let stream = self.handle.stream();
        let key = store.ring().mint(stream)?;
        let secret = Plain::from(format!("{:016x}{:016x}", self.dice.number(), self.dice.number()));
        Ok((key.key().seal(&client_secret_field(stream, &app.to_string()), &secret), key))
    }

    fn submit_with(&mut self, command: OauthAppsCommand, actor: Actor, key: NewDataKey) -> Submission {
        let mut submission = self.submit_change(command, actor);
        submission.keys = vec![key];
        submission
    }

    /// The organization wants to be told of more than so much.
    pub(super) fn set_quota(&mut self, actor: Actor) -> Submission {
        let meter = Meter::ALL[self.dice.below(Meter::ALL.len())];
        let limit = LIMIT_LEAST + 10 * self.dice.below(10_000) as u64;
        let set = QuotaSet { meter, quota: Some(Quota { limit, soft: true }) };
        self.submit_change(BillingCommand::SetQuota(set), actor)
    }

    /// What programs asked for in the hour, at its end.
    pub(super) fn count_requests(&mut self, now: Timestamp) -> Submission {
        let (start, _) = hour("UTC", now);
        let period = Period::containing("UTC", now).name;
        let count = 1 + self.dice.below(3) as u64;
        let usage = RecordUsage { meter: Meter::ApiRequests, start, period, count };
        self.submit(BillingCommand::RecordUsage(usage), Actor::SYSTEM)
    }
}
