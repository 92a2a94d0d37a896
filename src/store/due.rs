//! What is due at a time, over all streams: the part of the directory that the scheduler looks at, and what it does then.

use rpds::RedBlackTreeMapSync;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::ids::{ConnectionId, InvitationId, SecretId, StreamId};
use crate::settings::invitations::command::InvitationsCommand;
use crate::settings::secrets::command::SecretsCommand;
use crate::store::load::LoadError;
use crate::store::{Refusal, Store, Submission};
use crate::varint::{self, Malformed, Reader};

/// The most things that are done in a row before the scheduler looks at the rest of its work.
const AT_ONCE: usize = 1_000;

/// A thing of which something is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueThing {
    /// When.
    pub at: Timestamp,
    /// Whose it is.
    pub stream: StreamId,
    /// Its id.
    pub resource: String,
}

impl DueThing {
    /// The connection that it is, if it is one.
    fn connection(&self) -> Option<ConnectionId> {
        self.resource.parse().ok()
    }
}

/// What is due when: persistent, so that a save takes it as it is without keeping anybody waiting.
#[derive(Clone, Debug, Default)]
pub(super) struct Due {
    next: RedBlackTreeMapSync<DueThing, ()>,
    known: RedBlackTreeMapSync<(StreamId, String), Timestamp>,
}

impl Due {
    /// Something of a thing is due then, and not when it was said before.
    pub(super) fn set(&mut self, thing: DueThing) {
        self.clear(thing.stream, &thing.resource);
        self.known.insert_mut((thing.stream, thing.resource.clone()), thing.at);
        self.next.insert_mut(thing, ());
    }

    /// Nothing of a thing is due any more.
    pub(super) fn clear(&mut self, stream: StreamId, resource: &str) {
        let key = (stream, resource.to_owned());
        if let Some(at) = self.known.get(&key).copied() {
            self.known.remove_mut(&key);
            let (stream, resource) = key;
            self.next.remove_mut(&DueThing { at, stream, resource });
        }
    }

    /// Nothing of a thing is due any more that was by a time.
    pub(super) fn clear_by(&mut self, stream: StreamId, resource: &str, by: Timestamp) {
        if self.known.get(&(stream, resource.to_owned())).is_some_and(|at| *at <= by) {
            self.clear(stream, resource);
        }
    }

    /// Nothing of a stream is due any more.
    pub(super) fn clear_stream(&mut self, stream: StreamId) {
        let from = (stream, String::new());
        let own = self.known.range(from..).take_while(|((of, _), _)| *of == stream);
        let resources: Vec<String> = own.map(|((_, resource), _)| resource.clone()).collect();
        resources.iter().for_each(|resource| self.clear(stream, resource));
    }

    /// Lets go of what was looked at, unless something else was said of the thing meanwhile.
    pub(super) fn drop_thing(&mut self, thing: &DueThing) {
        if self.next.contains_key(thing) {
            self.clear(thing.stream, &thing.resource);
        }
    }

    /// When the first is due.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.next.first().map(|(thing, ())| thing.at)
    }

    /// The first things that are due by a time, but for connections.
    pub(super) fn by(&self, now: Timestamp) -> Vec<DueThing> {
        let due = self.next.keys().take_while(|thing| thing.at <= now);
        due.filter(|thing| thing.connection().is_none()).take(AT_ONCE).cloned().collect()
    }

    /// The first connections whose tokens are to be refreshed by a time, of those that are meant. They stay due until their
    /// stream says another time: whoever refreshes them may die first.
    pub(super) fn connections_by(
        &self,
        now: Timestamp,
        is_meant: impl Fn(StreamId, ConnectionId) -> bool,
    ) -> Vec<(StreamId, ConnectionId)> {
        let due = self.next.keys().take_while(|thing| thing.at <= now);
        let due = due.filter_map(|thing| Some((thing.stream, thing.connection()?)));
        due.filter(|(stream, connection)| is_meant(*stream, *connection)).take(AT_ONCE).collect()
    }

    /// Whether this, saved, is what was folded from the log, but for what was due by now: that may have been looked at.
    pub(super) fn agrees_with(&self, folded: &Self, now: Timestamp) -> bool {
        self.next.keys().all(|thing| folded.next.contains_key(thing))
            && folded.next.keys().all(|thing| thing.at <= now || self.next.contains_key(thing))
    }

    /// What a file holds of it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for thing in self.next.keys() {
            varint::write(thing.at.micros().cast_unsigned(), &mut out);
            out.extend_from_slice(&thing.stream.to_bytes());
            varint::write(thing.resource.len() as u64, &mut out);
            out.extend_from_slice(thing.resource.as_bytes());
        }
        out
    }

    /// Reads it back.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let mut due = Self::default();
        while !reader.0.is_empty() {
            let at = Timestamp::from_micros(reader.varint()?.cast_signed());
            let stream = StreamId::from_bytes(reader.array()?);
            let length = reader.size()?;
            let resource = std::str::from_utf8(reader.bytes(length)?).map_err(|_| Malformed)?.to_owned();
            due.set(DueThing { at, stream, resource });
        }
        Ok(due)
    }
}

