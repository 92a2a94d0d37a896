//! OAuth apps as a fold, the secret of each sealed.

#![warn(clippy::wildcard_enum_match_arm)]

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Field, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::OauthAppId;
use crate::oauth::provider::{ClientAuthentication, Pkce, provider};
use crate::organization::Organization;
use crate::seal::{Commitment, Sealed};
use crate::settings::oauth_apps::event::{
    CredentialsOrigin, CustomUrls, OauthAppCreated, OauthAppUpdated, OauthAppsEvent,
};
use crate::settings::oauth_apps::restore::restore;
use crate::settings::roles::permission::Permission;

/// The OAuth apps of an organization.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OauthApps {
    apps: RedBlackTreeMapSync<OauthAppId, OauthApp>,
    /// The last number of the credentials of each app that was deleted: none is given twice, or two secrets would pass for one.
    deleted: RedBlackTreeMapSync<OauthAppId, u64>,
}

/// An OAuth app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OauthApp {
    /// The app.
    pub id: OauthAppId,
    /// Its provider: one of the catalogue, or `custom`.
    pub provider: String,
    /// Its name.
    pub name: String,
    /// Its id at the provider.
    pub client_id: String,
    /// Its secret there.
    pub client_secret: CurrentSecret,
    /// What its connections ask for unless they say otherwise.
    pub scopes: Vec<String>,
    /// The URLs of a custom provider.
    pub urls: Option<CustomUrls>,
    /// How it proves to be itself at a custom provider.
    pub client_authentication: Option<ClientAuthentication>,
    /// Whether PKCE is sent to a custom provider.
    pub pkce: Option<bool>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

/// A client secret that can be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentSecret {
    /// The number of the credentials.
    pub credentials_version: u64,
    /// As sealed.
    pub sealed: Arc<Sealed>,
    /// What history committed to of its key.
    pub commitment: Option<Commitment>,
    /// Where it was first written.
    pub origin: CredentialsOrigin,
}

impl CurrentSecret {
    fn new(
        app: OauthAppId,
        credentials_version: u64,
        sealed: &Sealed,
        copied_from: Option<CredentialsOrigin>,
        recorded: &Recorded,
    ) -> Self {
        Self {
            credentials_version,
            sealed: Arc::new(sealed.clone()),
            commitment: recorded.keys.get(&sealed.key).copied(),
            origin: copied_from.unwrap_or(CredentialsOrigin { resource: app, credentials_version }),
        }
    }
}

impl OauthApp {
    /// The URLs that it is used with: its own, or those of the catalogue. `None` where the catalogue has its provider no
    /// more.
    pub fn effective_urls(&self) -> Option<CustomUrls> {
        if self.urls.is_some() {
            return self.urls.clone();
        }
        provider(&self.provider).map(|provider| CustomUrls {
            authorize_url: provider.authorize_url.clone(),
            token_url: provider.token_url.clone(),
            revoke_url: provider.revoke_url.clone(),
            issuer: provider.issuer.clone(),
        })
    }

    /// How it proves to be itself.
    pub fn effective_authentication(&self) -> ClientAuthentication {
        let of_provider = || provider(&self.provider).map(|provider| provider.client_authentication);
        self.client_authentication.or_else(of_provider).unwrap_or_default()
    }

    /// Whether PKCE is sent.
    pub fn sends_pkce(&self) -> bool {
        let of_provider = || provider(&self.provider).map(|provider| provider.pkce != Pkce::Refused);
        self.pkce.or_else(of_provider).unwrap_or(true)
    }

    fn describe(&self, into: &mut Description) {
        let scopes = (!self.scopes.is_empty()).then(|| Field::Open(self.scopes.clone().into()));
        let url = |of: fn(&CustomUrls) -> Option<&str>| self.urls.as_ref().and_then(of).map(Field::from);
        let authentication = self.client_authentication.map(|method| match method {
            ClientAuthentication::Basic => "basic".into(),
            ClientAuthentication::Body => "body".into(),
        });
        let told = fields([
            ("provider", Some(self.provider.as_str().into())),
            ("name", Some(self.name.as_str().into())),
            ("client_id", Some(self.client_id.as_str().into())),
            ("client_secret", Some(Field::Credentials(self.client_secret.origin))),
            ("scopes", scopes),
            ("authorize_url", url(|urls| Some(&urls.authorize_url))),
            ("token_url", url(|urls| Some(&urls.token_url))),
            ("revoke_url", url(|urls| urls.revoke_url.as_deref())),
            ("issuer", url(|urls| urls.issuer.as_deref())),
            ("client_authentication", authentication),
            ("pkce", self.pkce.map(Field::from)),
        ]);
        into.insert(Subject::new(ResourceType::OauthApp, self.id), told);
    }
}

