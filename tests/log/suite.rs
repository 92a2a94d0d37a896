//! The log's promises, held against the log in memory and the one on sled alike.

use std::collections::BTreeMap;

use crate::events::{Frames, append, data_key, noise, stream, write};
use crate::store::Store;
use bytes::Bytes;
use proptest::prelude::*;
use settled::ids::{DataKeyId, StreamId};
use settled::log::check::check;
use settled::log::memory::MemoryLog;
use settled::log::sled::SledLog;
use settled::log::sled::open::{HeadPolicy, SledOptions, open};
use settled::log::{Append, AppendError, EventLog, Head, Key, Position, READ_BYTES, ReadError};

/// Runs a test on an empty log of each kind; on sled also without the ring, so that sled itself is read.
fn on_each(test: impl Fn(&dyn EventLog)) {
    test(&MemoryLog::new());
    for ring_bytes in [8 << 20, 0] {
        let store = Store::new();
        test(&open_with(&store, ring_bytes));
    }
}

fn open_with(store: &Store, ring_bytes: usize) -> SledLog {
    open(SledOptions { ring_bytes, ..store.options() }, HeadPolicy::Require).unwrap().log
}

type WrappedKeys = Vec<(DataKeyId, Vec<u8>)>;

/// Everything that a log can be asked.
#[derive(Debug, PartialEq)]
pub(crate) struct Answers {
    pub(crate) end: Position,
    pub(crate) frames: Vec<(Position, Bytes)>,
    pub(crate) heads: BTreeMap<StreamId, Head>,
    pub(crate) keys: Vec<(StreamId, WrappedKeys)>,
}

pub(crate) fn answers(log: &dyn EventLog) -> Answers {
    try_answers(log).unwrap()
}

pub(crate) fn try_answers(log: &dyn EventLog) -> Result<Answers, ReadError> {
    let mut frames = Vec::new();
    loop {
        let after = frames.last().map_or(Position(0), |(position, _)| *position);
        let more = log.read(after)?;
        if more.is_empty() {
            break;
        }
        frames.extend(more);
    }
    let mut keys = Vec::new();
    for of in (0..4).map(stream) {
        keys.push((of, log.data_keys(of)?));
    }
    Ok(Answers { end: log.end(), frames, heads: log.streams().into_iter().collect(), keys })
}

#[test]
fn an_empty_log_ends_at_zero_and_has_nothing() {
    on_each(|log| {
        assert_eq!(log.end(), Position(0));
        assert_eq!(log.read(Position(0)).unwrap(), []);
        assert_eq!(log.read(Position(9)).unwrap(), []);
        assert_eq!(log.last(stream(1)), None);
        assert_eq!(log.streams(), []);
        assert!(matches!(log.read_at(&[Position(1)]), Err(ReadError::Damaged { position: 1, .. })));
        assert!(matches!(log.read_at(&[Position(0)]), Err(ReadError::Damaged { position: 0, .. })));
        assert_eq!(log.append(Vec::new()).unwrap(), []);
    });
}

#[test]
fn frames_are_read_back_by_position_in_any_order() {
    on_each(|log| {
        let mut frames = Frames::default();
        let written: Vec<(Position, Bytes)> =
            (0..20).map(|n| write(log, &mut frames, stream(n % 3), 1 + n as usize * 5)).collect();
        let mut positions: Vec<Position> = written.iter().map(|(position, _)| *position).collect();
        positions.reverse();
        positions.push(Position(7));
        let read = log.read_at(&positions).unwrap();
        for (position, frame) in positions.iter().zip(read) {
            assert_eq!(written[position.0 as usize - 1], (*position, frame));
        }
        assert_eq!(answers(log).frames, written);
        assert_eq!(log.read(Position(11)).unwrap()[0], written[11]);
    });
}

