//! A segment as the sections of a file, and read back, as a whole or part by part. What cannot be read is no segment: it is
//! made anew.

use roaring::RoaringBitmap;

use crate::log::segment::frames::Frames;
use crate::log::segment::mentions::Mentions;
use crate::log::segment::outline::Outline;
use crate::log::segment::search::{Dimension, Mentioned};
use crate::log::segment::tree::Hashes;
use crate::log::segment::{Postings, SEGMENT_VERSIONS, Segment};
use crate::varint::{self, Malformed, Reader};

/// Raised when a section's shape, or what is noted in it, changes: older files are then made anew.
pub const SHAPE: u32 = 4;

/// The section with the places of frames.
pub const FRAMES: &str = "frames";
/// The section with hashes.
pub const HASHES: &str = "hashes";
/// The section with what is known without the others; full segments alone have it.
pub const OUTLINE: &str = "outline";

impl Segment {
    /// The sections of a file by their names, in the order in which they stand; those with one name are its pieces.
    pub fn sections(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut sections = Vec::new();
        let mentions = Mentioned::ALL.map(|of| self.mentions[of as usize].write());
        let pieces = Mentioned::ALL.map(|of| mentions[of as usize].len());
        if let Some(outline) = Outline::of(self, pieces).filter(|_| self.is_full()) {
            sections.push((OUTLINE, written(|out| outline.write(out))));
        }
        sections.push((FRAMES, self.write_frames()));
        for dimension in Dimension::ALL {
            sections
                .push((dimension.section(), written(|out| write_postings(self.postings(dimension), out))));
        }
        for (of, pieces) in Mentioned::ALL.into_iter().zip(mentions) {
            sections.extend(pieces.into_iter().map(|piece| (of.section(), piece)));
        }
        sections.push((HASHES, written(|out| self.hashes.write(out))));
        sections
    }

    /// Reads the segment of a number back, with what `find` has of a section: each of its pieces.
    ///
    /// # Errors
    /// That of `find`; `None` where the sections are not such a segment's.
    pub fn from_sections<E>(
        number: u64,
        mut find: impl FnMut(&'static str) -> Result<Vec<Vec<u8>>, E>,
    ) -> Result<Option<Self>, E> {
        let Some((count, frames)) = read_frames(number, &find(FRAMES)?.concat()) else { return Ok(None) };
        let mut values = [const { Postings::new() }; Dimension::ALL.len()];
        for (dimension, postings) in Dimension::ALL.into_iter().zip(&mut values) {
            let Some(read) = read_postings(count, &find(dimension.section())?.concat()) else {
                return Ok(None);
            };
            *postings = read;
        }
        let mut mentions: [Mentions; Mentioned::ALL.len()] = Default::default();
        for (of, mentions) in Mentioned::ALL.into_iter().zip(&mut mentions) {
            let Some(read) = Mentions::read(count, find(of.section())?) else { return Ok(None) };
            *mentions = read;
        }
        let hashes = Hashes::read(count as usize, &find(HASHES)?.concat());
        Ok(hashes.map(|hashes| Self { number, count, frames, values, mentions, hashes }))
    }

    /// What is known of it without reading it, once it is full.
    pub fn outline(&self) -> Option<Outline> {
        let pieces = Mentioned::ALL.map(|of| self.mentions[of as usize].write().len());
        Outline::of(self, pieces).filter(|_| self.is_full())
    }

    /// How much memory it takes, roughly, in bytes.
    pub fn weight(&self) -> usize {
        let values = self.values.iter().map(postings_weight).sum::<usize>();
        let mentions = self.mentions.iter().map(Mentions::weight).sum::<usize>();
        values + mentions + self.frames.weight() + self.hashes.weight() + 512
    }

    fn write_frames(&self) -> Vec<u8> {
        written(|out| {
            varint::write(self.number, out);
            varint::write(self.count.into(), out);
            self.frames.write(out);
        })
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// The places of a segment's frames, and how many versions they hold; `None` where they are another's, or none.
fn read_frames(number: u64, bytes: &[u8]) -> Option<(u32, Frames)> {
    let read = || -> Result<_, Malformed> {
        let mut reader = Reader(bytes);
        let (found, count) = (reader.varint()?, reader.varint()?);
        Ok((found, count, Frames::read(reader)?))
    };
    let (found, count, frames) = read().ok()?;
    let is_it = found == number && count <= SEGMENT_VERSIONS;
    u32::try_from(count).ok().filter(|_| is_it).map(|count| (count, frames))
}

/// The places of a full segment's frames.
pub fn full_frames(number: u64, bytes: &[u8]) -> Option<Frames> {
    let (count, frames) = read_frames(number, bytes)?;
    (u64::from(count) == SEGMENT_VERSIONS).then_some(frames)
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
pub fn read_postings(count: u32, bytes: &[u8]) -> Option<Postings> {
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

/// How much memory they take, roughly, in bytes.
pub fn postings_weight(postings: &Postings) -> usize {
    postings.iter().map(|(value, bitmap)| value.len() + bitmap.serialized_size() + 120).sum()
}
