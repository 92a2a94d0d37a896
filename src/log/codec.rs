//! One record packed and unpacked: MessagePack with named fields, compressed alone.
//!
//! What an event *is* stands in `event.rs`; how events share a frame, in `log/frame.rs`; what compresses them, in
//! `log/dictionary.rs`.

use std::io::{self, Cursor};

use bytes::Bytes;
use rmp_serde::config::{DefaultConfig, HumanReadableConfig};
use rmp_serde::decode::{Error as DecodeError, ReadReader};
use serde::de::DeserializeSeed;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::canonical::leaf_of;
use super::dictionary::{self, Dictionary};
use super::untyped::Untyped;
use crate::event::Recorded;
use crate::event::packed::RecordedAt;

/// The largest record before compression, in bytes. A request's body is at most 1 MiB, so no honest record
/// comes near; it bounds what a damaged or hostile length can make a reader allocate.
pub const MAX_RECORD_BYTES: usize = 4 << 20;

/// The largest integer that every JSON reader keeps exact: 2^53 − 1.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Reads a record from what knows its place.
type Rereading<'a> =
    rmp_serde::Deserializer<ReadReader<Cursor<&'a [u8]>>, HumanReadableConfig<DefaultConfig>>;

/// A record that could not be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The record holds something that JSON readers disagree about.
    #[error("a record's value at `{path}` is {what}, which no record may hold")]
    Value {
        /// Where in the record, names and indexes joined by `/`.
        path: String,
        /// What it is: `null`, a fraction, …
        what: &'static str,
    },
    /// The record is larger than [`MAX_RECORD_BYTES`].
    #[error("a record of {size} bytes is larger than {MAX_RECORD_BYTES}")]
    TooLarge {
        /// Its size before compression, in bytes.
        size: usize,
    },
    /// What was packed reads back as something else.
    #[error("a record of `{action}` does not read back as it was written")]
    Unfaithful {
        /// Its action.
        action: String,
    },
    /// Serde could not write it.
    #[error("a record could not be written")]
    Write(#[source] rmp_serde::encode::Error),
    /// The bytes are no record that this build reads. The decoder's own words are left out: they may quote the record.
    #[error("a record could not be read: {what} before byte {at} of {size}")]
    Read {
        /// What is wrong there.
        what: &'static str,
        /// How far it was read, in bytes before compression.
        at: u64,
        /// Its size, likewise.
        size: usize,
    },
    /// The compressed bytes are damaged.
    #[error("a record could not be compressed or decompressed")]
    Compression(#[source] io::Error),
    /// The frame holds no such event.
    #[error("event {index} of a frame of {count}")]
    NoSuchEvent {
        /// What was asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
}

/// A record ready for a frame, with what it reads back as.
#[derive(Clone, Debug)]
pub struct PackedEvent {
    /// The bytes, compressed with [`Dictionary::NEWEST`].
    pub bytes: Bytes,
    /// The packed bytes decoded again; equal to what was packed.
    pub recorded: Recorded,
    /// The leaf hash of the same as JSON, with `stream`, `version` and `at`: what an auditor exports.
    pub leaf: [u8; 32],
}

/// Packs a record, and reads it back: what goes into the log is known to come out of it.
///
/// # Errors
/// When the record holds a value that no record may hold, is too large, or does not read back equal.
pub fn pack(recorded: &Recorded) -> Result<PackedEvent, CodecError> {
    let plain = plain(recorded)?;
    let bytes = Bytes::from(dictionary::compress(&plain).map_err(CodecError::Compression)?);

    // What is read back below is what the log gives, because the same bytes come out of the compression.
    if decompress(Dictionary::NEWEST, &bytes)? != plain {
        return Err(unfaithful(recorded));
    }
    let at = RecordedAt { stream: recorded.stream, version: recorded.version, at: recorded.at };
    let decoded = recorded_of(&plain, at)?;
    if decoded != *recorded {
        return Err(unfaithful(recorded));
    }
    let leaf = leaf_of(&text_of(&plain, at)?);
    Ok(PackedEvent { bytes, recorded: decoded, leaf })
}

/// The MessagePack of a record, as it is compressed: what a dictionary is trained on.
///
/// # Errors
/// When it cannot be written, or is larger than [`MAX_RECORD_BYTES`].
pub fn plain(recorded: &Recorded) -> Result<Vec<u8>, CodecError> {
    let mut plain = Vec::with_capacity(512);
    let mut serializer = rmp_serde::Serializer::new(&mut plain).with_struct_map().with_human_readable();
    recorded.packed().serialize(&mut serializer).map_err(CodecError::Write)?;
    if plain.len() > MAX_RECORD_BYTES {
        return Err(CodecError::TooLarge { size: plain.len() });
    }
    Ok(plain)
}

fn unfaithful(recorded: &Recorded) -> CodecError {
    CodecError::Unfaithful { action: recorded.event.action().to_owned() }
}

/// Reads a packed record with its type.
///
/// # Errors
/// When the bytes are no record that this build reads.
pub fn unpack(dictionary: Dictionary, bytes: &[u8], at: RecordedAt) -> Result<Recorded, CodecError> {
    recorded_of(&decompress(dictionary, bytes)?, at)
}

/// The same, and its leaf hash: it is decompressed once for both.
///
/// # Errors
/// As those of [`unpack`], and when it holds a value that no record may hold.
pub fn unpack_hashed(
    dictionary: Dictionary,
    bytes: &[u8],
    at: RecordedAt,
) -> Result<(Recorded, [u8; 32]), CodecError> {
    let plain = decompress(dictionary, bytes)?;
    Ok((recorded_of(&plain, at)?, leaf_of(&text_of(&plain, at)?)))
}

/// Reads a packed record as JSON, without knowing its type, with `stream`, `version` and `at` filled in.
///
/// # Errors
/// When the bytes are no record.
pub fn unpack_json(dictionary: Dictionary, bytes: &[u8], at: RecordedAt) -> Result<Value, CodecError> {
    json_of(&decompress(dictionary, bytes)?, at)
}

/// The canonical JSON of a packed record, without knowing its type, with `stream`, `version` and `at` filled in.
///
/// # Errors
/// When the bytes are no record.
pub fn unpack_text(dictionary: Dictionary, bytes: &[u8], at: RecordedAt) -> Result<String, CodecError> {
    text_of(&decompress(dictionary, bytes)?, at)
}

/// The error of a record that could not be read. `again` reads it once more, from what tells how far that came.
fn misread<T>(
    plain: &[u8],
    error: &DecodeError,
    again: impl FnOnce(&mut Rereading<'_>) -> Result<T, DecodeError>,
) -> CodecError {
    let mut deserializer = rmp_serde::Deserializer::new(Cursor::new(plain)).with_human_readable();
    drop(again(&mut deserializer));
    let what = match error {
        DecodeError::InvalidMarkerRead(_) | DecodeError::InvalidDataRead(_) => "it ends early",
        DecodeError::TypeMismatch(_) => "a value of another type",
        DecodeError::OutOfRange => "a number out of range",
        DecodeError::LengthMismatch(_) => "a list of another length",
        DecodeError::Utf8Error(_) => "a text that is not UTF-8",
        DecodeError::DepthLimitExceeded => "values too deep within others",
        DecodeError::Uncategorized(_) | DecodeError::Syntax(_) => "what no event has there",
    };
    CodecError::Read { what, at: deserializer.get_ref().position(), size: plain.len() }
}

fn recorded_of(plain: &[u8], at: RecordedAt) -> Result<Recorded, CodecError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(plain).with_human_readable();
    let read = at.deserialize(&mut deserializer);
    read.map_err(|error| misread(plain, &error, |again| at.deserialize(again)))
}

fn text_of(plain: &[u8], at: RecordedAt) -> Result<String, CodecError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(plain).with_human_readable();
    let read = Untyped::deserialize(&mut deserializer);
    read.map_err(|error| misread(plain, &error, |again| Value::deserialize(again)))?.canonical_text(at)
}

fn json_of(plain: &[u8], at: RecordedAt) -> Result<Value, CodecError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(plain).with_human_readable();
    let read = Value::deserialize(&mut deserializer);
    let mut json = read.map_err(|error| misread(plain, &error, |again| Value::deserialize(again)))?;
    let Value::Object(fields) = &mut json else {
        return Err(CodecError::Value { path: String::new(), what: "not an object" });
    };
    fields.insert("stream".to_owned(), Value::from(at.stream.to_string()));
    fields.insert("version".to_owned(), Value::from(at.version));
    fields.insert("at".to_owned(), Value::from(at.at.to_string()));
    Ok(json)
}

