//! Open sessions as a fold.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::actor::ActorId;
use crate::area::{DirectoryEntry, Fold};
use crate::clock::{DAY_SECONDS, HOUR_SECONDS, Timestamp};
use crate::event::{Event, Recorded, Version};
use crate::ids::{AccountId, SessionId, UserId};
use crate::platform::accounts::event::AccountsEvent;
use crate::seal::Sealed;
use crate::settings::people::event::PeopleEvent;
use crate::settings::sessions::event::SessionsEvent;

/// The longest life of a session in seconds, used or not: 30 days.
pub const SESSION_MAX_SECONDS: i64 = 30 * DAY_SECONDS;
/// The longest time that a session may lie idle, in seconds: 12 hours.
pub const SESSION_IDLE_SECONDS: i64 = 12 * HOUR_SECONDS;

/// How many of a holder's closed sessions are remembered: closing one of them again is no mistake.
const CLOSED_PER_HOLDER_MAX: usize = 100;

/// The sessions of a stream that were opened within the last 30 days and not closed; and of those that were closed,
/// the last of each holder.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sessions {
    closed: RedBlackTreeMapSync<(Holder, SessionId), Timestamp>,
    open: RedBlackTreeMapSync<SessionId, Session>,
    /// Of both, by when their time began.
    by_age: RedBlackTreeMapSync<(Timestamp, SessionId), Holder>,
    by_holder: RedBlackTreeMapSync<(Holder, SessionId), ()>,
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// Whose it is.
    pub holder: Holder,
    /// The account's credential generation when it was opened.
    pub generation: u64,
    /// The address that it was opened from.
    pub ip: Option<Sealed>,
    /// The user agent that it was opened with.
    pub user_agent: Option<Sealed>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When the login that it goes back to was made: its life is counted from then.
    pub since: Timestamp,
    /// The stream version of its opening.
    pub version: Version,
}

/// Whose a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Holder {
    /// A person's, in an organization.
    Person(UserId),
    /// An account's, without an organization.
    Account(AccountId),
}

impl Holder {
    /// The holder as an actor.
    pub fn actor(self) -> ActorId {
        match self {
            Self::Person(id) => ActorId::Person(id),
            Self::Account(id) => ActorId::Account(id),
        }
    }
}

impl Sessions {
    /// An open session by id. Whether its time is over is for the caller to ask.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.open.get(&id)
    }

    /// The open sessions of one holder, by id.
    pub fn of(&self, holder: Holder) -> impl Iterator<Item = &Session> {
        let whole = (holder, SessionId::min())..=(holder, SessionId::max());
        self.by_holder.range(whole).filter_map(|((_, id), ())| self.open.get(id))
    }

    /// Whether it is a session of this actor that was closed, as far as that is remembered.
    pub fn was_closed(&self, id: SessionId, by: ActorId) -> bool {
        let holder = match by {
            ActorId::Person(person) => Holder::Person(person),
            ActorId::Account(account) => Holder::Account(account),
            ActorId::ApiKey(_) | ActorId::System | ActorId::Operator => return false,
        };
        self.closed.contains_key(&(holder, id))
    }

    /// Whoever it was holds no session any more, and there is nobody who could close one of theirs again.
    fn drop_holder(&mut self, holder: Holder) {
        let whole = || (holder, SessionId::min())..=(holder, SessionId::max());
        let open: Vec<_> = self.by_holder.range(whole()).map(|((_, id), ())| *id).collect();
        for id in open {
            self.remove(id);
        }
        let closed: Vec<_> = self.closed.range(whole()).map(|((_, id), since)| (*id, *since)).collect();
        for (id, since) in closed {
            self.closed.remove_mut(&(holder, id));
            self.by_age.remove_mut(&(since, id));
        }
    }

    fn close(&mut self, id: SessionId) {
        let Some(Session { holder, since, .. }) = self.remove(id) else { return };
        self.closed.insert_mut((holder, id), since);
        self.by_age.insert_mut((since, id), holder);
        let of_holder = || self.closed.range((holder, SessionId::min())..=(holder, SessionId::max()));
        if of_holder().count() > CLOSED_PER_HOLDER_MAX
            && let Some(((_, oldest), since)) = of_holder().next().map(|(key, since)| (*key, *since))
        {
            self.closed.remove_mut(&(holder, oldest));
            self.by_age.remove_mut(&(since, oldest));
        }
    }

    fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.open.get(&id)?.clone();
        self.by_age.remove_mut(&(session.since, id));
        self.by_holder.remove_mut(&(session.holder, id));
        self.open.remove_mut(&id);
        Some(session)
    }

    fn drop_ended(&mut self, now: Timestamp) {
        let ended_before = now.plus_seconds(-SESSION_MAX_SECONDS);
        while let Some((opened_at, id, holder)) = self.by_age.first().map(|((at, id), of)| (*at, *id, *of)) {
            if opened_at >= ended_before {
                break;
            }
            self.remove(id);
            self.closed.remove_mut(&(holder, id));
            self.by_age.remove_mut(&(opened_at, id));
        }
    }
}

