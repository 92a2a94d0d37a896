//! Which keys a history is restored with unless somebody names some: of those that lie beside it the newest that know all of it.
//! Older ones expire, and open what was destroyed since.

use std::collections::BTreeSet;

use crate::causes::with_causes;
use crate::ids::StoreId;
use crate::log::Position;
use crate::seal::root::RootFingerprint;
use crate::snapshot::SnapshotError;
use crate::snapshot::history::History;
use crate::snapshot::keys::header_of;
use crate::snapshot::listing::files_of_keys;
use crate::snapshot::place::Located;

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
) -> Result<Located, SnapshotError> {
    let (mut newest, mut others) = (None, Vec::new());
    let of = history.header.store;
    for keys in files_of_keys(history.at().place())? {
        match header_of(&keys) {
            Err(error) => others.push(with_causes(&error)),
            Ok((header, wrapped_by)) => {
                let (shown, store, at) = (keys.path().display(), header.store, header.at);
                let is_own = store == of || here.contains(&store);
                if !header.know(&history.header, Position(history.header.position)) {
                    others.push(format!("{shown} is of {store} at {at}, and does not know all of it"));
                } else if !is_own && wrapped_by != root {
                    others.push(format!("{shown} is of {store} at {at}, under the root key {wrapped_by}"));
                } else {
                    let is_sure = is_own || header.tells_stores();
                    let rank = (is_own, is_sure, at, header.position, store == of);
                    if newest.as_ref().is_none_or(|(before, _)| *before < rank) {
                        newest = Some((rank, keys));
                    }
                }
            }
        }
    }
    let there = if others.is_empty() { "there is none".to_owned() } else { others.join("; ") };
    let path = history.path().to_owned();
    newest.map(|(_, keys)| keys).ok_or(SnapshotError::NoKeys { path, there })
}