fn decompress(dictionary: Dictionary, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let size = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
    if size > MAX_RECORD_BYTES {
        return Err(CodecError::TooLarge { size });
    }
    dictionary::decompress(dictionary, bytes, size).map_err(CodecError::Compression)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::StreamId;
    use crate::log::canonical::canonical_json;
    use proptest::prelude::*;
    use serde_json::json;

    const AT: RecordedAt = RecordedAt { stream: StreamId::Platform, version: 7, at: Timestamp::EPOCH };

    fn text(value: &Value) -> Result<String, String> {
        let plain = rmp_serde::to_vec_named(value).unwrap();
        text_of(&plain, AT).map_err(|error| error.to_string())
    }

    #[test]
    fn a_record_holds_no_null_no_fraction_no_large_integer_and_no_foreign_name() {
        assert!(text(&json!({"a": [1, "x", true, {"b": -9_007_199_254_740_991_i64}]})).is_ok());
        assert!(text(&json!({"a": 9_007_199_254_740_991_u64})).is_ok());
        for (value, expected) in [
            (json!({"a": [0, null]}), "`a/1` is null"),
            (json!({"a": 0.5}), "`a` is a fraction"),
            (json!({"a": 9_007_199_254_740_992_u64}), "`a` is an integer beyond"),
            (json!({"a": -9_007_199_254_740_992_i64}), "`a` is an integer beyond"),
            (json!({"a": u64::MAX}), "`a` is an integer beyond"),
            (json!({"a": i64::MIN}), "`a` is an integer beyond"),
            (json!({"ä": 1}), "`ä` is under a name that is not ASCII"),
            (json!({"version": 1}), "`version` is there twice"),
            (json!([]), "`` is not an object"),
        ] {
            let error = text(&value).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let twice = b"\x82\xa1a\x01\xa1a\x02";
        let error = text_of(twice, AT).unwrap_err().to_string();
        assert!(error.contains("`a` is there twice"), "{error}");
    }

    /// What a record can hold.
    fn fields() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("[ -~]{0,8}", inner), 0..20)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        });
        prop::collection::vec(("[ -Z]{0,8}", value), 0..20)
            .prop_map(|entries| Value::Object(entries.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn the_text_is_what_a_tree_of_json_gives(value in fields()) {
            let plain = rmp_serde::to_vec_named(&value).unwrap();
            let tree = canonical_json(&json_of(&plain, AT).unwrap());
            prop_assert_eq!(text_of(&plain, AT).unwrap(), tree);
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_by_place_and_kind_and_never_quoted() {
        let secret = "correct horse battery staple";
        let strange = [
            json!({"id": secret}),
            json!({"action": secret, "schema": 1}),
            json!({"actor": secret}),
            json!({"actor": {"kind": secret, "id": secret}}),
            json!({"outcome": secret}),
            json!({"resource": {"type": secret, "id": secret}}),
            json!({secret: 1}),
        ];
        for value in strange {
            let plain = rmp_serde::to_vec_named(&value).unwrap();
            let error = recorded_of(&plain, AT).unwrap_err();
            let told = crate::causes::with_causes(&error);
            assert!(told.starts_with("a record could not be read: "), "{told}");
            assert!(told.ends_with(&format!(" of {}", plain.len())), "{told}");
            let words = secret.split(' ').chain(["horse"]);
            assert!(words.into_iter().all(|word| !told.contains(word)), "{told}");
        }
        let torn = rmp_serde::to_vec_named(&json!({"a": secret})).unwrap();
        let error = text_of(&torn[..10], AT).unwrap_err().to_string();
        assert!(error.contains("it ends early before byte "), "{error}");
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_allocated() {
        for dictionary in [Dictionary::NONE, Dictionary::NEWEST] {
            let bomb = dictionary::compress(&vec![0; MAX_RECORD_BYTES + 1]).unwrap();
            assert!(bomb.len() < 1024);
            assert!(matches!(decompress(dictionary, &bomb), Err(CodecError::TooLarge { .. })));
            // What lies behind a small one is no part of it.
            let small = dictionary::compress(b"small").unwrap();
            assert!(decompress(dictionary, &[small, bomb].concat()).is_err());
        }
        let fits = dictionary::compress(&vec![0; MAX_RECORD_BYTES]).unwrap();
        assert_eq!(decompress(Dictionary::NEWEST, &fits).unwrap().len(), MAX_RECORD_BYTES);
    }
}
