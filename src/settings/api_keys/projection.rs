//! API keys as a fold: what each may do, whether it is still accepted, and when it was last used.
//!
//! A server may have a hundred thousand of them in memory, so a key is small: what few have lies behind a pointer.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::{DAY_SECONDS, Timestamp};
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Field, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::ApiKeyId;
use crate::organization::Organization;
use crate::settings::api_keys::event::{ApiKeyCreated, ApiKeyRotated, ApiKeyUpdated, ApiKeysEvent};
use crate::settings::api_keys::value::{Limits, RateLimit, network};
use crate::settings::environments::event::Mode;
use crate::settings::roles::access::Extent;
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::RoleRef;
use crate::settings::sessions::event::TokenHash;

/// How many revoked keys of an organization are remembered: their holders are told why, and revoking one again is no
/// mistake.
pub const REVOKED_MAX: usize = 1_000;
/// For how long whoever presents a revoked key may be told that it is, in seconds: 30 days.
const REVOKED_KNOWN_SECONDS: i64 = 30 * DAY_SECONDS;

/// The API keys of an organization, and the last of those that were revoked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ApiKeys {
    keys: RedBlackTreeMapSync<ApiKeyId, ApiKey>,
    /// By the version of their revocation.
    revoked: RedBlackTreeMapSync<Version, ApiKeyId>,
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its name.
    pub name: Box<str>,
    /// Test or live, for ever.
    pub mode: Mode,
    /// Its role, for ever.
    pub role: RoleRef,
    /// The last four characters of its value.
    pub last4: [u8; 4],
    state: State,
    token: TokenHash,
    /// Those whose grace was not over at the last rotation, oldest first.
    previous: Option<Arc<Vec<Previous>>>,
    limits: Option<Arc<Limits>>,
    used: Option<Used>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed; being used is no change.
    pub updated_at: Timestamp,
    /// The stream version of its last change.
    pub version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Enabled,
    Disabled,
    Revoked,
}

/// A value of before a rotation, in its grace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    token: TokenHash,
    /// Its last four characters.
    pub last4: [u8; 4],
    /// Until when it is accepted.
    pub valid_until: Timestamp,
}

/// When a key was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Used {
    at: Timestamp,
    /// The hour of the last use that was recorded by itself: what a count stands for was earlier than its event.
    hour: u32,
    /// The day of the last session, and how many were opened on it.
    day: u32,
    sessions: u8,
}

