//! What a restore takes away again, since it was taken away for good after its history ended: what ledgers and the rest of the
//! history tell of, what its keys do not have, and API keys whose values they do not know. And what nobody can know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::clock::Timestamp;
use crate::event::{Event, Recorded};
use crate::ids::{DataKeyId, EventId, StreamId};
use crate::settings::api_keys::event::ApiKeysEvent;
use crate::snapshot::keys::{AcceptedKeys, KeysHeader};
use crate::snapshot::restore::{RestoreError, failed};
use crate::snapshot::verify::Survey;
use crate::store::Store;
use crate::store::finishing::FinishError;
use crate::store::ledger::lines::Noted;
use crate::store::ledger::{Keeper, Ledger};

/// A ledger of what was taken away for good that a restore was held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldAgainst {
    /// The file.
    pub ledger: PathBuf,
    /// How many of its lines are of streams of this history.
    pub lines: u64,
    /// When the last of them was written: what was destroyed after that, it may not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// Whether its last line was cut off.
    pub is_torn: bool,
    /// How many of its lines are not what was written: what they told, nobody knows.
    pub damaged: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_damaged: Option<String>,
}

impl HeldAgainst {
    fn new(ledger: &Ledger) -> Self {
        let ledger = ledger.path().to_owned();
        Self { ledger, lines: 0, last_at: None, is_torn: false, damaged: 0, first_damaged: None }
    }
}

/// What was taken away again.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// How much ledgers and the history told of.
    pub(super) taken_away: usize,
    /// How many data keys are taken for destroyed.
    pub(super) absent: usize,
    /// Data keys that are not there, and that nothing destroys.
    pub(super) lost: BTreeSet<(StreamId, DataKeyId)>,
    /// How many API keys were revoked.
    pub(super) revoked: usize,
    /// What was told of and is taken away: facts, unlike what is concluded from what keys do not have. And what was destroyed
    /// after this history, which never had it: copies may open in a store that lies beside.
    pub(super) facts: Vec<Noted>,
}

/// What follows from what a file of keys does not have.
#[derive(Debug)]
pub(super) struct KnownKeys {
    /// Whether it knows all of the history, so that what it lacks was taken away.
    pub(super) is_all: bool,
    /// The API keys that were accepted, where it says so.
    pub(super) accepted: Option<AcceptedKeys>,
    /// When it was written.
    pub(super) at: Timestamp,
}

impl KnownKeys {
    /// The API keys that were accepted, where it knows all that the history has.
    fn accepted(&self) -> Option<&AcceptedKeys> {
        self.accepted.as_ref().filter(|_| self.is_all)
    }
}

/// What ledgers say.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What was taken away for good.
    pub(super) entries: Vec<Noted>,
    /// The events of the first ledger.
    pub(super) in_first: BTreeSet<EventId>,
    /// Whether stores elsewhere write into the first ledger, too.
    pub(super) is_shared: bool,
    /// The ledgers that are there.
    pub(super) ledgers: Vec<HeldAgainst>,
}

/// What ledgers say was taken away for good, and which of them are there.
pub(super) fn read_ledgers(
    folders: &[PathBuf],
    keeper: &Keeper,
    survey: &Survey,
) -> Result<Told, RestoreError> {
    let streams: BTreeSet<StreamId> = survey.heads.iter().map(|(stream, _)| stream).collect();
    let mut told = Told::default();
    for (number, folder) in folders.iter().enumerate() {
        let ledger = Ledger::open(folder, keeper.clone())
            .map_err(failed("the ledger of what was destroyed cannot be read"))?;
        if !ledger.path().exists() {
            continue;
        }
        let mut held = HeldAgainst::new(&ledger);
        let mut at = 0;
        loop {
            let lines = ledger
                .read(at..u64::MAX)
                .map_err(failed("the ledger of what was destroyed cannot be read"))?;
            held.damaged += lines.damaged.len() as u64;
            held.first_damaged = held.first_damaged.or(lines.damaged.into_iter().next());
            for (_, noted) in lines.entries {
                if streams.contains(&noted.about()) {
                    (held.lines, held.last_at) = (held.lines + 1, held.last_at.max(Some(noted.event.at)));
                }
                if number == 0 {
                    told.in_first.insert(noted.event.id);
                    told.is_shared |= !ledger.is_for_us(&noted);
                }
                told.entries.push(noted);
            }
            held.is_torn |= lines.torn;
            if lines.next == at {
                break;
            }
            at = lines.next;
        }
        told.ledgers.push(held);
    }
    Ok(told)
}