impl OauthApps {
    /// An app by id.
    pub fn get(&self, id: OauthAppId) -> Option<&OauthApp> {
        self.apps.get(&id)
    }

    /// All apps, by id.
    pub fn iter(&self) -> impl Iterator<Item = &OauthApp> {
        self.apps.values()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.apps.size()
    }

    /// The number that the credentials of an app get that comes back.
    pub fn next_credentials(&self, app: OauthAppId) -> u64 {
        self.deleted.get(&app).map_or(1, |last| last + 1)
    }

    fn create(&mut self, created: &OauthAppCreated, recorded: &Recorded) {
        let OauthAppCreated { app, credentials_version, client_secret, copied_from, .. } = created;
        let app = OauthApp {
            id: *app,
            provider: created.provider.clone(),
            name: created.name.clone(),
            client_id: created.client_id.clone(),
            client_secret: CurrentSecret::new(
                *app,
                *credentials_version,
                client_secret,
                *copied_from,
                recorded,
            ),
            scopes: created.scopes.clone(),
            urls: created.urls.clone(),
            client_authentication: created.client_authentication,
            // An app that says nothing of it is from before it could.
            pkce: created.urls.as_ref().map(|_| created.pkce.unwrap_or(true)),
            created_at: recorded.at,
            updated_at: recorded.at,
            version: recorded.version,
        };
        self.deleted.remove_mut(&app.id);
        self.apps.insert_mut(app.id, app);
    }

    fn update(&mut self, updated: &OauthAppUpdated, recorded: &Recorded) {
        let Some(app) = self.apps.get_mut(&updated.app) else { return };
        if let Some(name) = &updated.name {
            app.name.clone_from(name);
        }
        if let Some(client_id) = &updated.client_id {
            app.client_id.clone_from(client_id);
        }
        if let (Some(number), Some(sealed)) = (updated.credentials_version, &updated.client_secret) {
            app.client_secret = CurrentSecret::new(app.id, number, sealed, updated.copied_from, recorded);
        }
        if let Some(scopes) = &updated.scopes {
            app.scopes.clone_from(scopes);
        }
        if updated.urls.is_some() {
            app.urls.clone_from(&updated.urls);
        }
        if updated.client_authentication.is_some() {
            app.client_authentication = updated.client_authentication;
        }
        if updated.pkce.is_some() {
            app.pkce = updated.pkce;
        }
        app.updated_at = recorded.at;
        app.version = recorded.version;
    }
}

impl Fold for OauthApps {
    const NAME: &'static str = "oauth_apps";
    const PROJECTION: u32 = 3;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::OauthApps(event) = &recorded.event else { return };
        match event {
            OauthAppsEvent::OauthAppCreated(created) => self.create(created, recorded),
            OauthAppsEvent::OauthAppUpdated(updated) => self.update(updated, recorded),
            OauthAppsEvent::OauthAppDeleted(deleted) => {
                let Some(app) = self.get(deleted.app) else { return };
                self.deleted.insert_mut(deleted.app, app.client_secret.credentials_version);
                self.apps.remove_mut(&deleted.app);
            }
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.apps.size() + self.deleted.size()
    }
}

impl Area for OauthApps {
    const READS: &'static [&'static str] = &["oauth_app.create", "oauth_app.update", "oauth_app.delete"];
    const CASCADES: &'static [&'static str] = &[];
    const RESTORABLE: bool = true;
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::OauthApp, permission: Permission::OauthAppRead }];

    fn of(organization: &Organization) -> &Self {
        &organization.oauth_apps
    }

    fn narrowed(&self, focus: &Focus) -> Self {
        if matches!(focus, Focus::All | Focus::Actions(_)) {
            return self.clone();
        }
        let mut narrowed = Self::default();
        for app in focus.among(self.iter(), |id| self.get(id)) {
            narrowed.apps.insert_mut(app.id, app.clone());
        }
        narrowed
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        focus.among(self.iter(), |id| self.get(id)).into_iter().for_each(|app| app.describe(into));
    }

    fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
        restore(differences, outlook, plan);
    }
}