/// Hours and days since 1970 as they are kept: to the year 9999 there are fewer.
fn kept(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// Whether a key is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ApiKeyStatus)]
pub enum Status {
    /// It is.
    Active,
    /// Not until it is enabled again.
    Disabled,
    /// Its time is over.
    Expired,
    /// Never again.
    Revoked,
}

impl ApiKey {
    /// Whether it is accepted at a time.
    pub fn status(&self, now: Timestamp) -> Status {
        match self.state {
            State::Revoked => Status::Revoked,
            State::Disabled => Status::Disabled,
            State::Enabled if self.limits().expires_at.is_some_and(|at| at <= now) => Status::Expired,
            State::Enabled => Status::Active,
        }
    }

    /// Whether it was revoked.
    pub fn is_revoked(&self) -> bool {
        self.state == State::Revoked
    }

    /// Whether it was disabled and not enabled since.
    pub fn is_disabled(&self) -> bool {
        self.state == State::Disabled
    }

    /// SHA-256 of its value.
    pub fn token(&self) -> TokenHash {
        self.token
    }

    /// Whether a value is the key's at a time: its own, or one of before in its grace.
    pub fn accepts(&self, token: TokenHash, now: Timestamp) -> bool {
        self.token == token || self.previous(now).any(|previous| previous.token == token)
    }

    /// The values of before that are accepted at a time, the newest first.
    pub fn previous(&self, now: Timestamp) -> impl Iterator<Item = &Previous> {
        let all = self.previous.iter().flat_map(|previous| previous.iter().rev());
        all.filter(move |previous| now < previous.valid_until)
    }

    /// Until when the value of before the last rotation is accepted, if it still is.
    pub fn previous_valid_until(&self, now: Timestamp) -> Option<Timestamp> {
        let last = self.previous.as_ref().and_then(|previous| previous.last());
        last.map(|previous| previous.valid_until).filter(|until| now < *until)
    }

    /// What it is limited to.
    pub fn limits(&self) -> &Limits {
        self.limits.as_deref().unwrap_or(const { &Limits::NONE })
    }

    /// How far what is an environment's holds for it: also in those that are gone, which may be brought back.
    pub fn extents(&self) -> Vec<Extent> {
        extents(self.mode, self.limits())
    }

    /// When it was last used, to the hour.
    pub fn last_used_at(&self) -> Option<Timestamp> {
        self.used.map(|used| used.at)
    }

    /// Whether a use of it in the hour of a time is recorded.
    pub fn is_noted(&self, now: Timestamp) -> bool {
        self.used.is_some_and(|used| used.hour == kept(now.hour()))
    }

    /// How many sessions it opened on the day of a time.
    pub fn sessions_on_day(&self, now: Timestamp) -> usize {
        self.used.filter(|used| used.day == kept(now.day())).map_or(0, |used| usize::from(used.sessions))
    }

    fn use_it(&mut self, opened: bool, recorded: &Recorded) {
        let at = recorded.at;
        let mut used = Used { at, ..self.used.unwrap_or_default() };
        if recorded.count.is_none() {
            used.hour = kept(at.hour());
        }
        if opened {
            let before = self.used.filter(|used| used.day == kept(at.day())).map_or(0, |used| used.sessions);
            (used.day, used.sessions) = (kept(at.day()), before.saturating_add(1));
        }
        self.used = Some(used);
    }
}

/// How far what is an environment's holds for a key of this mode within these limits.
pub fn extents(mode: Mode, limits: &Limits) -> Vec<Extent> {
    match &limits.environments {
        None => vec![Extent::Mode(mode)],
        Some(listed) => listed.iter().copied().map(Extent::Environment).collect(),
    }
}

impl ApiKeys {
    /// A key by id, be it revoked.
    pub fn get(&self, id: ApiKeyId) -> Option<&ApiKey> {
        self.keys.get(&id)
    }

    /// The keys after an id, or all, by id.
    pub fn after(&self, id: Option<ApiKeyId>) -> impl Iterator<Item = (&ApiKeyId, &ApiKey)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.keys.range((id.map_or(Unbounded, Excluded), Unbounded))
    }

    /// How many keys there are that are not revoked.
    pub fn count(&self) -> usize {
        self.keys.size() - self.revoked.size()
    }

    fn create(&mut self, created: &ApiKeyCreated, recorded: &Recorded) {
        let limits = Limits {
            environments: created.environments.clone(),
            customers: created.customers.clone(),
            expires_at: created.expires_at,
            allowed_cidrs: created.allowed_cidrs.as_deref().map(networks),
            rate_limit: created.rate_limit,
        };
        let key = ApiKey {
            name: created.name.as_str().into(),
            mode: created.mode,
            role: created.role,
            last4: last4(&created.last4),
            state: State::Enabled,
            token: created.token,
            previous: None,
            limits: limiting(limits),
            used: None,
            created_at: recorded.at,
            updated_at: recorded.at,
            version: recorded.version,
        };
        self.keys.insert_mut(created.key, key);
    }

    /// Changes a key, which is a change of it at that version.
    fn change(&mut self, id: ApiKeyId, recorded: &Recorded, change: impl FnOnce(&mut ApiKey)) {
        let Some(key) = self.keys.get_mut(&id) else { return };
        change(key);
        key.updated_at = recorded.at;
        key.version = recorded.version;
    }

    fn use_it(&mut self, id: ApiKeyId, opened: bool, recorded: &Recorded) {
        if let Some(key) = self.keys.get_mut(&id) {
            key.use_it(opened, recorded);
        }
    }

    fn revoke(&mut self, id: ApiKeyId, recorded: &Recorded) {
        if self.keys.get(&id).is_none_or(ApiKey::is_revoked) {
            return;
        }
        self.change(id, recorded, |key| {
            key.state = State::Revoked;
            key.previous = None;
        });
        self.revoked.insert_mut(recorded.version, id);
        if self.revoked.size() > REVOKED_MAX
            && let Some((version, oldest)) = self.revoked.first().map(|(version, id)| (*version, *id))
        {
            self.revoked.remove_mut(&version);
            self.keys.remove_mut(&oldest);
        }
    }
}