/// Who holds no session from here on.
fn locked_out(event: &PeopleEvent) -> Option<UserId> {
    match event {
        PeopleEvent::PersonSuspended(suspended) => Some(suspended.person),
        other => other.departed(),
    }
}

impl Fold for Sessions {
    const NAME: &'static str = "sessions";
    const PROJECTION: u32 = 4;

    fn apply(&mut self, recorded: &Recorded) {
        let event = match &recorded.event {
            Event::Sessions(event) => event,
            Event::People(event) => {
                if let Some(person) = locked_out(event) {
                    self.drop_holder(Holder::Person(person));
                }
                return;
            }
            Event::Accounts(AccountsEvent::AccountDeleted(deleted)) => {
                self.drop_holder(Holder::Account(deleted.account));
                return;
            }
            Event::General(_)
            | Event::Environments(_)
            | Event::Secrets(_)
            | Event::Teams(_)
            | Event::Customers(_)
            | Event::CustomerData(_)
            | Event::Executions(_)
            | Event::ApiKeys(_)
            | Event::Roles(_)
            | Event::Accounts(_)
            | Event::Foundings(_)
            | Event::Deletions(_)
            | Event::Invitations(_)
            | Event::JoinRequests(_)
            | Event::Memberships(_)
            | Event::Operations(_)
            | Event::Exports(_)
            | Event::EncryptionKeys(_)
            | Event::OauthApps(_)
            | Event::Connections(_)
            | Event::ManagedApps(_)
            | Event::SigningKeys(_)
            | Event::Billing(_)
            | Event::Plans(_)
            | Event::Refused(_) => return,
        };
        match event {
            SessionsEvent::SessionOpened(opened) => {
                self.drop_ended(recorded.at);
                let holder = match (opened.person, opened.account) {
                    (Some(person), _) => Holder::Person(person),
                    (None, Some(account)) => Holder::Account(account),
                    (None, None) => return,
                };
                let since = opened.since.unwrap_or(recorded.at);
                let session = Session {
                    id: opened.session,
                    holder,
                    generation: opened.generation,
                    ip: opened.ip.clone(),
                    user_agent: opened.user_agent.clone(),
                    created_at: recorded.at,
                    since,
                    version: recorded.version,
                };
                self.by_age.insert_mut((since, opened.session), holder);
                self.by_holder.insert_mut((holder, opened.session), ());
                self.open.insert_mut(opened.session, session);
            }
            SessionsEvent::LoggedOut(closed)
            | SessionsEvent::Switched(closed)
            | SessionsEvent::SessionRevoked(closed) => self.close(closed.session),
        }
    }

    fn directory(recorded: &Recorded, entries: &mut Vec<DirectoryEntry>) {
        let Event::Sessions(event) = &recorded.event else { return };
        entries.push(match event {
            SessionsEvent::SessionOpened(opened) => DirectoryEntry::CredentialOpened {
                token: opened.token,
                session: opened.session,
                opened_at: opened.since.unwrap_or(recorded.at),
            },
            SessionsEvent::LoggedOut(closed)
            | SessionsEvent::Switched(closed)
            | SessionsEvent::SessionRevoked(closed) => {
                DirectoryEntry::CredentialClosed { session: closed.session }
            }
        });
    }

    fn items(&self) -> usize {
        self.open.size()
    }
}
