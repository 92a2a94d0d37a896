//! [`Directory`]: the one projection over the whole log, always in memory. It knows where every stream ends, finds the
//! stream of a session or an API key, and knows what is due when. Saved as a whole, so that a start reads it and what follows it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::area::{DirectoryEntry, Section};
use crate::clock::Timestamp;
use crate::event::Version;
use crate::ids::{ConnectionId, SessionId, StreamId};
use crate::log::{Head, Position};
use crate::seal::Commitment;
use crate::settings::sessions::projection::{SESSION_IDLE_SECONDS, SESSION_MAX_SECONDS};
use crate::store::derived::file::DerivedFile;
use crate::store::derived::{DerivedFiles, FileName, Kind, Unreadable};
use crate::store::destroyed::Destroyed;
use crate::store::directory::domains::Domains;
use crate::store::directory::encoding::{decode_credentials, decode_heads, encode_credentials, encode_heads};
use crate::store::directory::keys::{Keys, KnownKey};
use crate::store::due::{Due, DueConnections, DueThing};
use crate::varint::Malformed;

mod domains;
mod encoding;
pub mod keys;

/// Raised when what the directory makes of an event, or the shape of its file, changes.
pub const PROJECTION: u32 = 6;

/// The file is due when the log has grown by so many events …
pub const SAVE_EVENTS: u64 = 65_536;
/// … and by this part of what it had.
pub const SAVE_PART: u64 = 4;

/// A credential that some stream opened and none closed.
#[derive(Debug)]
pub struct Credential {
    /// The stream that says more about it.
    pub stream: StreamId,
    /// The session that it belongs to.
    pub session: SessionId,
    /// When it was opened, in microseconds; see [`Directory::bring_back`].
    opened_at: AtomicI64,
    /// When it was last used, in microseconds; memory only, a restart counts as use.
    last_seen: AtomicI64,
}

impl Credential {
    /// Whether its time is not over, by age and by idleness.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now < self.expires_at() && now.seconds_since(self.last_seen()) < SESSION_IDLE_SECONDS
    }

    /// When it ends at the latest.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.opened_at.load(Ordering::Relaxed)).plus_seconds(SESSION_MAX_SECONDS)
    }

    /// When it was last used.
    pub fn last_seen(&self) -> Timestamp {
        Timestamp::from_micros(self.last_seen.load(Ordering::Relaxed))
    }

    /// Notes a use.
    pub fn touch(&self, now: Timestamp) {
        self.last_seen.fetch_max(now.micros(), Ordering::Relaxed);
    }
}

/// By the SHA-256 of their token. Persistent, so that a save takes them as they are without keeping requests waiting.
type Credentials = HashTrieMapSync<[u8; 32], Arc<Credential>>;
/// Likewise.
type Heads = RedBlackTreeMapSync<StreamId, Head>;

/// Credentials of the whole server, and where every stream ends. Nothing that grows with their number is done while a
/// lock of it is held.
#[derive(Debug, Default)]
pub struct Directory {
    credentials: RwLock<Credentials>,
    keys: RwLock<Keys>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The newest frame that was taken in.
    end: Head,
    /// How many events the log has up to there.
    events: u64,
    /// Of them, how many the newest file has.
    saved_events: u64,
    heads: Heads,
    tokens: HashMap<SessionId, [u8; 32]>,
    /// Entries whose session has ended by age at that time.
    ends: BTreeSet<(Timestamp, SessionId)>,
    due: Due,
    destroyed: Destroyed,
    domains: Domains,
}

impl Directory {
    /// Finds a credential: one hash and one look-up, whatever the number of streams.
    pub fn credential(&self, token: Commitment) -> Option<Arc<Credential>> {
        self.credentials.read().unwrap_or_else(PoisonError::into_inner).get(&token.0).cloned()
    }

