//! Which versions mention which ids: the one part of a segment with very many values. What was read from a file stays as
//! it is there, and one id's versions are decoded when they are asked for; what came since is beside it.
//!
//! Most ids are mentioned a few times in a segment, as an execution is by its beginning and its end. Their versions stand
//! there as they are, two bytes each, where a bitmap would take sixteen more.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::log::segment::Postings;
use crate::varint::{self, Malformed, Reader};

/// The most versions of an id that stand there as they are.
const FEW: usize = 8;
/// How versions begin that do, and those that are a bitmap.
const AS_THEY_ARE: u8 = 0;
const AS_BITMAP: u8 = 1;

/// Versions by the id that they mention, as offsets within the segment.
#[derive(Clone, Debug, Default)]
pub struct Mentions {
    /// As in the file: ids in order, each with its versions. Shared by all copies.
    packed: Arc<[u8]>,
    /// Where each id begins in `packed`.
    starts: Arc<[u32]>,
    /// What came since.
    fresh: Postings,
}

/// Equal where the same versions mention the same ids, however much of it was read from a file.
impl PartialEq for Mentions {
    fn eq(&self, other: &Self) -> bool {
        self.write() == other.write()
    }
}

impl Mentions {
    /// Notes that a version mentions an id.
    pub(super) fn note(&mut self, id: &str, offset: u32) {
        super::note(&mut self.fresh, id, offset);
    }

    /// The versions that mention an id.
    pub(super) fn get(&self, id: &str) -> RoaringBitmap {
        let mut found = self.packed(id).unwrap_or_default();
        if let Some(fresh) = self.fresh.get(id) {
            found |= fresh;
        }
        found
    }

    fn packed(&self, id: &str) -> Option<RoaringBitmap> {
        let at = self.starts.partition_point(|start| {
            entry(&self.packed, *start).is_ok_and(|(found, _)| found < id.as_bytes())
        });
        let (found, versions) = entry(&self.packed, *self.starts.get(at)?).ok()?;
        (found == id.as_bytes()).then(|| read_versions(versions))?
    }

    /// As in a file.
    pub(super) fn write(&self) -> Vec<u8> {
        if self.fresh.is_empty() {
            return self.packed.to_vec();
        }
        let mut all: BTreeMap<&[u8], RoaringBitmap> = BTreeMap::new();
        for start in &*self.starts {
            if let Ok((id, versions)) = entry(&self.packed, *start) {
                all.insert(id, read_versions(versions).unwrap_or_default());
            }
        }
        for (id, fresh) in &self.fresh {
            *all.entry(id.as_bytes()).or_default() |= fresh;
        }
        let mut out = Vec::new();
        for (id, mut versions) in all {
            varint::write(id.len() as u64, &mut out);
            out.extend_from_slice(id);
            let versions = write_versions(&mut versions);
            varint::write(versions.len() as u64, &mut out);
            out.extend_from_slice(&versions);
        }
        out
    }

    /// What a file of so many versions has; `None` if it is not that.
    pub(super) fn read(count: u32, packed: Vec<u8>) -> Option<Self> {
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
        Some(Self { starts: starts.into(), packed: packed.into(), fresh: Postings::new() })
    }

    /// The same without what came since it was read from a file.
    pub(super) fn without_fresh(&self) -> Self {
        Self { packed: Arc::clone(&self.packed), starts: Arc::clone(&self.starts), fresh: Postings::new() }
    }

    /// What came since.
    pub(super) fn fresh(&self) -> &Postings {
        &self.fresh
    }

    /// What came since, to be copied into.
    pub(super) fn fresh_mut(&mut self) -> &mut Postings {
        &mut self.fresh
    }

    /// How much memory it takes, roughly, in bytes.
    pub(super) fn weight(&self) -> usize {
        let fresh = self.fresh.iter().map(|(id, versions)| id.len() + versions.serialized_size() + 120);
        self.packed.len() + self.starts.len() * size_of::<u32>() + fresh.sum::<usize>()
    }
}

fn entry(packed: &[u8], start: u32) -> Result<(&[u8], &[u8]), Malformed> {
    next(&mut Reader(packed.get(start as usize..).ok_or(Malformed)?))
}

/// Versions in the form that takes least, so that equal ones have equal bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_and_what_came_since_are_one() {
        let mut mentions = Mentions::default();
        for offset in 0..500 {
            mentions.note(&format!("id_{}", offset % 37), offset);
        }
        let mut again = Mentions::read(500, mentions.write()).unwrap();
        for offset in 500..700 {
            mentions.note(&format!("id_{}", offset % 41), offset);
            again.note(&format!("id_{}", offset % 41), offset);
        }
        for number in 0..45 {
            let id = format!("id_{number}");
            assert_eq!(again.get(&id), mentions.get(&id), "{id}");
        }
        assert!(again.get("id").is_empty() && again.get("id_99").is_empty() && again.get("").is_empty());
        assert_eq!(again.write(), mentions.write());
        let mut torn = mentions.write();
        torn.truncate(torn.len() - 1);
        assert_eq!(Mentions::read(700, torn), None);
        assert_eq!(Mentions::read(699, mentions.write()), None, "none of its versions lies behind it");
    }

    #[test]
    fn few_versions_and_many_take_little_and_are_read_back() {
        for count in [1, 2, FEW as u32, FEW as u32 + 1, 5_000] {
            let mut mentions = Mentions::default();
            let versions: RoaringBitmap = (0..count).map(|number| number * 13).collect();
            versions.iter().for_each(|version| mentions.note("exe_01kqxk5rd0e5xrpzzv0jjq4zgn", version));
            let packed = mentions.write();
            let most = if count as usize <= FEW { 33 + 2 * count as usize } else { 60 + 2 * count as usize };
            assert!(packed.len() <= most, "{count}: {} bytes", packed.len());
            let read = Mentions::read(65_536, packed).unwrap();
            assert_eq!(read.get("exe_01kqxk5rd0e5xrpzzv0jjq4zgn"), versions);
        }
    }
}
