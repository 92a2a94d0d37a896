//! Events of a common kind, and a log to put them in: what the rows without a server measure.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use settled::actor::{Actor, ActorId};
use settled::clock::Timestamp;
use settled::event::{Event, Outcome, Recorded, Resource, ResourceType};
use settled::ids::{EnvironmentId, EventId, OrganizationId, SessionId, StoreId, StreamId, UserId};
use settled::log::codec::pack;
use settled::log::frame::{FrameBuilder, FrameStart, frame_hash};
use settled::log::head::Epoch;
use settled::log::sled::SledLog;
use settled::log::sled::open::{HeadPolicy, SledOptions, create, open};
use settled::log::{Append, EventLog as _, Head, Position};
use settled::settings::environments::event::{ConfigSet, EnvironmentCreated, EnvironmentsEvent, Mode};
use uuid::Uuid;

/// 2026-01-02T03:04:05.000006Z.
const EPOCH_MICROS: i64 = 1_767_323_045_000_006;

/// A log in a folder of its own, and where its one stream ends.
pub struct Log {
    options: SledOptions,
    /// The log.
    pub log: SledLog,
    stream: Stream,
}

impl Log {
    /// An empty log in an empty folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(dir: &Path) -> Result<Self> {
        let options = SledOptions::new(dir, StoreId::from_uuid(uuid(9)));
        create(&options, &Epoch::default())?;
        let log = open(options.clone(), HeadPolicy::Require)?.log;
        Ok(Self { options, log, stream: Stream::default() })
    }

    /// The next frames, built but not appended; all of them are to be, in order, before any other.
    ///
    /// # Errors
    /// When an event is no record.
    pub fn frames(&mut self, frames: usize, events: usize) -> Result<Vec<Append>> {
        (0..frames).map(|_| self.stream.next(events)).collect()
    }

    /// Appends frames, each in a commit of its own.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn append(&self, appends: Vec<Append>) -> Result<()> {
        for append in appends {
            self.log.append(vec![append])?;
        }
        Ok(())
    }

    /// Closed and opened again: nothing that was appended is remembered outside of the engine.
    ///
    /// # Errors
    /// When it cannot be closed or opened.
    pub fn reopened(self) -> Result<Self> {
        self.log.close()?;
        drop(self.log);
        let log = open(self.options.clone(), HeadPolicy::Require)?.log;
        Ok(Self { options: self.options, log, stream: self.stream })
    }
}

/// The one stream, as far as it goes.
#[derive(Default)]
struct Stream {
    head: Head,
}

impl Stream {
    fn next(&mut self, events: usize) -> Result<Append> {
        let position = Position(self.head.position.0 + 1);
        let at = Timestamp::from_micros(EPOCH_MICROS + i64::try_from(position.0)? * 1_000);
        let mut builder = FrameBuilder::new(FrameStart {
            stream: stream(),
            first_version: self.head.version + 1,
            at,
            previous: self.head.position,
            previous_hash: self.head.hash,
        });
        for _ in 0..events {
            let version = builder.next_version();
            builder.push(&pack(&event(version, at))?);
        }
        let version = builder.next_version() - 1;
        let frame = builder.finish().unwrap_or_default();
        self.head = Head { version, position, hash: frame_hash(&frame), at };
        Ok(Append {
            stream: stream(),
            expected: None,
            frame: Some(frame),
            put: Vec::new(),
            remove: Vec::new(),
        })
    }
}

/// The first event makes an environment; each after it sets a value there, of some 600 bytes as JSON.
fn event(version: u64, at: Timestamp) -> Recorded {
    let environment = EnvironmentId::from_uuid(uuid(77));
    let key = format!("SETTING_{}", version % 97);
    let (resource, event) = if version == 1 {
        let created = EnvironmentCreated {
            environment,
            name: "Bench".to_owned(),
            slug: "bench".to_owned(),
            mode: Mode::Live,
            description: None,
        };
        let resource = Resource::named(ResourceType::Environment, environment, "Bench");
        (resource, EnvironmentsEvent::EnvironmentCreated(created))
    } else {
        let value = format!("{:?}", noise(version, 150));
        let set = ConfigSet { environment, key: key.clone(), value };
        (Resource::named(ResourceType::Config, environment, &key), EnvironmentsEvent::ConfigSet(set))
    };
    Recorded {
        id: EventId::from_uuid(uuid(u128::from(version) << 16 | 0xe)),
        stream: stream(),
        version,
        at,
        actor: Actor {
            id: ActorId::Person(UserId::from_uuid(uuid(5))),
            session: Some(SessionId::from_uuid(uuid(6))),
        },
        resource,
        outcome: Outcome::Success,
        event: Event::Environments(event),
        related: Vec::new(),
        reason: None,
        request_id: Some(format!("req-{version:08}")),
        request: None,
        count: None,
        keys: BTreeMap::new(),
    }
}

/// A UUIDv7 that is the same each time.
fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x019b_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn stream() -> StreamId {
    StreamId::Organization(OrganizationId::from_uuid(uuid(1)))
}

/// Text that does not compress well, the same for the same seed.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[usize::try_from((state >> 33) % 36).unwrap_or(0)])
    };
    (0..length).map(|_| letter()).collect()
}