/// Limits that limit something.
fn limiting(limits: Limits) -> Option<Arc<Limits>> {
    (limits != Limits::NONE).then(|| Arc::new(limits))
}

/// Networks as recorded. Only what is one is ever recorded.
fn networks(texts: &[String]) -> Vec<ipnet::IpNet> {
    texts.iter().filter_map(|text| network(text).ok()).collect()
}

/// Four characters as recorded; only such are.
fn last4(text: &str) -> [u8; 4] {
    text.as_bytes().try_into().unwrap_or_default()
}

fn update(key: &mut ApiKey, updated: &ApiKeyUpdated) {
    if let Some(name) = &updated.name {
        key.name = name.as_str().into();
    }
    if let Some(disabled) = updated.disabled {
        key.state = if disabled { State::Disabled } else { State::Enabled };
    }
    let mut limits = key.limits().clone();
    for field in &updated.cleared {
        match field.as_str() {
            "environments" => limits.environments = None,
            "customers" => limits.customers = None,
            "expires_at" => limits.expires_at = None,
            "allowed_cidrs" => limits.allowed_cidrs = None,
            "rate_limit" => limits.rate_limit = None,
            _ => {}
        }
    }
    if updated.environments.is_some() {
        limits.environments.clone_from(&updated.environments);
    }
    if updated.customers.is_some() {
        limits.customers.clone_from(&updated.customers);
    }
    if let Some(texts) = &updated.allowed_cidrs {
        limits.allowed_cidrs = Some(networks(texts));
    }
    limits.expires_at = updated.expires_at.or(limits.expires_at);
    limits.rate_limit = updated.rate_limit.or(limits.rate_limit);
    key.limits = limiting(limits);
}

/// Each value of before keeps the grace that it was given; without any for the last, none of before is accepted.
fn rotate(key: &mut ApiKey, rotated: &ApiKeyRotated, at: Timestamp) {
    let (token, valid_until) = (rotated.previous, rotated.previous_valid_until);
    key.previous = (at < valid_until).then(|| {
        let mut kept: Vec<_> = key.previous(at).cloned().collect();
        kept.reverse();
        kept.push(Previous { token, last4: key.last4, valid_until });
        Arc::new(kept)
    });
    key.token = rotated.token;
    key.last4 = last4(&rotated.last4);
}

