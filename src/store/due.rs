//! What is due at a time, over all streams: the part of the directory that the scheduler looks at, and what it does then.

use std::ops::Bound;

use rpds::RedBlackTreeMapSync;

use crate::actor::Actor;
use crate::causes::with_causes;
use crate::clock::Timestamp;
use crate::ids::{ConnectionId, InvitationId, OrganizationId, SecretId, StreamId};
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

/// The connections whose tokens are to be refreshed. Cheap to clone: whoever walks them keeps no batch waiting.
#[derive(Clone, Debug, Default)]
pub struct DueConnections(RedBlackTreeMapSync<(Timestamp, StreamId, ConnectionId), ()>);

impl DueConnections {
    /// Those that are due after a time, soonest first, each with when.
    pub fn after(&self, time: Timestamp) -> impl Iterator<Item = (Timestamp, StreamId, ConnectionId)> + '_ {
        let last = (time, StreamId::Organization(OrganizationId::max()), ConnectionId::max());
        self.0.range((Bound::Excluded(last), Bound::Unbounded)).map(|(due, ())| *due)
    }
}

/// What is due when: persistent, so that a save takes it as it is without keeping anybody waiting.
#[derive(Clone, Debug, Default)]
pub(super) struct Due {
    /// All but connections, which stay due while they are at their providers: whoever looks for the rest walks none.
    next: RedBlackTreeMapSync<DueThing, ()>,
    connections: DueConnections,
    known: RedBlackTreeMapSync<(StreamId, String), Timestamp>,
}

impl Due {
    /// Something of a thing is due then, and not when it was said before.
    pub(super) fn set(&mut self, thing: DueThing) {
        self.clear(thing.stream, &thing.resource);
        self.known.insert_mut((thing.stream, thing.resource.clone()), thing.at);
        match thing.resource.parse() {
            Ok(connection) => self.connections.0.insert_mut((thing.at, thing.stream, connection), ()),
            Err(_) => self.next.insert_mut(thing, ()),
        }
    }

    /// Nothing of a thing is due any more.
    pub(super) fn clear(&mut self, stream: StreamId, resource: &str) {
        let key = (stream, resource.to_owned());
        if let Some(at) = self.known.get(&key).copied() {
            self.known.remove_mut(&key);
            let (stream, resource) = key;
            match resource.parse() {
                Ok(connection) => self.connections.0.remove_mut(&(at, stream, connection)),
                Err(_) => self.next.remove_mut(&DueThing { at, stream, resource }),
            };
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

    /// When the first is due, of connections the first after a time: those of before were begun then.
    pub(super) fn first(&self, begun: Timestamp) -> Option<Timestamp> {
        let thing = self.next.first().map(|(thing, ())| thing.at);
        let connection = self.connections.after(begun).next().map(|(at, ..)| at);
        [thing, connection].into_iter().flatten().min()
    }

    /// The first things that are due by a time, but for connections.
    pub(super) fn by(&self, now: Timestamp) -> Vec<DueThing> {
        self.next.keys().take_while(|thing| thing.at <= now).take(AT_ONCE).cloned().collect()
    }

    /// The connections as they are due now. They stay so until their stream says another time: whoever refreshes them may
    /// die first.
    pub(super) fn connections(&self) -> DueConnections {
        self.connections.clone()
    }

    /// Whether this, saved, is what was folded from the log, but for what was due by now: that may have been looked at.
    pub(super) fn agrees_with(&self, folded: &Self, now: Timestamp) -> bool {
        let is_in = |at: Timestamp, own: bool| own || at <= now;
        self.next.keys().all(|thing| folded.next.contains_key(thing))
            && folded.next.keys().all(|thing| is_in(thing.at, self.next.contains_key(thing)))
            && self.connections.0.keys().all(|due| folded.connections.0.contains_key(due))
            && folded.connections.0.keys().all(|due| is_in(due.0, self.connections.0.contains_key(due)))
    }

    /// What a file holds of it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut write = |at: Timestamp, stream: StreamId, resource: &str| {
            varint::write(at.micros().cast_unsigned(), &mut out);
            out.extend_from_slice(&stream.to_bytes());
            varint::write(resource.len() as u64, &mut out);
            out.extend_from_slice(resource.as_bytes());
        };
        self.next.keys().for_each(|thing| write(thing.at, thing.stream, &thing.resource));
        self.connections.0.keys().for_each(|(at, stream, id)| write(*at, *stream, &id.to_string()));
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
        assert_eq!(due.first(now()), Some(now().plus_seconds(5)));
        assert_eq!(due.by(now().plus_seconds(4)), []);
        assert_eq!(due.by(now().plus_seconds(9)), [thing(5, "b"), thing(7, "a")]);
        due.drop_thing(&thing(9, "a"));
        due.drop_thing(&thing(5, "b"));
        assert_eq!(due.by(now().plus_seconds(9)), [thing(7, "a")], "another time was said meanwhile");
        due.clear(StreamId::Organization(id(1)), "a");
        assert_eq!(due.first(now()), None);
    }

    #[test]
    fn a_connection_is_among_connections_alone_and_its_time_counts_until_it_was_begun() {
        let connection: ConnectionId = id(1);
        let mut due = of(&[thing(5, &connection.to_string()), thing(9, "a")]);
        let at = |seconds| now().plus_seconds(seconds);
        assert_eq!(due.by(at(9)), [thing(9, "a")]);
        let of_stream = StreamId::Organization(id(1));
        let after = |time| due.connections().after(time).collect::<Vec<_>>();
        assert_eq!((after(at(4)), after(at(5))), (vec![(at(5), of_stream, connection)], vec![]));
        assert_eq!((due.first(at(4)), due.first(at(5))), (Some(at(5)), Some(at(9))));
        let read = Due::decode(&due.encode()).unwrap();
        assert!(read.agrees_with(&due, at(0)) && due.agrees_with(&read, at(0)));
        assert!(!of(&[thing(9, "a")]).agrees_with(&due, at(4)));
        due.clear_by(of_stream, &connection.to_string(), at(4));
        assert!(due.connections().after(at(0)).next().is_some(), "another time was said meanwhile");
        due.clear_by(of_stream, &connection.to_string(), at(5));
        assert!(due.connections().after(at(0)).next().is_none());
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
