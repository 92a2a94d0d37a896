//! A segment as the sections of a file, and read back. What cannot be read is no segment: it is made anew.

use roaring::RoaringBitmap;

use crate::log::segment::frames::Frames;
use crate::log::segment::mentions::Mentions;
use crate::log::segment::tree::Hashes;
use crate::log::segment::{Postings, SEGMENT_VERSIONS, Segment};
use crate::varint::{self, Malformed, Reader};

/// Raised when a section's shape, or what is noted in it, changes: older files are then made anew.
pub const SHAPE: u32 = 3;

/// The sections' names, in the order in which they stand.
pub const SECTIONS: [&str; 7] = ["frames", "actors", "actions", "types", "outcomes", "mentions", "hashes"];

impl Segment {
    /// What each of [`SECTIONS`] holds.
    pub fn sections(&self) -> [Vec<u8>; 7] {
        let mut frames = Vec::new();
        varint::write(self.number, &mut frames);
        varint::write(self.count.into(), &mut frames);
        self.frames.write(&mut frames);
        let mut hashes = Vec::new();
        self.hashes.write(&mut hashes);
        let postings = |postings| {
            let mut out = Vec::new();
            write_postings(postings, &mut out);
            out
        };
        [
            frames,
            postings(&self.actors),
            postings(&self.actions),
            postings(&self.types),
            postings(&self.outcomes),
            self.mentions.write(),
            hashes,
        ]
    }

    /// Reads the segment of a number back; `None` where the sections are not such a segment's.
    pub fn from_sections(number: u64, sections: &[Vec<u8>; 7]) -> Option<Self> {
        let [frames, actors, actions, types, outcomes, mentions, hashes] = sections;
        let (count, frames) = read_frames(number, frames).ok()??;
        let read = |bytes: &[u8]| read_postings(count, bytes);
        Some(Self {
            number,
            count,
            frames,
            actors: read(actors)?,
            actions: read(actions)?,
            types: read(types)?,
            outcomes: read(outcomes)?,
            mentions: Mentions::read(count, mentions.clone())?,
            hashes: Hashes::read(count as usize, hashes)?,
        })
    }

    /// How much memory it takes, roughly, in bytes.
    pub fn weight(&self) -> usize {
        let postings = [&self.actors, &self.actions, &self.types, &self.outcomes];
        let bitmaps = postings.into_iter().flatten();
        let bitmaps: usize =
            bitmaps.map(|(value, bitmap)| value.len() + bitmap.serialized_size() + 120).sum();
        bitmaps + self.mentions.weight() + self.frames.weight() + (self.count as usize >> 8) * 64 + 512
    }
}

fn read_frames(number: u64, bytes: &[u8]) -> Result<Option<(u32, Frames)>, Malformed> {
    let mut reader = Reader(bytes);
    let (found, count) = (reader.varint()?, reader.varint()?);
    if found != number || count > SEGMENT_VERSIONS {
        return Ok(None);
    }
    let frames = Frames::read(reader)?;
    Ok(u32::try_from(count).ok().map(|count| (count, frames)))
}

/// Values in order, each with its versions, in the form of a bitmap that takes least: so equal ones have equal bytes.
fn write_postings(postings: &Postings, out: &mut Vec<u8>) {
    for (value, bitmap) in postings {
        varint::write(value.len() as u64, out);
        out.extend_from_slice(value.as_bytes());
        let mut bitmap = bitmap.clone();
        bitmap.optimize();
        varint::write(bitmap.serialized_size() as u64, out);
        bitmap.serialize_into(&mut *out).expect("a vector takes all that is written to it");
    }
}

/// Reads them back; `None` where they are not those of so many versions.
fn read_postings(count: u32, bytes: &[u8]) -> Option<Postings> {
    let mut reader = Reader(bytes);
    let mut postings = Postings::new();
    while !reader.0.is_empty() {
        let length = reader.size().ok()?;
        let value = std::str::from_utf8(reader.bytes(length).ok()?).ok()?;
        let length = reader.size().ok()?;
        let bitmap = RoaringBitmap::deserialize_from(reader.bytes(length).ok()?).ok()?;
        if bitmap.max().is_none_or(|last| last >= count) {
            return None;
        }
        postings.insert(value.into(), bitmap);
    }
    Some(postings)
}
