//! Reading a whole snapshot without believing anything of it: every hash, every frame, every event, every head and root, every key.
//! What a restore rests on is found here, in one pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::event::{Event, Recorded};
use crate::ids::{DataKeyId, StreamId};
use crate::log::frame::Frame;
use crate::log::heads::Heads;
use crate::log::segment::tree::Growing;
use crate::log::{Head, Position};
use crate::platform::signing_keys::event::SigningKeysEvent;
use crate::seal::Commitment;
use crate::seal::keyring::snapshot::{CarriedKeys, SnapshotKey};
use crate::seal::signing::PublicKey;
use crate::snapshot::format::StreamHead;
use crate::snapshot::history::{Chunk, History};
use crate::snapshot::keys::{AcceptedKeys, KeysFile};
use crate::snapshot::unpacking::{Unpacked, Unpackers, Unpacking};
use crate::snapshot::{Progress, SnapshotError};

/// Up to where a history is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All that was recorded up to a time.
    Time(Timestamp),
    /// Up to the frame at a position.
    Position(Position),
}

/// Neither a time nor a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an RFC 3339 time or a position of the log")]
pub struct InvalidUntil;

impl FromStr for Until {
    type Err = InvalidUntil;

    fn from_str(text: &str) -> Result<Self, InvalidUntil> {
        let position = text.parse().map(|position| Self::Position(Position(position)));
        position.or_else(|_| text.parse().map(Self::Time).map_err(|_| InvalidUntil))
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => time.fmt(f),
            Self::Position(Position(position)) => position.fmt(f),
        }
    }
}

/// Data keys by stream and id, with what history committed to.
pub type KnownKeys = BTreeMap<(StreamId, DataKeyId), Commitment>;

/// What a history was found to hold, up to where it is wanted.
#[derive(Debug, Default)]
pub struct Survey {
    /// The last frame that is wanted.
    pub end: Position,
    /// When it was recorded.
    pub ended_at: Option<Timestamp>,
    /// How many frames the whole history has.
    pub frames: u64,
    /// How many events the whole history has.
    pub events: u64,
    /// How many of them are wanted.
    pub wanted_events: u64,
    /// Where the streams end there, of all that is wanted.
    pub heads: Heads,
    /// The data keys that history made and did not destroy up to there.
    pub keys: KnownKeys,
    /// The data keys that sign, by what their signatures are checked with, in the whole history.
    pub signing_keys: BTreeMap<PublicKey, DataKeyId>,
    /// What was taken away for good after that.
    pub taken_away: Vec<Recorded>,
}

/// Verifies a history from its first byte to its last, and finds what of it is wanted.
///
/// # Errors
/// With the first place that is not what was written.
pub fn survey(
    history: &mut History,
    until: Option<Until>,
    progress: Progress<'_>,
) -> Result<Survey, SnapshotError> {
    survey_and_take(history, until, progress, |_, _, _| Ok(()))
}

/// The same, and gives each frame that is wanted to `take`, with the head that it gives its stream and its events, in order. That is before all of
/// the history is verified: what is made of them must count for nothing until this has returned.
///
/// # Errors
/// As those of [`survey`], and what `take` says.
pub fn survey_and_take<E: From<SnapshotError>>(
    history: &mut History,
    until: Option<Until>,
    progress: Progress<'_>,
    mut take: impl FnMut(&Frame, Head, &[Recorded]) -> Result<(), E>,
) -> Result<Survey, E> {
    let path = history.path().to_owned();
    let mut pass = Pass {
        path: &path,
        until,
        survey: Survey::default(),
        begins_at: None,
        all: Heads::default(),
        trees: BTreeMap::new(),
        told: 0,
        last_told: None,
    };
    let end = Position(history.header.position);
    Unpackers::run(|unpackers| {
        let read = history.read(|chunk| {
            match chunk {
                Chunk::Frames(frames) => {
                    pass.before_frames()?;
                    unpackers.give(frames, &mut |unpacked| pass.frame(unpacked, &mut take))?;
                }
                Chunk::Heads(heads) => {
                    unpackers.finish(&mut |unpacked| pass.frame(unpacked, &mut take))?;
                    pass.heads(&heads)?;
                }
            }
            progress(pass.all.end(), end);
            Ok::<_, E>(())
        });
        // What is wrong with a frame that is on its way comes before what is wrong with what was read after it.
        unpackers.finish(&mut |unpacked| pass.frame(unpacked, &mut take)).and(read)
    })?;
    Ok(pass.hold_against(history)?)
}

