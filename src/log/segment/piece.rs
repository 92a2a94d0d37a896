//! [`Piece`]: some of the ids that a segment mentions, each with its versions, as they are in a file: one id's versions are
//! decoded when they are asked for.
//!
//! Most ids are mentioned a few times in a segment, as an execution is by its beginning and its end. Their versions stand
//! there as they are, two bytes each, where a bitmap would take sixteen more.

use roaring::RoaringBitmap;

use crate::varint::{self, Malformed, Reader};

/// The most versions of an id that stand there as they are.
pub(super) const FEW: usize = 8;
/// How versions begin that do, and those that are a bitmap.
const AS_THEY_ARE: u8 = 0;
const AS_BITMAP: u8 = 1;

/// Ids in order, each with its versions, as offsets within the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    packed: Box<[u8]>,
    /// Where each id begins in `packed`.
    starts: Box<[u32]>,
}

impl Piece {
    /// The versions that mention an id.
    pub fn get(&self, id: &str) -> Option<RoaringBitmap> {
        let at = self.starts.partition_point(|start| {
            entry(&self.packed, *start).is_ok_and(|(found, _)| found < id.as_bytes())
        });
        let (found, versions) = entry(&self.packed, *self.starts.get(at)?).ok()?;
        (found == id.as_bytes()).then(|| read_versions(versions))?
    }

    /// All ids with their versions, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], RoaringBitmap)> {
        let entries = self.starts.iter().filter_map(|start| entry(&self.packed, *start).ok());
        entries.map(|(id, versions)| (id, read_versions(versions).unwrap_or_default()))
    }

    /// As in a file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.packed
    }

    /// What a file of so many versions has; `None` if it is not that.
    pub fn read(count: u32, packed: Vec<u8>) -> Option<Self> {
        let mut starts = Vec::new();
        let mut reader = Reader(&packed);
        let mut last: Option<&[u8]> = None;
        while !reader.0.is_empty() {
            starts.push(u32::try_from(packed.len() - reader.0.len()).ok()?);
            let (id, versions) = next(&mut reader).ok()?;
            let is_sound = read_versions(versions)?.max().is_some_and(|last| last < count);
            if last.is_some_and(|last| last >= id) || !is_sound {
                return None;
            }
            last = Some(id);
        }
        Some(Self { starts: starts.into(), packed: packed.into() })
    }

    /// How much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        self.packed.len() + size_of_val(&*self.starts)
    }
}

/// Appends an id with its versions, in the form that takes least, so that equal ones have equal bytes.
pub(super) fn write_entry(id: &[u8], versions: &mut RoaringBitmap, out: &mut Vec<u8>) {
    varint::write(id.len() as u64, out);
    out.extend_from_slice(id);
    let versions = write_versions(versions);
    varint::write(versions.len() as u64, out);
    out.extend_from_slice(&versions);
}

fn entry(packed: &[u8], start: u32) -> Result<(&[u8], &[u8]), Malformed> {
    next(&mut Reader(packed.get(start as usize..).ok_or(Malformed)?))
}

fn write_versions(versions: &mut RoaringBitmap) -> Vec<u8> {
    if versions.len() <= FEW as u64 {
        // A segment has no more than 65,536.
        let few = versions.iter().filter_map(|version| u16::try_from(version).ok());
        return std::iter::once(AS_THEY_ARE).chain(few.flat_map(u16::to_le_bytes)).collect();
    }
    versions.optimize();
    let mut out = vec![AS_BITMAP];
    versions.serialize_into(&mut out).expect("a vector takes all that is written to it");
    out
}

/// Reads them back; `None` where they are none.
fn read_versions(bytes: &[u8]) -> Option<RoaringBitmap> {
    match bytes.split_first()? {
        (&AS_THEY_ARE, few) => {
            let (few, []) = few.as_chunks::<2>() else { return None };
            RoaringBitmap::from_sorted_iter(few.iter().map(|version| u16::from_le_bytes(*version).into()))
                .ok()
        }
        (&AS_BITMAP, bitmap) => RoaringBitmap::deserialize_from(bitmap).ok(),
        _ => None,
    }
}

/// The next id, and its versions.
fn next<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    let length = reader.size()?;
    let id = reader.bytes(length)?;
    let length = reader.size()?;
    Ok((id, reader.bytes(length)?))
}