/// Takes away again what is of this history: what is told of, then what of the missing keys nothing told of, then API keys
/// whose values are not known.
pub(super) async fn take_away(
    store: &Store,
    survey: &Survey,
    later: Vec<Noted>,
    missing: BTreeSet<(StreamId, DataKeyId)>,
    known: &KnownKeys,
) -> Result<Gone, FinishError> {
    let later = once_each_in_order(later);
    let mut gone = Gone { lost: missing, ..Gone::default() };
    let mut done = BTreeSet::new();
    for noted in &later {
        let entry = &noted.event;
        let keys: Vec<DataKeyId> = entry.event.destroyed_keys().to_vec();
        for key in &keys {
            gone.lost.remove(&(entry.stream, *key));
        }
        let is_of_it = keys.is_empty() || survey.has_any_of(entry.stream, &entry.event);
        // What was finished at a start has two lines.
        let is_told = !keys.is_empty() && !done.insert((entry.stream, keys));
        let is_later = survey.is_before(entry);
        let is_taken_away = is_of_it
            && !is_told
            && (store.take_away_again(entry.clone()).await?
                || is_later && store.replace_value(entry).await?);
        gone.taken_away += usize::from(is_taken_away);
        if is_taken_away || is_later && !is_told && noted.destroys() {
            gone.facts.push(noted.clone());
        }
    }
    if known.is_all {
        forget_absent(store, &mut gone).await?;
    }
    if let Some(accepted) = known.accepted() {
        // What the ledger tells of a later value is later than what the keys know.
        let told = later.iter().map(|noted| &noted.event).filter(|event| event.at >= known.at);
        let told: BTreeSet<[u8; 32]> = told.filter_map(new_value).collect();
        let is_accepted = |token: &[u8; 32]| accepted.binary_search(token).is_ok() || told.contains(token);
        gone.revoked = store.revoke_unknown(is_accepted).await?;
    }
    Ok(gone)
}

/// What several ledgers and the rest of the history tell of, each event once, in the order in which they came: of an API key's
/// values the last is to be its value.
fn once_each_in_order(mut told: Vec<Noted>) -> Vec<Noted> {
    let mut ids = BTreeSet::new();
    told.retain(|noted| ids.insert(noted.event.id));
    told.sort_by_key(|Noted { event, .. }| (event.at, event.stream, event.version));
    told
}

/// The value that an API key got by an event.
fn new_value(recorded: &Recorded) -> Option<[u8; 32]> {
    match &recorded.event {
        Event::ApiKeys(ApiKeysEvent::ApiKeyRotated(rotated)) => Some(rotated.token.0),
        _ => None,
    }
}

async fn forget_absent(store: &Store, gone: &mut Gone) -> Result<(), FinishError> {
    let mut absent: BTreeMap<StreamId, BTreeSet<DataKeyId>> = BTreeMap::new();
    for (stream, key) in &gone.lost {
        absent.entry(*stream).or_default().insert(*key);
    }
    for (stream, keys) in absent {
        for key in store.forget_absent(stream, &keys).await? {
            gone.absent += usize::from(gone.lost.remove(&(stream, key)));
        }
    }
    Ok(())
}

/// That newer keys of a store elsewhere were not taken: what that one destroyed since is not gone here.
pub(super) fn passed_over(newer: &Path) -> String {
    format!(
        "{} are newer keys of a store elsewhere, which was made of the same history: what was destroyed or revoked there since is \
         here as it was before. If that store took the place of this history's, restore again with --keys and these",
        newer.display()
    )
}

/// What nobody can know of what came back.
pub(super) fn unknown(
    ledgers: &[HeldAgainst],
    keys: &KeysHeader,
    known: &KnownKeys,
    lost: usize,
) -> Vec<String> {
    let mut unknown = Vec::new();
    // An empty one, and one of another store, know as little as none.
    if ledgers.iter().all(|held| held.lines == 0) {
        let accepted = match known.accepted() {
            Some(_) => "and API keys that were revoked or rotated after that are accepted again",
            None => {
                "and API keys that were revoked or rotated are accepted again, since these keys do not say which are"
            }
        };
        unknown.push(format!(
            "no ledger is at hand that tells what was destroyed of this history: whatever was destroyed after {}, when \
             these keys were written, can be read again, {accepted}",
            keys.at
        ));
    }
    for HeldAgainst { ledger, damaged, first_damaged, .. } in ledgers {
        let Some(first) = first_damaged else { continue };
        unknown.push(format!(
            "{damaged} lines of the ledger {} are damaged, the first: {first}. What they told is not known: what was \
             destroyed or revoked then is here as it was before. Restore again once you have a whole copy of the ledger, \
             or with newer keys",
            ledger.display()
        ));
    }
    for held in ledgers.iter().filter(|held| held.is_torn) {
        unknown.push(format!(
            "the last line of {} was cut off: what it told is not known",
            held.ledger.display()
        ));
    }
    if lost > 0 {
        unknown.push(format!(
            "{lost} data keys of this history are not among the keys, and nothing says that they were destroyed: what \
             they seal cannot be read"
        ));
    }
    unknown
}
