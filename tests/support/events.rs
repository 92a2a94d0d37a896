//! Events and frames for the tests of the log: fixed ones, and as many as one likes.

use std::collections::HashMap;

use bytes::Bytes;
use settled::actor::{Actor, ActorId};
use settled::clock::Timestamp;
use settled::event::{Event, Outcome, Recorded, Resource, ResourceType};
use settled::ids::{DataKeyId, EnvironmentId, EventId, OrganizationId, SessionId, StreamId, UserId};
use settled::log::codec::{PackedEvent, pack};
use settled::log::frame::{FrameBuilder, FrameStart, frame_hash};
use settled::log::{Append, EventLog, Head, Key, Position};
use settled::settings::environments::event::{ConfigSet, EnvironmentsEvent};
use uuid::Uuid;

/// 2026-01-02T03:04:05.000006Z.
pub(crate) const EPOCH_MICROS: i64 = 1_767_323_045_000_006;

/// A UUIDv7 that is the same each time.
pub(crate) fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x019b_0000_0000_7000_8000_0000_0000_0000 + number)
}

/// The stream of a test's organization.
pub(crate) fn stream(number: u128) -> StreamId {
    StreamId::Organization(OrganizationId::from_uuid(uuid(number)))
}

/// A data key's key.
pub(crate) fn data_key(stream: StreamId, number: u128) -> Key {
    Key::DataKey(stream, DataKeyId::from_uuid(uuid(number)))
}

/// A configuration value set by a person: a common event, of some 600 bytes as JSON where `value` has 150.
pub(crate) fn config_set(stream: StreamId, version: u64, at: Timestamp, value: &str) -> Recorded {
    let environment = EnvironmentId::from_uuid(uuid(77));
    let key = format!("SETTING_{}", version % 97);
    Recorded {
        id: EventId::from_uuid(uuid(u128::from(version) << 16 | 0xe)),
        stream,
        version,
        at,
        actor: Actor {
            id: ActorId::Person(UserId::from_uuid(uuid(5))),
            session: Some(SessionId::from_uuid(uuid(6))),
        },
        resource: Resource::named(ResourceType::Config, environment, &key),
        outcome: Outcome::Success,
        event: Event::Environments(EnvironmentsEvent::ConfigSet(ConfigSet {
            environment,
            key,
            value: format!("{value:?}"),
        })),
        related: Vec::new(),
        reason: None,
        request_id: Some(format!("req-{version:08}")),
        request: None,
        count: None,
        keys: std::collections::BTreeMap::new(),
    }
}

/// Text that does not compress well, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(length);
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[(state >> 33) as usize % 36]));
    }
    text
}

/// Builds frames that continue their streams, as the writer does.
#[derive(Clone, Default)]
pub(crate) struct Frames {
    heads: HashMap<StreamId, Head>,
}

impl Frames {
    /// Goes on where a log ends.
    pub(crate) fn after(log: &dyn EventLog) -> Self {
        Self { heads: log.streams().into_iter().collect() }
    }

    /// The next frame of a stream, with one event for each value; `position` is where it will be.
    pub(crate) fn next(&mut self, stream: StreamId, position: Position, values: &[String]) -> Bytes {
        let head = self.heads.get(&stream).copied().unwrap_or_default();
        let at = Timestamp::from_micros(EPOCH_MICROS + position.0 as i64 * 1_000);
        let mut builder = FrameBuilder::new(FrameStart {
            stream,
            first_version: head.version + 1,
            at,
            previous: head.position,
            previous_hash: head.hash,
        });
        for value in values {
            builder.push(&packed(stream, builder.next_version(), at, value));
        }
        let version = builder.next_version() - 1;
        let frame = builder.finish().expect("there is a value");
        self.heads.insert(stream, Head { version, position, hash: frame_hash(&frame), at });
        frame
    }
}

fn packed(stream: StreamId, version: u64, at: Timestamp, value: &str) -> PackedEvent {
    pack(&config_set(stream, version, at, value)).expect("the event is a valid record")
}

/// An append of one frame and nothing else.
pub(crate) fn append(stream: StreamId, frame: Bytes) -> Append {
    Append { stream, expected: None, frame: Some(frame), put: Vec::new(), remove: Vec::new() }
}

/// Appends one frame of `events` events of some 600 bytes to a stream, and gives its position and bytes.
pub(crate) fn write(
    log: &dyn EventLog,
    frames: &mut Frames,
    of: StreamId,
    events: usize,
) -> (Position, Bytes) {
    let position = Position(log.end().0 + 1);
    let values: Vec<String> = (0..events).map(|event| noise(position.0 << 10 | event as u64, 150)).collect();
    let frame = frames.next(of, position, &values);
    let positions = log.append(vec![append(of, frame.clone())]).expect("the append succeeds");
    assert_eq!(positions, [position]);
    (position, frame)
}
