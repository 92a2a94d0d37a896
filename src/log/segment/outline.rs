//! [`Outline`]: what is known of a full segment without reading it. Those of all segments are in memory; whoever looks for
//! something reads only the segments that may have it.

use crate::log::segment::Segment;
use crate::log::segment::frames::FramePlace;
use crate::log::segment::search::Mentioned;
use crate::log::segment::sieve::{IdHash, Sieve};
use crate::varint::{self, Malformed, Reader};

/// A full segment in few bytes: 1.5 for each id that it mentions, and each mark; up to 135 KiB where it is of
/// executions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    first: FramePlace,
    last: FramePlace,
    /// Of each of what is [`Mentioned`], in its order: into how many pieces it is cut, and what may be there.
    mentions: [(usize, Sieve); Mentioned::ALL.len()],
}

impl Outline {
    /// That of a segment, whose mentions are cut into so many pieces each; `None` of one without versions.
    pub(super) fn of(segment: &Segment, pieces: [usize; Mentioned::ALL.len()]) -> Option<Self> {
        let (first, last) = (segment.frames.first()?, segment.frames.last()?);
        let sieve = |of: Mentioned| Sieve::of(&segment.mentions[of as usize].hashes());
        Some(Self { first, last, mentions: Mentioned::ALL.map(|of| (pieces[of as usize], sieve(of))) })
    }

    /// The frame that its first version is in.
    pub fn first(&self) -> FramePlace {
        self.first
    }

    /// The frame that its last version is in.
    pub fn last(&self) -> FramePlace {
        self.last
    }

    /// Which piece has what is mentioned, if the segment may mention it; that it does not is certain.
    pub fn piece(&self, mentioned: Mentioned, name: &str) -> Option<usize> {
        let (pieces, sieve) = &self.mentions[mentioned as usize];
        let hash = IdHash::of(name.as_bytes());
        sieve.may_have(hash).then(|| hash.piece(*pieces))
    }

    /// As in a file.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.first.write_after(&FramePlace::ZERO, out);
        self.last.write_after(&self.first, out);
        for (pieces, sieve) in &self.mentions {
            varint::write(*pieces as u64, out);
            sieve.write(out);
        }
    }

    /// What a file has; `None` if it is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let read = || -> Result<_, Malformed> {
            let mut reader = Reader(bytes);
            let first = FramePlace::ZERO.read_after(&mut reader)?;
            let last = first.read_after(&mut reader)?;
            let mut mention = || Ok::<_, Malformed>((reader.size()?, Sieve::read(&mut reader)?));
            let mentions = [mention()?, mention()?];
            Ok((reader.0.is_empty(), Self { first, last, mentions }))
        };
        read().ok().filter(|(is_all, _)| *is_all).map(|(_, outline)| outline)
    }

    /// How much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.mentions.iter().map(|(_, sieve)| sieve.weight()).sum::<usize>()
    }
}
