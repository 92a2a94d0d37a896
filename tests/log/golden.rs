//! The format on disk, byte for byte: a record, a frame, a run and its parts, and the hashes of each.
//!
//! `SETTLED_BLESS=1` writes the files anew; a difference without a new format number is a broken promise.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use settled::actor::Actor;
use settled::clock::Timestamp;
use settled::event::{
    Event, Outcome, Recorded, RecordedAt, Refused, RefusedData, RequestMark, Resource, ResourceType,
};
use settled::ids::{DataKeyId, OrganizationId, StreamId, UserId};
use settled::log::canonical::{canonical_json, leaf_hash};
use settled::log::codec::{CodecError, PackedEvent, pack, unpack_json};
use settled::log::frame::{Frame, FrameBuilder, FrameStart, frame_hash};
use settled::log::run::{assemble, cut, divide, join};
use settled::log::{FrameHash, Position};
use settled::seal::{Commitment, Sealed, SealedBytes};
use settled::settings::general::event::{GeneralEvent, OrganizationCreated, OrganizationUpdated};
use settled::settings::people::event::{PeopleEvent, PersonJoined};

use crate::events::{EPOCH_MICROS, config_set, stream, uuid};

/// One of each kind of thing that a record can hold.
fn records() -> Vec<Recorded> {
    let at = Timestamp::from_micros(EPOCH_MICROS);
    let of = stream(1);
    let key = DataKeyId::from_uuid(uuid(3));
    let sealed = |byte: u8| Sealed { key, data: SealedBytes(vec![byte; 65].into_boxed_slice()) };
    let organization = OrganizationId::from_uuid(uuid(1));
    let person = UserId::from_uuid(uuid(5));

    let mut created = config_set(of, 1, at, "");
    created.actor = Actor::SYSTEM;
    created.resource = Resource::named(ResourceType::Organization, organization, "Käse & \"Söhne\"");
    created.request_id = None;
    created.keys = [(key, Commitment([7; 32]))].into();
    created.event = Event::General(GeneralEvent::OrganizationCreated(OrganizationCreated {
        organization,
        key,
        name: "Käse & \"Söhne\"\n\u{1f}\u{7f}€😀".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
    }));
    let mut joined = config_set(of, 2, at, "");
    joined.resource = Resource::new(ResourceType::Person, person);
    joined.related = vec![organization.to_string(), "owner".to_owned()];
    joined.reason = Some(sealed(0));
    joined.event = Event::People(PeopleEvent::PersonJoined(PersonJoined {
        person,
        key,
        name: sealed(1),
        email: sealed(255),
    }));
    let mut updated = config_set(of, 3, at, "");
    updated.request = Some(RequestMark { key: "a".repeat(43), body: "b".repeat(43), status: 200, events: 1 });
    updated.event = Event::General(GeneralEvent::OrganizationUpdated(OrganizationUpdated {
        auto_approve_domain_users: Some(false),
        cleared: vec!["email_domain".to_owned()],
        ..OrganizationUpdated::default()
    }));
    let mut denied = config_set(of, 4, at, "");
    denied.outcome = Outcome::Denied;
    denied.count = Some((1 << 53) - 1);
    denied.event = Event::Refused(Refused {
        action: "config.set".to_owned(),
        data: RefusedData { permission: Some("config:write".to_owned()), cause: None },
    });
    vec![created, joined, updated, denied, config_set(of, 5, at, &"a long value ".repeat(700))]
}

