//! A drill: a snapshot restored for practice into a folder of its own, every state folded from what came out, and held
//! against what this store comes to at the same position. A snapshot that was never restored is a hope.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data_dir::{DataDirError, StoreDir};
use crate::ids::{DataKeyId, Fresh, SnapshotId, StoreId, StreamId};
use crate::log::{EventLog, Key, Position};
use crate::private;
use crate::seal::root::RootKey;
use crate::snapshot::Progress;
use crate::snapshot::place::Located;
use crate::snapshot::restore::{Built, RestoreError, Wanted};
use crate::store::ledger::lines::DestroyedKeys;
use crate::store::load::LoadError;
use crate::store::replay::{ReplayReport, digests};

/// What a drill came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillReport {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The position of its last frame.
    pub position: u64,
    /// How many streams were compared.
    pub streams: u64,
    /// The streams that came out otherwise than they are here.
    pub different: Vec<String>,
    /// Data keys of its history that are not among its keys.
    pub missing_keys: u64,
    /// Of them, those of which nothing says that they were destroyed, or that are in the store; absent where no ledger was at
    /// hand, and nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_keys: Option<u64>,
    /// Why it did not come back at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl DrillReport {
    /// Whether everything came out as it is here, with all keys that there should be, as far as anybody knows that.
    pub fn is_sound(&self) -> bool {
        self.different.is_empty() && self.failure.is_none() && self.lost_keys == Some(0)
    }

    /// What of it is not as it should be, in words; nothing of a sound one.
    pub fn why(&self) -> String {
        let Self { different, missing_keys, lost_keys, failure, .. } = self;
        let different = (!different.is_empty()).then(|| format!("other states: {}", different.join(", ")));
        let lost = match lost_keys {
            Some(0) => None,
            Some(lost) => Some(format!("of {lost} data keys nothing says that they were destroyed")),
            None => Some(format!("{missing_keys} data keys are missing, and no ledger is at hand")),
        };
        let all = [failure.clone(), different, lost.filter(|_| failure.is_none())];
        all.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// Of a snapshot that did not come back.
    pub fn failed(snapshot: SnapshotId, position: u64, failure: String) -> Self {
        Self {
            snapshot,
            position,
            streams: 0,
            different: Vec::new(),
            missing_keys: 0,
            lost_keys: None,
            failure: Some(failure),
        }
    }
}

/// Restores a snapshot into `place`, which is made and removed, and compares it with the log of a store. `destroyed` are the data
/// keys that were destroyed, where a ledger is at hand that says so. Blocks.
///
/// # Errors
/// When the snapshot does not come back, or the log cannot be read.
pub fn drill(
    (store, log): (StoreId, &dyn EventLog),
    root: &RootKey,
    destroyed: Option<&DestroyedKeys>,
    history: &Located,
    place: &Path,
    progress: Progress<'_>,
) -> Result<DrillReport, RestoreError> {
    let clear = || match fs::remove_dir_all(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(DataDirError::Io { action: "remove", path: place.to_owned(), source: error })
        }
        _ => Ok(()),
    };
    clear()?;
    let drilled = drill_in((store, log), root, destroyed, history, place, progress);
    clear()?;
    drilled
}

fn drill_in(
    (store, log): (StoreId, &dyn EventLog),
    root: &RootKey,
    destroyed: Option<&DestroyedKeys>,
    history: &Located,
    place: &Path,
    progress: Progress<'_>,
) -> Result<DrillReport, RestoreError> {
    let made = StoreDir { id: Fresh.id(), path: place.to_owned() };
    for path in [place.to_owned(), made.keys()] {
        let failed = |source| DataDirError::Io { action: "make", path: path.clone(), source };
        private::make_dir_all(&path).map_err(failed)?;
    }
    let wanted = Wanted { history: history.clone(), keys: None, until: None, root };
    // Nothing is opened here. So what is left of it on the disk is opened by no key that anybody has.
    let built = Built::make(&made, &wanted, &RootKey::random(), &BTreeSet::from([store]), progress)?;
    let came_out = digests(&*built.log, Position(u64::MAX), |_| {})?;
    let position = built.log.end();
    let here = digests(log, position, |_| {})?;
    Ok(DrillReport {
        snapshot: built.snapshot(),
        position: position.0,
        streams: came_out.streams.len() as u64,
        different: different(&came_out, &here),
        missing_keys: built.missing.len() as u64,
        lost_keys: lost(&built.missing, log, destroyed)?,
        failure: None,
    })
}

