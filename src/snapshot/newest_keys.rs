//! Which keys a history is restored with unless somebody names some: of those that lie beside it the newest that know all of it.
//! Older ones expire, and open what was destroyed since.

use std::collections::BTreeSet;

use crate::causes::with_causes;
use crate::ids::StoreId;
use crate::log::Position;
use crate::seal::root::RootFingerprint;
use crate::snapshot::SnapshotError;
use crate::snapshot::history::History;
use crate::snapshot::keys::{KeysHeader, header_of};
use crate::snapshot::listing::files_of_keys;
use crate::snapshot::place::Located;

/// A file of keys that knows all of a history.
struct Knowing {
    keys: Located,
    header: KeysHeader,
    is_own: bool,
}

impl Knowing {
    /// The store that it is of, and the epoch, where positions tell which is newer, whatever a clock said.
    fn course(&self) -> (StoreId, Option<&str>) {
        (self.header.store, self.header.epochs.last().map(|own| &*own.epoch))
    }
}

/// The keys that a history is restored with.
#[derive(Debug)]
pub struct Newest {
    /// The file.
    pub keys: Located,
    /// A newer one of a store elsewhere, which was made of the same history and may have taken the place of its store.
    pub elsewhere: Option<Located>,
}

/// The newest file of keys in the place of a history that knows all of it. Those of the history's own store go before, and of the
/// stores that are `here`, where it is restored: what was destroyed in another one that was made of the same history, for
/// practice, say, is not gone here. Of such a store they decide only where there are no others, and only under the same root key.
/// Nobody vouches for what a file says of itself: whoever reads it with the root key holds it against the history.
///
/// # Errors
/// `NoKeys`, and when the place cannot be listed.
pub fn newest_keys(
    history: &History,
    root: RootFingerprint,
    here: &BTreeSet<StoreId>,
) -> Result<Newest, SnapshotError> {
    let (mut knowing, mut others) = (Vec::<Knowing>::new(), Vec::new());
    let of = history.header.store;
    for keys in files_of_keys(history.at().place())? {
        let (header, wrapped_by) = match header_of(&keys) {
            Ok(found) => found,
            Err(error) => {
                others.push(with_causes(&error));
                continue;
            }
        };
        let (shown, store, at) = (keys.path().display(), header.store, header.at);
        let is_own = store == of || here.contains(&store);
        if !header.know(&history.header, Position(history.header.position)) {
            others.push(format!("{shown} is of {store} at {at}, and does not know all of it"));
        } else if !is_own && wrapped_by != root {
            others.push(format!("{shown} is of {store} at {at}, under the root key {wrapped_by}"));
        } else {
            let one = Knowing { keys, header, is_own };
            match knowing.iter_mut().find(|other| other.course() == one.course()) {
                Some(other) if other.header.position < one.header.position => *other = one,
                Some(other) if other.header.position == one.header.position && other.header.at < at => {
                    *other = one
                }
                Some(_) => {}
                None => knowing.push(one),
            }
        }
    }
    let rank = |one: &Knowing| {
        let is_sure = one.is_own || one.header.tells_stores();
        (one.is_own, is_sure, one.header.at, one.header.position, one.header.store == of)
    };
    knowing.sort_by_key(rank);
    let Some(newest) = knowing.pop() else {
        let there = if others.is_empty() { "there is none".to_owned() } else { others.join("; ") };
        return Err(SnapshotError::NoKeys { path: history.path().to_owned(), there });
    };
    let is_newer =
        |one: &Knowing| !one.is_own && one.header.tells_stores() && one.header.at > newest.header.at;
    let elsewhere = knowing.into_iter().rev().find(is_newer).map(|one| one.keys);
    Ok(Newest { keys: newest.keys, elsewhere })
}
