//! Which keys a history is restored with unless somebody names some: of those that lie beside it the newest that know all of it.
//! Older ones expire, and open what was destroyed since.

use crate::causes::with_causes;
use crate::log::Position;
use crate::snapshot::SnapshotError;
use crate::snapshot::history::History;
use crate::snapshot::keys::header_of;
use crate::snapshot::listing::files_of_keys;
use crate::snapshot::place::Located;

/// The newest file of keys in the place of a history that knows all of it. Nobody vouches for what a file says of itself:
/// whoever reads it with the root key holds it against the history.
///
/// # Errors
/// `NoKeys`, and when the place cannot be listed.
pub fn newest_keys(history: &History) -> Result<Located, SnapshotError> {
    let (mut newest, mut others) = (None, Vec::new());
    for keys in files_of_keys(history.at().place())? {
        match header_of(&keys) {
            Ok(header) if header.know(&history.header, Position(history.header.position)) => {
                let rank = (header.at, header.position, header.store == history.header.store);
                if newest.as_ref().is_none_or(|(before, _)| *before < rank) {
                    newest = Some((rank, keys));
                }
            }
            Ok(header) => others.push(format!(
                "{} is of {} at {}, and does not know all of it",
                keys.path().display(),
                header.store,
                header.at
            )),
            Err(error) => others.push(with_causes(&error)),
        }
    }
    let there = if others.is_empty() { "there is none".to_owned() } else { others.join("; ") };
    let path = history.path().to_owned();
    newest.map(|(_, keys)| keys).ok_or(SnapshotError::NoKeys { path, there })
}
