//! Which versions mention which ids: the one part of a segment with very many values. What was read from a file stays as
//! it is there, in pieces by a hash of the ids, so that whoever asks for one id reads one piece; what came since is beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::log::segment::Postings;
use crate::log::segment::piece::{Piece, write_entry};
use crate::log::segment::sieve::IdHash;

/// How long a piece is, roughly, in bytes: of some 400 executions.
const PIECE_BYTES: usize = 16 << 10;
/// The most pieces of a segment; a table in the file's header has a line for each.
const PIECES_MAX: usize = 128;

/// Versions by the id that they mention, as offsets within the segment.
#[derive(Clone, Debug, Default)]
pub struct Mentions {
    /// As in the file; empty where none was read. Shared by all copies.
    pieces: Arc<[Piece]>,
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
        let piece = || self.pieces.get(IdHash::of(id.as_bytes()).piece(self.pieces.len()));
        let read = if self.pieces.is_empty() { None } else { piece().and_then(|piece| piece.get(id)) };
        let mut found = read.unwrap_or_default();
        if let Some(fresh) = self.fresh.get(id) {
            found |= fresh;
        }
        found
    }

    /// The ids.
    pub(super) fn hashes(&self) -> Vec<IdHash> {
        let read = self.pieces.iter().flat_map(Piece::entries).map(|(id, _)| id);
        let fresh = self.fresh.keys().map(|id| id.as_bytes());
        let read = read.filter(|id| !str::from_utf8(id).is_ok_and(|id| self.fresh.contains_key(id)));
        read.chain(fresh).map(IdHash::of).collect()
    }

    /// The pieces of a file. How many there are follows from what is in them, so that equal ones have equal files.
    pub(super) fn write(&self) -> Vec<Vec<u8>> {
        if self.fresh.is_empty() && !self.pieces.is_empty() {
            return self.pieces.iter().map(|piece| piece.bytes().to_vec()).collect();
        }
        let mut all: BTreeMap<&[u8], RoaringBitmap> = self.pieces.iter().flat_map(Piece::entries).collect();
        for (id, fresh) in &self.fresh {
            *all.entry(id.as_bytes()).or_default() |= fresh;
        }
        let mut entries = Vec::new();
        let mut ends = Vec::with_capacity(all.len());
        for (id, mut versions) in all {
            write_entry(id, &mut versions, &mut entries);
            ends.push((IdHash::of(id), entries.len()));
        }
        let count = (entries.len() / PIECE_BYTES).next_power_of_two().min(PIECES_MAX);
        let mut pieces = vec![Vec::new(); count];
        let mut begin = 0;
        for (hash, end) in ends {
            pieces[hash.piece(count)].extend_from_slice(&entries[begin..end]);
            begin = end;
        }
        pieces
    }

    /// What the pieces of a file of so many versions have; `None` if it is not that.
    pub(super) fn read(count: u32, pieces: Vec<Vec<u8>>) -> Option<Self> {
        let pieces: Option<Vec<Piece>> = pieces.into_iter().map(|piece| Piece::read(count, piece)).collect();
        let pieces = pieces.filter(|pieces| !pieces.is_empty())?;
        Some(Self { pieces: pieces.into(), fresh: Postings::new() })
    }

    /// The same without what came since it was read from a file.
    pub(super) fn without_fresh(&self) -> Self {
        Self { pieces: Arc::clone(&self.pieces), fresh: Postings::new() }
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
        self.pieces.iter().map(Piece::weight).sum::<usize>() + fresh.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment::piece::FEW;

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
        let ids = |mentions: &Mentions| {
            let mut ids: Vec<String> = mentions.hashes().iter().map(|id| format!("{id:?}")).collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(&again), ids(&mentions));
        assert_eq!(ids(&again).len(), 41, "each once");
        let mut torn = mentions.write();
        torn[0].pop();
        assert_eq!(Mentions::read(700, torn), None);
        assert_eq!(Mentions::read(699, mentions.write()), None, "none of its versions lies behind it");
        assert_eq!(Mentions::read(700, Vec::new()), None);
    }

    #[test]
    fn few_versions_and_many_take_little_and_are_read_back() {
        for count in [1, 2, FEW as u32, FEW as u32 + 1, 5_000] {
            let mut mentions = Mentions::default();
            let versions: RoaringBitmap = (0..count).map(|number| number * 13).collect();
            versions.iter().for_each(|version| mentions.note("exe_01kqxk5rd0e5xrpzzv0jjq4zgn", version));
            let pieces = mentions.write();
            let most = if count as usize <= FEW { 33 + 2 * count as usize } else { 60 + 2 * count as usize };
            assert!(pieces.concat().len() <= most, "{count}: {} bytes", pieces.concat().len());
            let read = Mentions::read(65_536, pieces).unwrap();
            assert_eq!(read.get("exe_01kqxk5rd0e5xrpzzv0jjq4zgn"), versions);
        }
    }

    #[test]
    fn many_ids_are_in_pieces_of_a_length() {
        let mut mentions = Mentions::default();
        let id = |number: u32| format!("exe_{number:026}");
        (0..20_000).for_each(|number| mentions.note(&id(number), number));
        let pieces = mentions.write();
        let longest = pieces.iter().map(Vec::len).max().unwrap();
        assert_eq!(pieces.len(), 64);
        assert!(longest < PIECE_BYTES, "{longest} bytes");
        let mut read = Mentions::read(20_000, pieces).unwrap();
        assert_eq!(read, mentions);
        assert_eq!(read.get(&id(7)), RoaringBitmap::from_iter([7]));
        read.note(&id(7), 20_000);
        assert_eq!(read.get(&id(7)), RoaringBitmap::from_iter([7, 20_000]));
        assert_ne!(read, mentions);
    }
}