#[test]
fn a_batch_over_several_streams_is_one_run_with_a_position_each() {
    on_each(|log| {
        let mut frames = Frames::default();
        let values = [noise(1, 9000)];
        let batch: Vec<Append> =
            (1..=5).map(|n| append(stream(n), frames.next(stream(n), Position(n as u64), &values))).collect();
        let sent: Vec<Bytes> = batch.iter().filter_map(|append| append.frame.clone()).collect();
        let positions = log.append(batch).unwrap();
        assert_eq!(positions, [1, 2, 3, 4, 5].map(Position));
        assert_eq!(log.read_at(&positions).unwrap(), sent);
        assert_eq!(log.read(Position(3)).unwrap().len(), 2);
        for n in 1..=5 {
            let head = log.last(stream(n)).unwrap();
            assert_eq!((head.version, head.position), (1, Position(n as u64)));
        }
        assert!(check(log, |_, _| {}).is_clean());
    });
}

#[test]
fn an_expected_position_is_compared_before_anything_is_written() {
    on_each(|log| {
        let mut frames = Frames::default();
        write(log, &mut frames, stream(1), 1);
        write(log, &mut frames, stream(2), 1);
        let before = answers(log);

        let mut good = append(stream(2), frames.clone().next(stream(2), Position(3), &[noise(3, 10)]));
        good.expected = Some(Position(2));
        let mut late = append(stream(1), frames.clone().next(stream(1), Position(4), &[noise(4, 10)]));
        late.expected = Some(Position(0));
        late.put = vec![(data_key(stream(1), 1), vec![1])];
        let error = log.append(vec![good.clone(), late]).unwrap_err();
        assert!(
            matches!(error, AppendError::Conflict { expected: Position(0), actual: Position(1), .. }),
            "{error}"
        );
        assert_eq!(answers(log), before);
        assert_eq!(log.append(vec![good]).unwrap(), [Position(3)]);
    });
}

#[test]
fn a_frame_that_does_not_continue_its_stream_is_refused() {
    on_each(|log| {
        let mut frames = Frames::default();
        write(log, &mut frames, stream(1), 2);
        let before = answers(log);
        let refused = |of: StreamId, frame: Bytes| match log.append(vec![append(of, frame)]) {
            Err(AppendError::Refused { reason, .. }) => reason,
            other => panic!("not refused: {other:?}"),
        };
        let fresh = Frames::default().next(stream(1), Position(2), &[noise(1, 10)]);
        assert!(refused(stream(1), fresh).contains("goes on with version 3, the frame begins with 1"));
        let right = frames.clone().next(stream(1), Position(2), &[noise(1, 10)]);
        assert!(refused(stream(2), right.clone()).contains("the frame is of stream"));
        assert!(refused(stream(1), Bytes::from_static(b"no frame")).contains("format"));
        let mut other_past = right.to_vec();
        // format, dictionary, stream, first version, count: one byte each but the stream; `at` has eight.
        let hash = 2 + 16 + 2 + 8 + 1;
        other_past[hash] ^= 1;
        assert!(refused(stream(1), Bytes::from(other_past)).contains("another hash"));
        assert_eq!(answers(log), before);
        assert_eq!(log.append(vec![append(stream(1), right)]).unwrap(), [Position(2)]);
    });
}

#[test]
fn keys_are_put_and_removed_with_or_without_a_frame() {
    on_each(|log| {
        let mut frames = Frames::default();
        let keys: Vec<Key> = (1..=3).map(|n| data_key(stream(1), n)).collect();
        let mut first = append(stream(1), frames.next(stream(1), Position(1), &[noise(1, 10)]));
        first.put = keys.iter().map(|key| (*key, b"wrapped".to_vec())).collect();
        first.put.push((Key::Checkpoint(stream(1)), b"checkpoint".to_vec()));
        first.put.push((data_key(stream(2), 1), b"other".to_vec()));
        log.append(vec![first]).unwrap();
        assert_eq!(log.get(&keys[1]).unwrap().as_deref(), Some(&b"wrapped"[..]));
        assert_eq!(log.get(&Key::Checkpoint(stream(1))).unwrap().as_deref(), Some(&b"checkpoint"[..]));
        assert_eq!(log.get(&Key::Checkpoint(stream(2))).unwrap(), None);
        assert_eq!(log.data_keys(stream(1)).unwrap().len(), 3);
        assert_eq!(log.data_keys(stream(2)).unwrap().len(), 1);

        let rewrap = Append {
            stream: stream(1),
            expected: Some(Position(1)),
            frame: None,
            put: vec![(keys[0], b"rewrapped".to_vec())],
            remove: vec![keys[1]],
        };
        assert_eq!(log.append(vec![rewrap]).unwrap(), [Position(1)]);
        assert_eq!(log.get(&keys[0]).unwrap().as_deref(), Some(&b"rewrapped"[..]));
        assert_eq!(log.get(&keys[1]).unwrap(), None);
        assert_eq!(log.data_keys(stream(1)).unwrap().len(), 2);
        assert_eq!(log.end(), Position(1));
    });
}