/// How many of the missing keys are lost: nothing says that they were destroyed, or the store has them, whoever says so. `None`
/// where nobody knows.
fn lost(
    missing: &BTreeSet<(StreamId, DataKeyId)>,
    log: &dyn EventLog,
    destroyed: Option<&DestroyedKeys>,
) -> Result<Option<u64>, LoadError> {
    let mut lost = 0;
    for (stream, id) in missing {
        let is_told = destroyed.is_none_or(|destroyed| destroyed.contains(&(*stream, *id)));
        lost += u64::from(!is_told || log.get(&Key::DataKey(*stream, *id))?.is_some());
    }
    Ok((destroyed.is_some() || missing.is_empty() || lost > 0).then_some(lost))
}

/// The streams that are not in both as the same.
fn different(came_out: &ReplayReport, here: &ReplayReport) -> Vec<String> {
    let lacks = |streams: &ReplayReport, of: &ReplayReport| {
        let missing = of.streams.iter().filter(|stream| !streams.streams.contains(stream));
        missing.map(|stream| stream.stream.clone()).collect::<Vec<_>>()
    };
    let mut names = lacks(here, came_out);
    names.extend(lacks(came_out, here));
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::id;
    use crate::log::memory::MemoryLog;
    use crate::log::refill;
    use crate::store::replay::StreamReplay;

    fn replayed(streams: &[(&str, u64, &str)]) -> ReplayReport {
        let of = |(stream, version, digest): &(&str, u64, &str)| StreamReplay {
            stream: (*stream).to_owned(),
            version: *version,
            digest: (*digest).to_owned(),
            served: None,
        };
        ReplayReport { streams: streams.iter().map(of).collect() }
    }

    #[test]
    fn a_missing_key_that_the_store_has_is_lost_whoever_says_that_it_was_destroyed() {
        let log = MemoryLog::new();
        let key = |number| (StreamId::Platform, id::<DataKeyId>(number));
        let (there, gone, unknown) = (key(1), key(2), key(3));
        refill::data_keys(&log, [(there.0, there.1, vec![7])]).unwrap();
        let (missing, destroyed) = ([there, gone, unknown].into(), [there, gone].into());
        assert_eq!(lost(&missing, &log, Some(&destroyed)).unwrap(), Some(2));
        assert_eq!(lost(&missing, &log, None).unwrap(), Some(1), "of two nobody knows");
        assert_eq!(lost(&[gone].into(), &log, Some(&destroyed)).unwrap(), Some(0));
        assert_eq!(lost(&[gone].into(), &log, None).unwrap(), None);
        assert_eq!(lost(&BTreeSet::new(), &log, None).unwrap(), Some(0));
    }

    #[test]
    fn what_is_otherwise_or_on_one_side_alone_is_named_once() {
        let here = replayed(&[("org_1", 3, "a"), ("org_2", 3, "b"), ("org_3", 1, "c")]);
        assert!(different(&here, &here).is_empty());
        let came_out = replayed(&[("org_1", 3, "a"), ("org_2", 3, "x"), ("org_4", 1, "d")]);
        assert_eq!(different(&came_out, &here), ["org_2", "org_3", "org_4"]);
        assert_eq!(different(&replayed(&[("org_1", 2, "a")]), &replayed(&[("org_1", 3, "a")])), ["org_1"]);
    }
}