impl Fold for ApiKeys {
    const NAME: &'static str = "api_keys";
    const PROJECTION: u32 = 2;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::ApiKeys(event) = &recorded.event else { return };
        match event {
            ApiKeysEvent::ApiKeyCreated(created) => self.create(created, recorded),
            ApiKeysEvent::ApiKeyUpdated(updated) => {
                self.change(updated.key, recorded, |key| update(key, updated));
            }
            ApiKeysEvent::ApiKeyRotated(rotated) => {
                self.change(rotated.key, recorded, |key| rotate(key, rotated, recorded.at));
            }
            ApiKeysEvent::ApiKeyRevoked(revoked) => self.revoke(revoked.key, recorded),
            ApiKeysEvent::ApiKeyUsed(used) => self.use_it(used.key, used.opened.is_some(), recorded),
            ApiKeysEvent::SecretsRead(read) => self.use_it(read.key, false, recorded),
        }
    }

    fn directory(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>) {
        let Event::ApiKeys(event) = &recorded.event else { return };
        match event {
            ApiKeysEvent::ApiKeyCreated(created) => {
                entries.push(DirectoryEntry::KeyOpened { token: created.token, key: created.key });
            }
            ApiKeysEvent::ApiKeyRotated(rotated) => {
                entries.push(DirectoryEntry::KeyOpened { token: rotated.token, key: rotated.key });
                let ends_at = rotated.previous_valid_until;
                entries.push(DirectoryEntry::KeyEnds { token: rotated.previous, ends_at });
            }
            ApiKeysEvent::ApiKeyRevoked(revoked) => {
                let known_until = recorded.at.plus_seconds(REVOKED_KNOWN_SECONDS);
                entries.push(DirectoryEntry::KeyRevoked { token: revoked.token, known_until });
            }
            ApiKeysEvent::ApiKeyUpdated(_) | ApiKeysEvent::ApiKeyUsed(_) | ApiKeysEvent::SecretsRead(_) => {}
        }
    }

    fn items(&self) -> usize {
        self.keys.size()
    }
}

impl Area for ApiKeys {
    const READS: &'static [&'static str] = &[
        "api_key.create",
        "api_key.update",
        "api_key.rotate",
        "api_key.revoke",
        "api_key.use",
        "secret.read",
    ];
    const NOTES: &'static [&'static str] = &["api_key.use", "secret.read"];
    const CASCADES: &'static [&'static str] = &[];
    const RESTORABLE: bool = false;
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::ApiKey, permission: Permission::ApiKeyRead }];

    fn of(organization: &Organization) -> &Self {
        &organization.api_keys
    }

    fn narrowed(&self, focus: &Focus) -> Self {
        match focus {
            Focus::All | Focus::Actions(_) => self.clone(),
            Focus::Resource(_) | Focus::Named(..) => {
                let mut narrowed = Self::default();
                let meant = focus.among(std::iter::empty(), |id| self.keys.get_key_value(&id));
                for (id, key) in meant {
                    narrowed.keys.insert_mut(*id, key.clone());
                    if key.is_revoked() {
                        narrowed.revoked.insert_mut(key.version, *id);
                    }
                }
                narrowed
            }
        }
    }

    /// A key that is revoked is no setting any more.
    fn describe(&self, focus: &Focus, into: &mut Description) {
        for (id, key) in focus.among(self.after(None), |id| self.keys.get_key_value(&id)) {
            if key.is_revoked() {
                continue;
            }
            let (limits, role) = (key.limits(), key.role.to_string());
            let told = fields([
                ("name", Some((&*key.name).into())),
                ("mode", Some(key.mode.name().into())),
                ("role", Some(role.as_str().into())),
                ("last4", Some(String::from_utf8_lossy(&key.last4).as_ref().into())),
                ("disabled", Some(key.is_disabled().into())),
                ("environments", limits.environments.as_deref().map(listed)),
                ("customers", limits.customers.as_deref().map(listed)),
                ("expires_at", limits.expires_at.map(|at| at.to_string().as_str().into())),
                ("allowed_cidrs", limits.allowed_cidrs.as_deref().map(listed)),
                ("rate_limit", limits.rate_limit.map(rate)),
            ]);
            into.insert(Subject::new(ResourceType::ApiKey, id), told);
        }
    }

    /// No key is ever brought back: who holds it is not known. Whoever names one is told so.
    fn restore(differences: &[Difference], outlook: &Outlook<'_>, plan: &mut Plan) {
        if !outlook.whole {
            differences.iter().for_each(|difference| plan.cannot(difference, "never_restored"));
        }
    }
}

fn listed<T: std::fmt::Display>(all: &[T]) -> Field {
    Field::Open(all.iter().map(|one| Value::from(one.to_string())).collect())
}

fn rate(limit: RateLimit) -> Field {
    let RateLimit { requests, window_seconds } = limit;
    Field::Open(serde_json::json!({"requests": requests, "window_seconds": window_seconds}))
}
