//! The format on disk, byte for byte: a record, a frame, a run and its parts, and the hashes of each.
//!
//! What is written now lies in `tests/golden/`; what was written with older dictionaries, in `dictionary-<n>/` there,
//! whose files nothing writes any more. When there is a newer dictionary, move them there before they are written anew.
//!
//! `SETTLED_BLESS=1` writes the files anew; a difference without a new format number is a broken promise.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use settled::actor::Actor;
use settled::clock::Timestamp;
use settled::event::packed::RecordedAt;
use settled::event::{Event, Outcome, Recorded, Refused, RefusedData, RequestMark, Resource, ResourceType};
use settled::ids::{DataKeyId, OrganizationId, StreamId, UserId};
use settled::log::canonical::{canonical_json, leaf_hash};
use settled::log::codec::{CodecError, PackedEvent, pack, unpack, unpack_json};
use settled::log::dictionary::Dictionary;
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
        plan: None,
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
        data: RefusedData { permission: Some("config:write".to_owned()), ..RefusedData::default() },
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
        let at = RecordedAt { stream, version, at };
        let json = canonical_json(&unpack_json(Dictionary::NEWEST, &event.bytes, at).unwrap());
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

/// What stands below a heading of a golden file of an older dictionary, each time that the heading is there.
fn older(dictionary: Dictionary, name: &str, heading: &str) -> Vec<Bytes> {
    let folder = format!("tests/golden/dictionary-{}", dictionary.number());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder).join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut below = false;
    for line in text.lines() {
        let bytes: Option<Vec<u8>> = (0..line.len() / 2)
            .map(|at| line.get(2 * at..2 * at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok()))
            .collect();
        match bytes {
            Some(bytes) if below => found.last_mut().unwrap().extend(bytes),
            Some(_) => {}
            None => {
                below = line == heading;
                found.extend(below.then(Vec::new));
            }
        }
    }
    found.into_iter().map(Bytes::from).collect()
}

fn older_dictionaries() -> impl Iterator<Item = Dictionary> {
    (0..Dictionary::NEWEST.number()).map(|number| Dictionary::from_number(number).unwrap())
}

#[test]
fn frames_of_older_dictionaries_are_read_as_ever_and_their_leaves_are_those_of_now() {
    for dictionary in older_dictionaries() {
        let frames = older(dictionary, "frames.txt", "frame");
        assert_eq!(
            frames.iter().map(|frame| frame_hash(frame).0.to_vec()).collect::<Vec<_>>(),
            older(dictionary, "frames.txt", "hash")
        );
        let mut now = self::frames().0.into_iter();
        for frame in frames {
            let frame = Frame::parse(frame).unwrap();
            assert_eq!(frame.header().dictionary, dictionary);
            for index in 0..frame.len() {
                let now = now.next().unwrap();
                assert_eq!(frame.recorded(index).unwrap(), now.recorded);
                assert_eq!(frame.leaf(index).unwrap(), now.leaf);
            }
        }
        assert!(now.next().is_none());
    }
}

#[test]
fn records_of_older_dictionaries_are_read_as_ever_and_their_leaves_are_those_of_now() {
    for dictionary in older_dictionaries() {
        let packed = older(dictionary, "records.txt", "packed");
        let leaves = older(dictionary, "records.txt", "leaf");
        let now = frames().0;
        assert_eq!((packed.len(), leaves.len()), (now.len(), now.len()));
        for ((packed, leaf), now) in packed.iter().zip(&leaves).zip(&now) {
            assert_ne!(*packed, now.bytes);
            assert_eq!(**leaf, now.leaf);
            let Recorded { stream, version, at, .. } = now.recorded;
            let at = RecordedAt { stream, version, at };
            assert_eq!(leaf_hash(&unpack_json(dictionary, packed, at).unwrap()), now.leaf);
            // What refers to a dictionary is nothing without it.
            assert_ne!(unpack(dictionary, &now.bytes, at).ok().as_ref(), Some(&now.recorded));
        }
    }
}

#[test]
fn runs_of_older_dictionaries_are_put_together_as_ever() {
    let position = Position(0x0102_0304);
    for dictionary in older_dictionaries() {
        let run = older(dictionary, "runs.txt", "run").remove(0);
        let parts = older(dictionary, "runs.txt", "part");
        let count = cut(position, &run).len();
        assert_eq!(parts[..count], cut(position, &run)[..]);
        assert_eq!(assemble(position, &parts[..count]).unwrap(), run);
        assert_eq!(divide(position, &run).unwrap(), older(dictionary, "frames.txt", "frame"));
    }
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