/// Something due that could not be done now.
#[derive(Debug, thiserror::Error)]
enum DueError {
    /// Its stream could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Store {
    /// Does what is due by a time. What cannot be done now (the disk is full, the clock jumped) stays due, and keeps
    /// nothing else from going on.
    pub async fn do_what_is_due(&self, now: Timestamp) {
        for thing in self.directory().due(now) {
            match self.look_at(&thing).await {
                Ok(()) => self.directory().drop_due(&thing),
                Err(error) => {
                    let DueThing { stream, resource, .. } = &thing;
                    tracing::error!(%stream, resource, error = with_causes(&error), "what is due is left undone");
                }
            }
        }
    }

    /// Decides what a thing's time means, in its stream.
    async fn look_at(&self, thing: &DueThing) -> Result<(), DueError> {
        let handle = self.stream(thing.stream).await?;
        if let Ok(invitation) = thing.resource.parse::<InvitationId>() {
            let expire = Submission::new(InvitationsCommand::Expire(invitation), Actor::SYSTEM);
            self.execute(&handle, expire).await?;
        }
        let Ok(secret) = thing.resource.parse::<SecretId>() else { return Ok(()) };
        let expire = Submission::new(SecretsCommand::Expire(secret), Actor::SYSTEM);
        if self.execute(&handle, expire).await?.events > 0 {
            self.metrics().secret_expired();
            tracing::warn!(organization = %thing.stream, %secret, "a secret is past the time at which it expires");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{id, now};

    fn thing(seconds: i64, resource: &str) -> DueThing {
        let stream = StreamId::Organization(id(1));
        DueThing { at: now().plus_seconds(seconds), stream, resource: resource.to_owned() }
    }

    fn of(things: &[DueThing]) -> Due {
        let mut due = Due::default();
        things.iter().for_each(|thing| due.set(thing.clone()));
        due
    }

    #[test]
    fn a_thing_is_due_once_and_when_it_was_said_last() {
        let mut due = of(&[thing(9, "a"), thing(5, "b"), thing(7, "a")]);
        assert_eq!(due.first(), Some(now().plus_seconds(5)));
        assert_eq!(due.by(now().plus_seconds(4)), []);
        assert_eq!(due.by(now().plus_seconds(9)), [thing(5, "b"), thing(7, "a")]);
        due.drop_thing(&thing(9, "a"));
        due.drop_thing(&thing(5, "b"));
        assert_eq!(due.by(now().plus_seconds(9)), [thing(7, "a")], "another time was said meanwhile");
        due.clear(StreamId::Organization(id(1)), "a");
        assert_eq!(due.first(), None);
    }

    #[test]
    fn nothing_is_due_of_a_stream_that_is_over() {
        let mut due = of(&[thing(9, "a"), thing(5, "b")]);
        let other = StreamId::Organization(id(2));
        due.set(DueThing { stream: other, ..thing(7, "a") });
        due.clear_stream(StreamId::Organization(id(1)));
        assert_eq!(due.by(now().plus_seconds(9)), [DueThing { stream: other, ..thing(7, "a") }]);
    }

    #[test]
    fn what_is_saved_is_what_it_was() {
        let due = of(&[thing(9, "a"), thing(-5, "b"), thing(7, "")]);
        let read = Due::decode(&due.encode()).unwrap();
        assert_eq!(read.by(now().plus_seconds(9)), due.by(now().plus_seconds(9)));
        let whole = due.encode();
        assert!(Due::decode(&whole[..whole.len() - 1]).is_err());
    }

    #[test]
    fn only_what_has_passed_may_be_missing() {
        let (all, rest) = (of(&[thing(1, "a"), thing(9, "b")]), of(&[thing(9, "b")]));
        assert!(rest.agrees_with(&all, now().plus_seconds(1)));
        assert!(!rest.agrees_with(&all, now()));
        assert!(!all.agrees_with(&rest, now().plus_seconds(1)));
    }
}