fn frames() -> (Vec<PackedEvent>, Vec<Bytes>) {
    let packed: Vec<PackedEvent> = records().iter().map(|record| pack(record).unwrap()).collect();
    let at = Timestamp::from_micros(EPOCH_MICROS);
    let start = FrameStart {
        stream: stream(1),
        first_version: 1,
        at,
        previous: Position(0),
        previous_hash: FrameHash::default(),
    };
    let mut first = FrameBuilder::new(start);
    packed[..3].iter().for_each(|event| first.push(event));
    let first = first.finish().unwrap();
    let (previous, previous_hash) = (Position(300), frame_hash(&first));
    let mut second = FrameBuilder::new(FrameStart { first_version: 4, previous, previous_hash, ..start });
    packed[3..].iter().for_each(|event| second.push(event));
    let second = second.finish().unwrap();
    (packed, vec![first, second])
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn check_golden(name: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("SETTLED_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{name} differs from what is committed; found:\n{found}");
}

#[test]
fn a_record_is_packed_as_ever_and_its_leaf_is_the_same() {
    let mut text = String::new();
    for event in frames().0 {
        let Recorded { stream, version, at, .. } = event.recorded;
        let json = unpack_json(&event.bytes, RecordedAt { stream, version, at }).unwrap();
        let json = canonical_json(&json);
        writeln!(text, "{json}\nleaf\n{}packed\n{}", hex(&event.leaf), hex(&event.bytes)).unwrap();
    }
    check_golden("records.txt", &text);
}

#[test]
fn a_frame_is_built_as_ever_and_its_hash_is_the_same() {
    let mut text = String::new();
    for frame in frames().1 {
        writeln!(text, "hash\n{}frame\n{}", hex(&frame_hash(&frame).0), hex(&frame)).unwrap();
    }
    check_golden("frames.txt", &text);
}

#[test]
fn a_run_is_cut_into_parts_as_ever() {
    let run = join(&frames().1);
    let big = Bytes::from((0..9000_u32).map(|n| ((n * n) >> 3) as u8).collect::<Vec<u8>>());
    let mut text = format!("run\n{}", hex(&run));
    for part in cut(Position(0x0102_0304), &run).iter().chain(&cut(Position(9), &join([&big]))) {
        write!(text, "part\n{}", hex(part)).unwrap();
    }
    check_golden("runs.txt", &text);
}

#[test]
fn what_is_read_out_of_a_frame_is_what_went_in() {
    let (packed, frames) = frames();
    let run = Bytes::from(join(&frames));
    let position = Position(4);
    let again = divide(position, &assemble(position, &cut(position, &run)).unwrap()).unwrap();
    assert_eq!(again, frames);
    let mut packed = packed.into_iter();
    for bytes in again {
        let frame = Frame::parse(bytes).unwrap();
        // Backwards: no event needs its neighbours.
        let events: Vec<Recorded> =
            (0..frame.len()).rev().map(|index| frame.recorded(index).unwrap()).collect();
        let expected: Vec<PackedEvent> = packed.by_ref().take(frame.len()).collect();
        for (index, (event, expected)) in events.iter().rev().zip(&expected).enumerate() {
            assert_eq!(*event, expected.recorded);
            let json = frame.json(index).unwrap();
            assert_eq!(leaf_hash(&json), expected.leaf);
            assert_eq!(json["stream"], expected.recorded.stream.to_string());
            assert_eq!(json["at"], "2026-01-02T03:04:05.000006Z");
            assert_eq!(json["version"], expected.recorded.version);
        }
        assert!(matches!(frame.recorded(frame.len()), Err(CodecError::NoSuchEvent { .. })));
    }
}

#[test]
fn a_count_that_json_readers_would_round_is_refused_when_it_is_packed() {
    let mut record = records().remove(3);
    record.count = Some(1 << 53);
    let error = pack(&record).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a record's value at `count` is an integer beyond 2^53 - 1, which no record may hold"
    );
}

#[test]
fn no_shortened_or_flipped_frame_is_read_as_another_one_of_the_same_hash() {
    let frame = frames().1.remove(0);
    let whole = Frame::parse(frame.clone()).unwrap();
    for length in 0..frame.len() {
        assert!(Frame::parse(frame.slice(..length)).is_err());
    }
    for bit in 0..frame.len() * 8 {
        let mut flipped = frame.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(frame_hash(&flipped), frame_hash(&frame));
        // Nothing panics, however wild the header.
        if let Ok(parsed) = Frame::parse(Bytes::from(flipped)) {
            let _ = parsed.events().count() + parsed.jsons().count();
        }
    }
    assert_eq!(whole.header().last_version(), 3);
}

#[test]
fn a_frame_says_whether_more_events_fit() {
    let at = Timestamp::from_micros(EPOCH_MICROS);
    let big = crate::events::noise(1, 60_000);
    let start = FrameStart {
        stream: StreamId::Platform,
        first_version: 1,
        at,
        previous: Position(0),
        previous_hash: FrameHash::default(),
    };
    let mut builder = FrameBuilder::new(start);
    loop {
        let next = pack(&config_set(StreamId::Platform, builder.next_version(), at, &big)).unwrap();
        if !builder.fits(std::slice::from_ref(&next)) {
            break;
        }
        builder.push(&next);
    }
    let frame = builder.finish().unwrap();
    assert!(frame.len() <= settled::log::frame::MAX_FRAME_BYTES && frame.len() > 700_000);
    assert!(Frame::parse(frame).is_ok());
}