struct Pass<'a> {
    path: &'a Path,
    until: Option<Until>,
    survey: Survey,
    /// When the first frame was recorded.
    begins_at: Option<Timestamp>,
    /// Of all frames, also beyond what is wanted.
    all: Heads,
    /// Likewise, of each stream.
    trees: BTreeMap<StreamId, Growing>,
    /// How many heads it told, and the stream of the last.
    told: u64,
    last_told: Option<StreamId>,
}

impl Pass<'_> {
    fn before_frames(&self) -> Result<(), SnapshotError> {
        if self.told > 0 {
            return Err(SnapshotError::damaged(self.path, "its chunks", "frames follow the heads"));
        }
        Ok(())
    }

    /// Verifies a frame, and gives it to `take` if it is wanted.
    fn frame<E: From<SnapshotError>>(
        &mut self,
        (position, unpacked): Unpacking,
        take: &mut impl FnMut(&Frame, Head, &[Recorded]) -> Result<(), E>,
    ) -> Result<(), E> {
        let damaged = |what: String| {
            SnapshotError::damaged(self.path, format!("the frame at position {}", position.0), what)
        };
        if position.0 != self.all.end().0 + 1 {
            return Err(damaged(format!("position {} was to follow", self.all.end().0 + 1)).into());
        }
        let Unpacked { frame, leaves, events } = unpacked.map_err(damaged)?;
        let was_wanted = self.survey.end == self.all.end();
        let is_wanted = was_wanted && wants(self.until, position, &frame);
        if was_wanted && !is_wanted {
            self.survey.heads = self.all.clone();
        }
        let head = self.all.follow_frame(&frame).map_err(|broken| damaged(broken.to_string()))?;
        let tree = self.trees.entry(frame.header().stream).or_default();
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        events.iter().for_each(|event| self.survey.note(event, is_wanted));
        self.survey.frames += 1;
        self.begins_at.get_or_insert(frame.header().at);
        if is_wanted {
            (self.survey.end, self.survey.ended_at) = (position, Some(frame.header().at));
            take(&frame, head, &events)?;
        }
        Ok(())
    }

    /// What the whole of the frames came to, once it is what the rest of the file says.
    fn hold_against(mut self, history: &History) -> Result<Survey, SnapshotError> {
        let (end, manifest) = (Position(history.header.position), &history.manifest);
        let damaged = |what: &str| SnapshotError::damaged(self.path, "its manifest", what);
        if !self.survey.signing_keys.contains_key(&history.signed_by) {
            return Err(SnapshotError::damaged(self.path, "its seal", "its history has no such signing key"));
        }
        if self.all.end() != end {
            return Err(damaged("the frames do not end at the position of its header"));
        }
        if (self.survey.frames, self.survey.events) != (manifest.frames, manifest.events) {
            return Err(damaged("it counts other frames or events than there are"));
        }
        let streams = self.all.iter().count() as u64;
        if self.told < streams {
            let what = "there are more streams than heads";
            return Err(SnapshotError::damaged(self.path, "the heads of its streams", what));
        }
        if streams != manifest.streams {
            return Err(damaged("it counts other streams than there are"));
        }
        let is_beyond = matches!(self.until, Some(Until::Position(wanted)) if wanted > end);
        if let (Some(until), Some(begins_at)) = (self.until, self.begins_at)
            && (is_beyond || self.survey.end == Position(0))
        {
            return Err(SnapshotError::OutOfReach { path: self.path.to_owned(), until, begins_at, end });
        }
        if self.survey.end == end {
            self.survey.heads = self.all;
        }
        Ok(self.survey)
    }

    /// Holds heads against the frames, which all came before: so no more of them are kept than there are streams.
    fn heads(&mut self, told: &[StreamHead]) -> Result<(), SnapshotError> {
        let damaged = |what: String| SnapshotError::damaged(self.path, "the heads of its streams", what);
        for told in told {
            if self.last_told >= Some(told.stream) {
                return Err(damaged("they are not in the order of the streams".to_owned()));
            }
            if self.all.last(told.stream) != Some(told.head) {
                return Err(damaged(format!("that of {} is not what its frames come to", told.stream)));
            }
            let root = self.trees.get(&told.stream).and_then(Growing::root);
            if told.root.is_some() && told.root != root {
                return Err(damaged(format!("the root of {} is not that of its events", told.stream)));
            }
            self.last_told = Some(told.stream);
            self.told += 1;
        }
        Ok(())
    }
}

/// Whether a frame is wanted, if the one before it is. Times may repeat, and streams of one batch share theirs.
fn wants(until: Option<Until>, position: Position, frame: &Frame) -> bool {
    match until {
        None => true,
        Some(Until::Position(last)) => position <= last,
        Some(Until::Time(last)) => frame.header().at <= last,
    }
}