#[test]
fn a_read_stops_near_a_mebibyte_and_goes_on_from_there() {
    on_each(|log| {
        let mut frames = Frames::default();
        for n in 0..6 {
            let position = Position(n + 1);
            let values: Vec<String> = (0..20).map(|part| noise(n << 8 | part, 30_000)).collect();
            let frame = frames.next(stream(1), position, &values);
            assert!(frame.len() > 350_000, "{}", frame.len());
            log.append(vec![append(stream(1), frame)]).unwrap();
        }
        let first = log.read(Position(0)).unwrap();
        assert!(first.len() < 6 && !first.is_empty());
        let size: usize = first.iter().map(|(_, frame)| frame.len()).sum();
        assert!(size <= READ_BYTES);
        assert_eq!(answers(log).frames.len(), 6);
    });
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Move {
    Append(Vec<(u128, usize, u64)>),
    Rewrap(u128, u128, u8),
    Remove(u128, u128),
    Reopen,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let frame = (0_u128..4, 1_usize..4, any::<u64>());
    let one = prop_oneof![
        6 => prop::collection::vec(frame, 1..4).prop_map(|mut batch| {
            batch.sort();
            batch.dedup_by_key(|(stream, ..)| *stream);
            Move::Append(batch)
        }),
        2 => (0_u128..4, 0_u128..6, any::<u8>()).prop_map(|(of, key, byte)| Move::Rewrap(of, key, byte)),
        1 => (0_u128..4, 0_u128..6).prop_map(|(of, key)| Move::Remove(of, key)),
        1 => Just(Move::Reopen),
    ];
    prop::collection::vec(one, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24 * crate::scale(), ..ProptestConfig::default() })]

    #[test]
    fn memory_and_sled_give_the_same_answers(history in moves(), ring_bytes in prop_oneof![Just(0), Just(2_000), Just(8 << 20)]) {
        let memory = MemoryLog::new();
        let store = Store::new();
        let reopen = || open_with(&store, ring_bytes);
        let mut sled = reopen();
        let mut frames = Frames::default();
        for step in history {
            let batch = match step {
                Move::Append(batch) => batch.into_iter().zip(memory.end().0 + 1..).map(|((of, events, seed), position)| {
                    let values: Vec<String> = (0..events).map(|event| noise(seed ^ event as u64, (seed % 9000) as usize)).collect();
                    append(stream(of), frames.next(stream(of), Position(position), &values))
                }).collect(),
                Move::Rewrap(of, key, byte) => vec![Append {
                    stream: stream(of), expected: None, frame: None, remove: Vec::new(),
                    put: vec![(data_key(stream(of), key), vec![byte; 60])],
                }],
                Move::Remove(of, key) => vec![Append {
                    stream: stream(of), expected: None, frame: None, put: Vec::new(),
                    remove: vec![data_key(stream(of), key)],
                }],
                Move::Reopen => {
                    drop(sled);
                    sled = reopen();
                    continue;
                }
            };
            prop_assert_eq!(sled.append(batch.clone()).unwrap(), memory.append(batch).unwrap());
        }
        prop_assert_eq!(answers(&sled), answers(&memory));
        sled.close().unwrap();
        prop_assert_eq!(answers(&reopen()), answers(&memory));
    }
}
