//! Which versions mention which ids: the one part of a segment with very many values. What was read from a file stays as
//! it is there, and one id's versions are decoded when they are asked for; what came since is beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::log::segment::Postings;
use crate::log::segment::encoding::{read_postings, write_postings};
use crate::varint::{Malformed, Reader};

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
        self.write(u32::MAX) == other.write(u32::MAX)
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
        (found == id.as_bytes()).then(|| RoaringBitmap::deserialize_from(versions).ok())?
    }

    /// As in a file.
    pub(super) fn write(&self, count: u32) -> Vec<u8> {
        if self.fresh.is_empty() {
            return self.packed.to_vec();
        }
        let mut all: BTreeMap<_, _> = read_postings(count, &self.packed).unwrap_or_default();
        for (id, fresh) in &self.fresh {
            *all.entry(id.clone()).or_default() |= fresh;
        }
        let mut out = Vec::new();
        write_postings(&all, &mut out);
        out
    }

    /// What a file has; `None` if it is not that.
    pub(super) fn read(packed: Vec<u8>) -> Option<Self> {
        let mut starts = Vec::new();
        let mut reader = Reader(&packed);
        let mut last: Option<&[u8]> = None;
        while !reader.0.is_empty() {
            starts.push(u32::try_from(packed.len() - reader.0.len()).ok()?);
            let (id, _) = next(&mut reader).ok()?;
            if last.is_some_and(|last| last >= id) {
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
        let mut again = Mentions::read(mentions.write(500)).unwrap();
        for offset in 500..700 {
            mentions.note(&format!("id_{}", offset % 41), offset);
            again.note(&format!("id_{}", offset % 41), offset);
        }
        for number in 0..45 {
            let id = format!("id_{number}");
            assert_eq!(again.get(&id), mentions.get(&id), "{id}");
        }
        assert!(again.get("id").is_empty() && again.get("id_99").is_empty() && again.get("").is_empty());
        assert_eq!(again.write(700), mentions.write(700));
        let mut torn = mentions.write(700);
        torn.truncate(torn.len() - 1);
        assert_eq!(Mentions::read(torn), None);
    }
}