impl Survey {
    fn note(&mut self, event: &Recorded, is_wanted: bool) {
        self.events += 1;
        if let Event::SigningKeys(SigningKeysEvent::Created(made) | SigningKeysEvent::Rotated(made)) =
            &event.event
        {
            self.signing_keys.insert(made.public_key, made.key);
        }
        if !is_wanted {
            if event.is_for_good() {
                self.taken_away.push(event.clone());
            }
            return;
        }
        self.wanted_events += 1;
        for (id, commitment) in &event.keys {
            self.keys.insert((event.stream, *id), *commitment);
        }
        for id in event.event.destroyed_keys() {
            self.keys.remove(&(event.stream, *id));
        }
    }

    /// Whether an event of a stream came after all that is wanted. Versions tell where times are the same: those of another
    /// course of the store, before or after a restore, say nothing else.
    pub fn is_before(&self, event: &Recorded) -> bool {
        let version = self.heads.last(event.stream).map_or(0, |head| head.version);
        self.ended_at < Some(event.at) || self.ended_at == Some(event.at) && version < event.version
    }

    /// Whether any of the keys that an event destroyed is one that this history has.
    pub fn has_any_of(&self, stream: StreamId, event: &Event) -> bool {
        event.destroyed_keys().iter().any(|id| self.keys.contains_key(&(stream, *id)))
    }
}

/// What a file of keys came to that was held against a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKeys {
    /// The data keys of the history that are not there.
    pub missing: BTreeSet<(StreamId, DataKeyId)>,
    /// The API keys that were accepted, where that is known.
    pub accepted: Option<AcceptedKeys>,
}

/// Holds what two files of one snapshot say of themselves against each other.
fn hold_header(file: &KeysFile, history: &History) -> Result<(), SnapshotError> {
    let (keys, header) = (&file.header, &history.header);
    let epoch = keys.epochs.last().map(|own| &own.epoch);
    let is_same = keys.store == header.store
        && keys.position == Position(header.position)
        && epoch.is_none_or(|epoch| *epoch == header.epoch);
    if keys.snapshot == header.snapshot && !is_same {
        let what = "store, epoch or position are not those that its keys name";
        return Err(SnapshotError::damaged(history.path(), "its header", what));
    }
    Ok(())
}

/// Verifies a file of keys from its first byte to its last, and holds it against a history, which must be signed by one of
/// them: whoever lacks the root key signs with none. `take` gets each stream's keys with those data keys alone that the
/// history has up to where it is wanted.
///
/// # Errors
/// With the first place that is not what was written, or whose key is not the one that history committed to.
pub fn hold_keys(
    file: KeysFile,
    history: &History,
    survey: &Survey,
    mut take: impl FnMut(&SnapshotKey, CarriedKeys) -> Result<(), SnapshotError>,
) -> Result<HeldKeys, SnapshotError> {
    let path = file.at().path().to_owned();
    hold_header(&file, history)?;
    let mut missing: BTreeSet<_> = survey.keys.keys().copied().collect();
    let mut is_signed = false;
    let signed_with = survey.signing_keys.get(&history.signed_by).copied();
    let accepted = file.read(|snapshot_key, mut keys| {
        let stream = keys.stream;
        if survey.heads.last(stream).is_none() {
            return Ok(());
        }
        let damaged = |what: String| SnapshotError::damaged(&path, format!("the keys of {stream}"), what);
        let opened = snapshot_key.open(&keys).map_err(damaged)?;
        if stream == StreamId::Platform {
            let stored = keys.data_keys.iter().find(|(id, _)| Some(*id) == signed_with);
            is_signed = stored.is_some_and(|(id, stored)| opened.signs_as(*id, stored, history.signed_by));
        }
        keys.data_keys.retain(|(id, _)| survey.keys.contains_key(&(stream, *id)));
        for (id, stored) in &keys.data_keys {
            let commitment = survey.keys[&(stream, *id)];
            opened
                .data_key(*id, stored, commitment)
                .map_err(|what| damaged(format!("data key {id}: {what}")))?;
            missing.remove(&(stream, *id));
        }
        take(snapshot_key, keys)
    })?;
    // Those of a store that came from this one may lack many, but never all.
    if !missing.is_empty() && missing.len() == survey.keys.len() {
        return Err(SnapshotError::damaged(&path, "its streams", "none of these keys is of this history"));
    }
    if !is_signed {
        let what =
            "it is signed with none of the keys: both are not of one store, or it was made by somebody else";
        return Err(SnapshotError::damaged(history.path(), "its seal", what));
    }
    Ok(HeldKeys { missing, accepted })
}
