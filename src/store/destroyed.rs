//! Which streams had data keys destroyed of which copies may still open, because the key that wraps them has not been
//! rotated since: a part of the directory, by which the scheduler rotates.

use rpds::RedBlackTreeMapSync;

use crate::clock::{HOUR_SECONDS, Timestamp};
use crate::event::Version;
use crate::ids::StreamId;
use crate::varint::{self, Malformed, Reader};

/// A stream's key is rotated so long after a data key was destroyed, together with all that are by then: rotating wraps
/// every data key of the stream anew.
pub const ROTATED_AFTER_SECONDS: i64 = HOUR_SECONDS;

/// Streams whose key is to be rotated. Persistent, so that a save takes it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Destroyed {
    streams: RedBlackTreeMapSync<StreamId, Waiting>,
}

/// What waits for a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    /// The time of the first event that destroyed a key.
    since: Timestamp,
    /// The version of the last one.
    last: Version,
}

impl Destroyed {
    /// An event destroyed data keys.
    pub(super) fn destroyed(&mut self, stream: StreamId, version: Version, at: Timestamp) {
        let since = self.streams.get(&stream).map_or(at, |waiting| waiting.since);
        self.streams.insert_mut(stream, Waiting { since, last: version });
    }

    /// A rotation was over then, after which nothing opens that was destroyed up to a version. What was destroyed later
    /// waits for the next one, from now on.
    pub(super) fn rotated(&mut self, stream: StreamId, through: Version, at: Timestamp) {
        let Some(waiting) = self.streams.get(&stream).copied() else { return };
        if waiting.last <= through {
            self.streams.remove_mut(&stream);
        } else {
            self.streams.insert_mut(stream, Waiting { since: at, ..waiting });
        }
    }

    /// The streams whose time has come, each with the version of the last event that destroyed a key; and those that wait since a
    /// time which is still to come, behind an accepted clock.
    pub(super) fn due(&self, now: Timestamp) -> Vec<(StreamId, Version)> {
        let waits = 0..ROTATED_AFTER_SECONDS;
        let due = |waiting: &Waiting| !waits.contains(&now.seconds_since(waiting.since));
        let all = self.streams.iter().filter(|(_, waiting)| due(waiting));
        all.map(|(stream, waiting)| (*stream, waiting.last)).collect()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.streams.size()
    }

    /// What a file holds of it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (stream, waiting) in &self.streams {
            out.extend_from_slice(&stream.to_bytes());
            varint::write(waiting.since.micros().cast_unsigned(), &mut out);
            varint::write(waiting.last, &mut out);
        }
        out
    }

    /// Reads it back.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let mut destroyed = Self::default();
        while !reader.0.is_empty() {
            let stream = StreamId::from_bytes(reader.array()?);
            let since = Timestamp::from_micros(reader.varint()?.cast_signed());
            destroyed.streams.insert_mut(stream, Waiting { since, last: reader.varint()? });
        }
        Ok(destroyed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{id, now};

    const PLATFORM: StreamId = StreamId::Platform;

    #[test]
    fn a_stream_is_due_an_hour_after_the_first_of_what_waits() {
        let mut destroyed = Destroyed::default();
        destroyed.destroyed(PLATFORM, 3, now());
        destroyed.destroyed(PLATFORM, 7, now().plus_seconds(ROTATED_AFTER_SECONDS - 1));
        assert_eq!(destroyed.due(now().plus_seconds(ROTATED_AFTER_SECONDS - 1)), []);
        assert_eq!(destroyed.due(now().plus_seconds(ROTATED_AFTER_SECONDS)), [(PLATFORM, 7)]);
        assert_eq!(destroyed.due(now().plus_seconds(-1)), [(PLATFORM, 7)]);
        destroyed.rotated(PLATFORM, 7, now().plus_seconds(ROTATED_AFTER_SECONDS));
        assert_eq!(destroyed.len(), 0);
        destroyed.rotated(PLATFORM, 9, now());
    }

    #[test]
    fn what_is_destroyed_during_a_rotation_waits_for_the_next() {
        let mut destroyed = Destroyed::default();
        let other = StreamId::Organization(id(1));
        destroyed.destroyed(PLATFORM, 3, now());
        destroyed.destroyed(other, 2, now());
        let later = now().plus_seconds(ROTATED_AFTER_SECONDS);
        destroyed.destroyed(PLATFORM, 5, later);
        destroyed.rotated(PLATFORM, 4, later);
        assert_eq!(destroyed.due(later), [(other, 2)]);
        assert_eq!(destroyed.due(later.plus_seconds(ROTATED_AFTER_SECONDS)), [(PLATFORM, 5), (other, 2)]);
    }

    #[test]
    fn what_is_saved_is_what_it_was() {
        let mut destroyed = Destroyed::default();
        destroyed.destroyed(PLATFORM, 300, now());
        destroyed.destroyed(StreamId::Organization(id(1)), 2, Timestamp::EPOCH);
        let encoded = destroyed.encode();
        assert_eq!(Destroyed::decode(&encoded), Ok(destroyed.clone()));
        assert!(Destroyed::decode(&encoded[..encoded.len() - 1]).is_err());
    }
}
