//! The dictionaries that events are compressed with, and compressing with them.
//!
//! A frame names its dictionary in one byte. A released one stays for ever, byte for byte: without the one that it was
//! written with, no event can be read. `cargo xtask dictionary` trains them.

use std::cell::RefCell;
use std::io;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

/// All that there ever were, by their number; the first is none at all.
const RELEASED: [&[u8]; 3] =
    [&[], include_bytes!("dictionaries/1.zdict"), include_bytes!("dictionaries/2.zdict")];

const COMPRESSION_LEVEL: i32 = 1;

/// Which dictionary compressed a frame's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dictionary(u8);

impl Dictionary {
    /// No dictionary.
    pub const NONE: Self = Self(0);

    /// The one that new frames are written with.
    pub const NEWEST: Self = Self(2);

    /// The number in a frame's header.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The dictionary of a number; `None` if this build does not have it.
    pub fn from_number(number: u8) -> Option<Self> {
        (usize::from(number) < RELEASED.len()).then_some(Self(number))
    }
}

// Prepared once a process: zstd would read a dictionary anew for each event.
static ENCODER: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(RELEASED[usize::from(Dictionary::NEWEST.0)], COMPRESSION_LEVEL));
static DECODERS: LazyLock<[DecoderDictionary<'static>; RELEASED.len()]> =
    LazyLock::new(|| RELEASED.map(DecoderDictionary::copy));

thread_local! {
    // A zstd context is some hundred kilobytes: one a thread, not one an event.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    // With the dictionary that it is set to: a log's frames have the same one for long stretches.
    static DECOMPRESSOR: RefCell<Option<(Dictionary, Decompressor<'static>)>> = const { RefCell::new(None) };
}

/// Compresses an event with [`Dictionary::NEWEST`].
///
/// # Errors
/// When there is no memory for it.
pub(super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => {
                let mut compressor = Compressor::with_prepared_dictionary(&ENCODER)?;
                // The frame's header says it once, in one byte; zstd would say it in each event, in four.
                compressor.include_dictid(false)?;
                slot.insert(compressor)
            }
        };
        compressor.compress(plain)
    })
}

/// Decompresses an event to at most so many bytes, which are allocated at once.
///
/// # Errors
/// When the bytes are damaged, or come to more.
pub(super) fn decompress(dictionary: Dictionary, bytes: &[u8], size: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let prepared = &DECODERS[usize::from(dictionary.0)];
        let (set, decompressor) = match slot {
            Some(context) => context,
            None => slot.insert((dictionary, Decompressor::with_prepared_dictionary(prepared)?)),
        };
        if *set != dictionary {
            decompressor.set_prepared_dictionary(prepared)?;
            *set = dictionary;
        }
        decompressor.decompress(bytes, size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// Of each dictionary that was released. A line here never changes.
    const SHA256: [&str; RELEASED.len()] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "f7ff9b04400278f037775483a80f14d5a0d066937792943c5bfd20cf1e29c3e8",
        "07f2c814eb0d0ce58d47a74a11a4a10046b5cbd82dff5c4c5549bf57503e7816",
    ];

    #[test]
    fn a_released_dictionary_is_what_it_was() {
        for (bytes, expected) in RELEASED.iter().zip(SHA256) {
            let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, expected, "a dictionary of {} bytes", bytes.len());
        }
    }

    #[test]
    fn the_newest_is_the_last_and_there_is_none_beyond() {
        assert_eq!(usize::from(Dictionary::NEWEST.number()) + 1, RELEASED.len());
        assert_eq!(Dictionary::from_number(0), Some(Dictionary::NONE));
        assert_eq!(Dictionary::from_number(Dictionary::NEWEST.number()), Some(Dictionary::NEWEST));
        assert_eq!(Dictionary::from_number(Dictionary::NEWEST.number() + 1), None);
    }

    #[test]
    fn what_each_dictionary_compressed_is_read_with_it_in_any_order() {
        let plain = b"a dictionary is set once a thread, and again when another one is asked for";
        let with = compress(plain).unwrap();
        let without = zstd::bulk::compress(plain, COMPRESSION_LEVEL).unwrap();
        for _ in 0..2 {
            assert_eq!(decompress(Dictionary::NEWEST, &with, plain.len()).unwrap(), plain);
            assert_eq!(decompress(Dictionary::NONE, &without, plain.len()).unwrap(), plain);
        }
    }
}