    /// Finds an API key by its value: one hash and one look-up, too.
    pub fn key(&self, token: Commitment) -> Option<KnownKey> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(token)
    }

    /// The values of API keys that are accepted until they are rotated or revoked, in order.
    pub fn accepted_keys(&self) -> Vec<[u8; 32]> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).accepted()
    }

    /// The credential of a session.
    pub fn of_session(&self, session: SessionId) -> Option<Arc<Credential>> {
        let token = *self.known().tokens.get(&session)?;
        self.credential(Commitment(token))
    }

    /// How many credentials are open.
    pub fn len(&self) -> usize {
        self.credentials().size()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a stream ends, as far as it was taken in.
    pub fn head(&self, stream: StreamId) -> Option<Head> {
        self.known().heads.get(&stream).copied()
    }

    /// The newest frame's time over all streams; `None` in an empty log.
    pub fn newest(&self) -> Option<Timestamp> {
        self.all_heads().values().map(|head| head.at).max()
    }

    /// Every stream, in order.
    pub fn streams(&self) -> Vec<StreamId> {
        self.all_heads().keys().copied().collect()
    }

    /// The position up to which the log was taken in.
    pub fn position(&self) -> Position {
        self.known().end.position
    }

    /// Takes in durable frames, in order: which stream, where it ends now, and what their events mean. `now` counts as
    /// the last use of credentials that are opened: a restart counts as seen.
    pub fn apply(&self, frames: &[(StreamId, Head, &[DirectoryEntry])], now: Timestamp) {
        let mut known = self.known();
        for (stream, head, entries) in frames {
            let before = known.heads.get(stream).copied().unwrap_or_default();
            known.heads.insert_mut(*stream, *head);
            known.events += head.version - before.version;
            known.end = *head;
            if !entries.is_empty() {
                self.take(&mut known, *stream, entries, now);
            }
        }
    }

    fn take(&self, known: &mut Known, stream: StreamId, entries: &[DirectoryEntry], now: Timestamp) {
        let mut credentials = self.credentials.write().unwrap_or_else(PoisonError::into_inner);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            match entry {
                DirectoryEntry::Due { resource, at } => {
                    known.due.set(DueThing { at: *at, stream, resource: resource.clone() });
                }
                DirectoryEntry::NotDue { resource } => known.due.clear(stream, resource),
                DirectoryEntry::KeyOpened { token, key } => keys.open(stream, *token, *key),
                DirectoryEntry::KeyEnds { token, ends_at } => keys.end(*token, *ends_at),
                DirectoryEntry::KeyRevoked { token, known_until } => keys.revoke(*token, *known_until),
                DirectoryEntry::KeysDestroyed { version, at } => {
                    known.destroyed.destroyed(stream, *version, *at);
                }
                DirectoryEntry::DomainSet { domain } => known.domains.set(stream, domain),
                DirectoryEntry::DomainCleared => known.domains.clear(stream),
                DirectoryEntry::DomainVerified { at } => known.domains.verified(stream, *at),
                DirectoryEntry::DomainLapsed => known.domains.lapsed(stream),
                DirectoryEntry::KeyRotated { through, at } => known.destroyed.rotated(stream, *through, *at),
                DirectoryEntry::OrganizationEnded => {
                    known.due.clear_stream(stream);
                    known.domains.clear(stream);
                    keys.close(stream);
                }
                DirectoryEntry::CredentialOpened { token, session, opened_at } => {
                    let last_seen = AtomicI64::new(now.micros().max(opened_at.micros()));
                    let opened_micros = AtomicI64::new(opened_at.micros());
                    let credential =
                        Credential { stream, session: *session, opened_at: opened_micros, last_seen };
                    credentials.insert_mut(token.0, Arc::new(credential));
                    known.tokens.insert(*session, token.0);
                    known.ends.insert((opened_at.plus_seconds(SESSION_MAX_SECONDS), *session));
                }
                DirectoryEntry::CredentialClosed { session } => {
                    if let Some(token) = known.tokens.remove(session)
                        && let Some(credential) = credentials.get(&token)
                    {
                        known.ends.remove(&(credential.expires_at(), *session));
                        credentials.remove_mut(&token);
                    }
                }
            }
        }
    }

    /// Whether the log has grown so much since the newest file that another is worth it.
    pub fn is_save_due(&self) -> bool {
        let known = self.known();
        let grown = known.events - known.saved_events;
        grown >= SAVE_EVENTS && grown >= known.saved_events / SAVE_PART
    }

    /// Writes a file of what the directory is now, and removes older ones. Blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, files: &DerivedFiles) -> std::io::Result<()> {
        let now = self.now();
        let (end, sections) = (now.end, now.sections());
        let name = |place| FileName { kind: Kind::Directory, stream: StreamId::Platform, place };
        files.write(name(end.position.0), end, &sections)?;
        self.known().saved_events = now.events;
        for place in files.places(Kind::Directory, StreamId::Platform)? {
            if place != end.position.0 {
                files.remove(name(place))?;
            }
        }
        Ok(())
    }

    /// What it is now. A value: it costs the same however much there is of it.
    fn now(&self) -> Moment {
        let known = self.known();
        let (credentials, keys) = (self.credentials(), self.keys());
        let (heads, due, destroyed) = (known.heads.clone(), known.due.clone(), known.destroyed.clone());
        let domains = known.domains.clone();
        Moment { end: known.end, events: known.events, heads, credentials, keys, due, destroyed, domains }
    }

    /// Reads a file back. No credential of it was used since it was opened.
    ///
    /// # Errors
    /// When it is damaged, or of another projection.
    pub fn read(file: &DerivedFile) -> Result<Self, Unreadable> {
        let section =
            |name| file.section(name, PROJECTION)?.ok_or_else(|| file.damaged("it has another shape"));
        let (heads, credentials) = (section("heads")?, section("credentials")?);
        let (due, destroyed) = (section("due")?, section("destroyed")?);
        let malformed = |_: Malformed| file.damaged("its sections end early");
        let heads = decode_heads(&heads).map_err(malformed)?;
        let keys = Keys::decode(&section("keys")?).map_err(malformed)?;
        let directory = Self { keys: RwLock::new(keys), ..Self::default() };
        {
            let mut known = directory.known();
            known.end = file.anchor();
            known.events = heads.values().map(|head| head.version).sum();
            known.saved_events = known.events;
            known.heads = heads;
            known.due = Due::decode(&due).map_err(malformed)?;
            known.destroyed = Destroyed::decode(&destroyed).map_err(malformed)?;
            known.domains = Domains::decode(&section("domains")?).map_err(malformed)?;
            decode_credentials(&credentials, |stream, opened| {
                directory.take(&mut known, stream, &[opened], Timestamp::EPOCH);
            })
            .map_err(malformed)?;
        }
        Ok(directory)
    }

    /// What this, saved, says otherwise than what was folded from the log up to the same place; `None` where it is the
    /// same but for sessions that have ended by age, which a save leaves out, for what was due, and for what [`Directory::bring_back`] does.
    pub fn differs_from(&self, others: &Self, now: Timestamp) -> Option<&'static str> {
        if self.all_heads() != others.all_heads() {
            return Some("its streams end elsewhere than the log's");
        }
        if self.destroyed() != others.destroyed() {
            return Some("what was destroyed in it is not what the log says");
        }
        if !self.known().domains.agrees_with(&others.domains()) {
            return Some("it has other e-mail domains than the log has");
        }
        let due_agrees = self.known().due.agrees_with(&others.known().due.clone(), now);
        let (saved, folded) = (self.credentials(), others.credentials());
        let same = |token: &[u8; 32], credential: &Arc<Credential>| {
            folded.get(token).is_some_and(|folded| {
                (folded.stream, folded.session) == (credential.stream, credential.session)
                    && credential.expires_at() <= folded.expires_at()
            })
        };
        if !saved.iter().all(|(token, credential)| same(token, credential)) {
            return Some("it has a credential that the log does not have, or has otherwise");
        }
        let gone = |token: &[u8; 32], credential: &Arc<Credential>| {
            !saved.contains_key(token) && credential.expires_at() > now
        };
        if folded.iter().any(|(token, credential)| gone(token, credential)) {
            return Some("it lacks a credential that the log has");
        }
        let (saved, folded) = (self.keys(), others.keys());
        if !saved.has_all_of(&folded) || !folded.has_all_of(&saved) {
            return Some("it has other API keys than the log has");
        }
        (!due_agrees).then_some("what is due in it is not what the log says")
    }

    /// Counts now as the last use of every credential, as a restart does.
    pub fn touch_all(&self, now: Timestamp) {
        self.credentials().values().for_each(|credential| credential.touch(now));
    }

    /// The newest frame that was taken in.
    pub fn end(&self) -> Head {
        self.known().end
    }

    /// Every stream and where it ends, as far as it was taken in.
    pub fn heads(&self) -> HashMap<StreamId, Head> {
        self.all_heads().iter().map(|(stream, head)| (*stream, *head)).collect()
    }

    /// When something is next due that cannot wait for the scheduler's minute, but for connections that were begun.
    pub fn next_due(&self, begun: Timestamp) -> Option<Timestamp> {
        let known = self.known();
        let ends = known.ends.first().map(|(at, _)| *at);
        [ends, known.due.first(begun)].into_iter().flatten().min()
    }

    /// The first things of streams that are due by a time, soonest first.
    pub fn due(&self, now: Timestamp) -> Vec<DueThing> {
        self.known().due.by(now)
    }

    /// The organizations with an e-mail domain, by id: at most so many.
    pub fn streams_of_domain(&self, domain: &str, limit: usize) -> Vec<StreamId> {
        self.known().domains.of(domain, limit)
    }

    /// Whether an organization has an e-mail domain.
    pub fn has_domain(&self, stream: StreamId, domain: &str) -> bool {
        self.known().domains.has(stream, domain)
    }

    /// The connections whose tokens are to be refreshed, as they are now.
    pub fn connections_due(&self) -> DueConnections {
        self.known().due.connections()
    }

    /// Nothing of a connection is due any more that was by a time; what was said since then is.
    pub fn nothing_is_due(&self, stream: StreamId, connection: ConnectionId, by: Timestamp) {
        self.known().due.clear_by(stream, &connection.to_string(), by);
    }

    /// The first verified domains to be asked about by now, by whose they are; each is then due a day later.
    pub fn take_domains_due(&self, now: Timestamp, limit: usize) -> Vec<StreamId> {
        self.known().domains.take_due(now, limit)
    }

    /// Streams whose key is to be rotated by a time, since data keys of theirs were destroyed before: each with the version of
    /// the last event that did.
    pub fn to_rotate(&self, now: Timestamp) -> Vec<(StreamId, Version)> {
        self.known().destroyed.due(now)
    }

    /// How many streams have destroyed data keys of which copies may open until their key is rotated.
    pub fn waiting_for_rotation(&self) -> usize {
        self.known().destroyed.len()
    }

    /// Lets go of what was due and was looked at; unless its stream has said something else of it since.
    pub fn drop_due(&self, thing: &DueThing) {
        self.known().due.drop_thing(thing);
    }

    /// Counts sessions that are dated after `now` as opened and used now, so that they end as all others do.
    ///
    /// There are such only after an operator vouched for a clock behind the log: the log's time then stands still, and
    /// whatever is opened is dated there. How long ago that was the log does not tell, so a restart counts anew.
    pub fn bring_back(&self, now: Timestamp) {
        let mut known = self.known();
        let latest = now.plus_seconds(SESSION_MAX_SECONDS);
        while let Some((at, session)) = known.ends.last().copied().filter(|(at, _)| *at > latest) {
            known.ends.remove(&(at, session));
            known.ends.insert((latest, session));
            let token = known.tokens.get(&session).copied();
            if let Some(credential) = token.and_then(|token| self.credential(Commitment(token))) {
                credential.opened_at.fetch_min(now.micros(), Ordering::Relaxed);
                credential.last_seen.fetch_min(now.micros(), Ordering::Relaxed);
            }
        }
    }

    /// Drops the entries of sessions that have ended by age, and of values of keys that have ended; returns how many
    /// sessions.
    pub fn drop_ended(&self, now: Timestamp) -> usize {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).drop_ended(now);
        let mut known = self.known();
        let mut credentials = self.credentials.write().unwrap_or_else(PoisonError::into_inner);
        let mut dropped = 0;
        while let Some((at, session)) = known.ends.first().copied() {
            if at > now {
                break;
            }
            known.ends.remove(&(at, session));
            if let Some(token) = known.tokens.remove(&session) {
                credentials.remove_mut(&token);
                dropped += 1;
            }
        }
        dropped
    }

    fn all_heads(&self) -> Heads {
        self.known().heads.clone()
    }

    fn destroyed(&self) -> Destroyed {
        self.known().destroyed.clone()
    }

    fn domains(&self) -> Domains {
        self.known().domains.clone()
    }

    fn credentials(&self) -> Credentials {
        self.credentials.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keys(&self) -> Keys {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directory at one moment.
struct Moment {
    end: Head,
    events: u64,
    heads: Heads,
    credentials: Credentials,
    keys: Keys,
    due: Due,
    destroyed: Destroyed,
    domains: Domains,
}

impl Moment {
    /// What a file holds of it.
    fn sections(&self) -> [Section; 6] {
        let section = |name, bytes| Section { name, projection: PROJECTION, bytes };
        [
            section("heads", encode_heads(&self.heads)),
            section("credentials", encode_credentials(self.credentials.iter())),
            section("keys", self.keys.encode()),
            section("due", self.due.encode()),
            section("destroyed", self.destroyed.encode()),
            section("domains", self.domains.encode()),
        ]
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
