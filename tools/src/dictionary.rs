//! `cargo xtask dictionary`: trains what the log compresses events with, on what happens in real organizations.
//!
//! What is drawn (ids, ciphertext, hashes) is drawn anew for each event, so that nothing of it occurs twice and the same
//! seed gives the same dictionary; what of it the trainer takes along is blanked. A dictionary is for ever, so none is
//! ever written over.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use settled::clock::Timestamp;
use settled::event::Recorded;
use settled::ids::StreamId;
use settled::log::codec::{pack, plain};
use zstd::bulk::Compressor;

use crate::bench::history::each_frame;
use crate::mix::dice::Dice;
use crate::mix::generate::{Size, beginning, fill};
use crate::mix::store::OpenStore;
use crate::run::{root, say};

/// What a dictionary is made of: many organizations, so that none's own words fill it.
const TRAINED: Size = Size { events: 16_000, organizations: 32 };
/// What it is measured on.
const MEASURED: Size = Size { events: 4_000, organizations: 4 };
/// When the histories end; any time would do, as long as it stays.
const END_MICROS: i64 = 1_800_000_000_000_000;
/// The level that events are compressed with.
const LEVEL: i32 = 1;

/// The options of `cargo xtask dictionary`.
#[derive(clap::Args)]
pub struct Options {
    /// The number that frames name it by: the first that no file has
    number: u8,
    /// Its size, in KiB
    #[arg(long, value_name = "N", default_value = "16")]
    kib: usize,
    /// Equal seeds give equal dictionaries
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Write it there, to compare, and not where the log takes it from
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Trains it, says what it gains, and writes it.
///
/// # Errors
/// When there is a file already, or it cannot be trained or written.
pub fn run(options: &Options) -> Result<()> {
    let path = options.out.clone().unwrap_or_else(|| path(options.number));
    ensure!(!path.exists(), "{} is there already, and no dictionary is written over", path.display());
    let dictionary = train(&samples(TRAINED, options.seed)?, options.kib << 10)?;
    let mut with = Compressor::with_dictionary(LEVEL, &dictionary)?;
    with.include_dictid(false)?;
    let measured = events(MEASURED, options.seed + 1)?;
    let (mut bytes, mut shipped, mut trained) = (0, 0, 0);
    for event in &measured {
        let plain = plain(event)?;
        bytes += plain.len();
        shipped += pack(event)?.bytes.len();
        trained += with.compress(&plain)?.len();
    }
    fs::write(&path, &dictionary).with_context(|| path.display().to_string())?;
    let count = measured.len();
    say(&format!(
        "{}: {} bytes; of {} bytes an event, the newest dictionary before leaves {}, this one {}",
        path.display(),
        dictionary.len(),
        bytes / count,
        shipped / count,
        trained / count
    ));
    Ok(())
}

/// Where a dictionary lies.
fn path(number: u8) -> PathBuf {
    root().join("src/log/dictionaries").join(format!("{number}.zdict"))
}

/// A dictionary of at most so many bytes, without what was drawn.
fn train(samples: &[Vec<u8>], bytes: usize) -> Result<Vec<u8>> {
    let trained = zstd::dict::from_samples(samples, bytes).context("there are too few samples")?;
    Ok(without_drawn(trained))
}

/// The bytes with zeros for what follows the `01` that every id begins with until 2039, and for whatever looks like
/// base64 of 24 bytes and more. No event has such a thing again. Its place stays: where an event has an id of its own,
/// the names behind it are as far from those in the dictionary as the names before it were, which zstd has a short code
/// for. Without that, an event takes 5 % more.
fn without_drawn(mut bytes: Vec<u8>) -> Vec<u8> {
    const TAIL: usize = 24;
    for begin in 3..bytes.len() {
        let end = begin + TAIL;
        let tail = bytes.get(begin..end).is_some_and(|tail| tail.iter().all(|byte| BASE32.contains(byte)));
        if tail && bytes[..begin].ends_with(b"_01") {
            bytes[begin..end].fill(b'0');
        }
    }
    for run in bytes.chunk_by_mut(|a, b| BASE64URL.contains(a) == BASE64URL.contains(b)) {
        if run.len() >= 32 && run.iter().all(|byte| BASE64URL.contains(byte)) {
            run.fill(b'0');
        }
    }
    bytes
}

/// Events to train on, as they are compressed.
fn samples(size: Size, seed: u64) -> Result<Vec<Vec<u8>>> {
    let mut dice = Dice::new(seed);
    events(size, seed)?.iter().map(|event| redrawn(event, &mut dice)).collect()
}

/// The events of organizations in the order of their founding, before them those of the platform: an order that no
/// thread's speed has a part in.
fn events(size: Size, seed: u64) -> Result<Vec<Recorded>> {
    let end = Timestamp::from_micros(END_MICROS);
    let open = OpenStore::in_memory(beginning(end))?;
    let filled = fill(&open, size, seed, end)?;
    let mut streams: BTreeMap<StreamId, Vec<Recorded>> = BTreeMap::new();
    each_frame(&**open.store.log(), |frame| {
        let events = streams.entry(frame.header().stream).or_default();
        for event in frame.events() {
            events.push(event?);
        }
        Ok(())
    })?;
    open.close()?;
    let order = filled.iter().map(|filled| StreamId::Organization(filled.known.organization));
    let order = std::iter::once(StreamId::Platform).chain(order);
    Ok(order.filter_map(|stream| streams.remove(&stream)).flatten().collect())
}

/// An event as it is compressed, with other ids, ciphertext and hashes of the same lengths.
fn redrawn(event: &Recorded, dice: &mut Dice) -> Result<Vec<u8>> {
    let mut plain = plain(event)?;
    let mut drawn = Vec::new();
    find(&serde_json::to_value(event.packed())?, &mut drawn);
    // In the order in which they stand, which is the same whatever they are.
    drawn.sort_by_key(|text| position(&plain, text.as_bytes(), 0));
    drawn.dedup();
    let now = time(dice);
    for text in drawn {
        let new = match id_at(&text) {
            Some(at) => {
                let happens_now = ["evt_", "req_"].contains(&&text[..at]);
                let time = if happens_now { now } else { time(dice) };
                let rest = (0..15).map(|_| BASE32[dice.below(32)]);
                // The eleventh holds a UUIDv7's version.
                let text = text.as_bytes()[..at].iter().copied().chain(time).chain(*b"e").chain(rest);
                text.collect::<Vec<u8>>()
            }
            None => (0..text.len()).map(|_| BASE64URL[dice.below(64)]).collect(),
        };
        let mut from = 0;
        while let Some(at) = position(&plain, text.as_bytes(), from) {
            from = at + new.len();
            plain[at..from].copy_from_slice(&new);
        }
    }
    Ok(plain)
}

const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The first ten characters of an id that is minted between July 2025 and September 2039.
fn time(dice: &mut Dice) -> [u8; 10] {
    std::array::from_fn(|at| match at {
        0 => b'0',
        1 => b'1',
        2 => BASE32[19 + dice.below(13)],
        _ => BASE32[dice.below(32)],
    })
}

/// The fields that are drawn, though too short to be told by their looks: the ends of API keys' values, and the blind ids of what
/// customers have.
const SHORT: [&str; 3] = ["last4", "document", "workflow_id"];

/// Everything in a record that was drawn: ids, whatever is base64 of 32 bytes and more, and what is short.
fn find(value: &Value, drawn: &mut Vec<String>) {
    let mut text = |text: &str| {
        let base64 = text.len() >= 43 && text.bytes().all(|byte| BASE64URL.contains(&byte));
        if base64 || id_at(text).is_some() {
            drawn.push(text.to_owned());
        }
    };
    match value {
        Value::String(string) => text(string),
        Value::Array(values) => values.iter().for_each(|value| find(value, drawn)),
        Value::Object(fields) => {
            fields.keys().for_each(|name| text(name));
            for (name, value) in fields {
                match value {
                    Value::String(text) if SHORT.contains(&name.as_str()) => drawn.push(text.clone()),
                    value => find(value, drawn),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Where an id's 26 characters begin, if the text is one.
fn id_at(text: &str) -> Option<usize> {
    let (kind, rest) = text.rsplit_once('_')?;
    let is_id = rest.len() == 26 && rest.bytes().all(|byte| BASE32.contains(&byte));
    is_id.then_some(kind.len() + 1)
}

/// Where something begins in bytes, not before a place.
fn position(bytes: &[u8], text: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.windows(text.len()).position(|window| window == text).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { events: 600, organizations: 2 };

    #[test]
    fn the_same_seed_gives_the_same_dictionary_without_ids_and_ciphertext() {
        let trained = train(&samples(SMALL, 1).unwrap(), 8 << 10).unwrap();
        assert_eq!(trained, train(&samples(SMALL, 1).unwrap(), 8 << 10).unwrap());
        assert_ne!(trained, train(&samples(SMALL, 2).unwrap(), 8 << 10).unwrap());
        assert_eq!(trained, without_drawn(trained.clone()));
        assert!(position(&trained, b"evt_01000000000000000000000000", 0).is_some());
        assert!(position(&trained, b"config.set", 0).is_some());
    }

    #[test]
    fn an_event_that_is_drawn_anew_is_as_long_and_has_nothing_of_what_was_drawn() {
        let mut dice = Dice::new(3);
        for event in events(SMALL, 1).unwrap() {
            let (before, after) = (plain(&event).unwrap(), redrawn(&event, &mut dice).unwrap());
            assert_eq!(before.len(), after.len());
            let mut drawn = Vec::new();
            find(&serde_json::to_value(event.packed()).unwrap(), &mut drawn);
            assert!(drawn.len() >= 2, "{event:?}");
            assert!(drawn.iter().all(|text| position(&after, text.as_bytes(), 0).is_none()), "{event:?}");
        }
    }

    #[test]
    fn a_dictionary_that_is_there_is_not_written_over() {
        let before = fs::read(path(1)).unwrap();
        let error = run(&Options { number: 1, kib: 16, seed: 1, out: None }).unwrap_err().to_string();
        assert!(error.ends_with("1.zdict is there already, and no dictionary is written over"), "{error}");
        assert_eq!(fs::read(path(1)).unwrap(), before);
    }
}
