//! [`Index`]: what customers are found by, as text in a row, so that a search reads memory from its beginning to its end. In
//! pieces, of which a change copies one; wiped when dropped.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::event::Version;
use crate::ids::CustomerId;
use crate::seal::Plain;
use crate::settings::customers::profile::Profile;
use crate::settings::customers::value::Tags;

/// The most customers of a piece: copying one takes some microseconds.
pub(super) const PIECE_MAX: usize = 512;
/// Stands before each tag and behind the last; no text of a customer holds it.
const MARK: char = '\u{1}';

/// What the customers of an organization are found by, as of a version: a value, which shares its pieces with others.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// By id, none of them empty.
    pieces: Vec<Arc<Piece>>,
    version: Version,
}

#[derive(Debug, Default)]
struct Piece {
    /// By id, each with where its text ends.
    ends: Vec<(CustomerId, usize)>,
    text: Plain,
}

/// What one customer is found by: name and external id in lower case, then the tags as they are.
pub struct Words(Zeroizing<String>);

impl Words {
    /// Of all that is known of a customer.
    pub fn of(profile: &Profile) -> Self {
        let lower = |plain: &Plain| Zeroizing::new(plain.as_str().unwrap_or_default().to_lowercase());
        let (name, id) = (lower(&profile.name), profile.external_id.as_ref().map(lower).unwrap_or_default());
        let tags =
            profile.tags.as_ref().and_then(|tags| serde_json::from_slice::<Tags>(tags.as_bytes()).ok());
        let tags: Vec<_> = tags.iter().flat_map(Tags::iter).collect();
        let length = tags.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>();
        // With all of its room from the beginning: text that grows leaves copies behind that nobody wipes.
        let mut words = Zeroizing::new(String::with_capacity(name.len() + id.len() + length + 2));
        words.push_str(&name);
        words.push('\0');
        words.push_str(&id);
        words.push(MARK);
        for (key, value) in tags {
            words.push_str(key);
            words.push('=');
            words.push_str(value);
            words.push(MARK);
        }
        Self(words)
    }
}

/// What is searched for.
#[derive(Clone, Default)]
pub struct Wanted {
    /// A part of the name or the external id, in lower case.
    part: Option<String>,
    /// Tags with the marks around them.
    tags: Vec<String>,
}

impl Wanted {
    /// A part of the name or the external id, whatever its letter case, and tags, all of them.
    pub fn new(part: Option<&str>, tags: &[(String, String)]) -> Self {
        let tags = tags.iter().map(|(key, value)| format!("{MARK}{key}={value}{MARK}"));
        Self { part: part.map(str::to_lowercase), tags: tags.collect() }
    }

    /// Whether nothing is searched for, so that all are found.
    pub fn is_nothing(&self) -> bool {
        self.part.is_none() && self.tags.is_empty()
    }

    /// Whether somebody with these words is wanted.
    pub fn is_in(&self, words: &Words) -> bool {
        self.is_in_text(&words.0)
    }

    fn is_in_text(&self, words: &str) -> bool {
        let (names, tags) = words.split_at(words.find(MARK).unwrap_or(words.len()));
        self.part.as_ref().is_none_or(|part| names.split('\0').any(|name| name.contains(part)))
            && self.tags.iter().all(|tag| tags.contains(tag))
    }
}

impl Piece {
    fn new(entries: &[(CustomerId, &str)]) -> Self {
        let mut text = Vec::with_capacity(entries.iter().map(|(_, words)| words.len()).sum());
        let mut ends = Vec::with_capacity(entries.len());
        for (id, words) in entries {
            text.extend_from_slice(words.as_bytes());
            ends.push((*id, text.len()));
        }
        Self { ends, text: Plain::from(text) }
    }

    fn first(&self) -> Option<CustomerId> {
        self.ends.first().map(|(id, _)| *id)
    }

    fn entries(&self) -> impl Iterator<Item = (CustomerId, &str)> {
        let text = self.text.as_str().unwrap_or_default();
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts.zip(&self.ends).map(move |(start, (id, end))| (*id, &text[start..*end]))
    }

    fn bytes(&self) -> usize {
        self.text.as_bytes().len() + self.ends.len() * size_of::<(CustomerId, usize)>()
    }
}

impl Index {
    /// The stream version that it is of.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Says which version it is of now.
    pub(super) fn is_of(&mut self, version: Version) {
        self.version = version;
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes()).sum()
    }

    /// Those behind an id that are wanted, by id.
    pub fn find<'a>(
        &'a self,
        wanted: &'a Wanted,
        after: Option<CustomerId>,
    ) -> impl Iterator<Item = CustomerId> + 'a {
        let from = after.map_or(0, |after| self.piece_of(after));
        let entries = self.pieces[from..].iter().flat_map(|piece| piece.entries());
        let behind = entries.filter(move |(id, _)| after.is_none_or(|after| *id > after));
        behind.filter(|(_, words)| wanted.is_in_text(words)).map(|(id, _)| id)
    }

    /// Adds a piece of customers behind all others.
    pub(super) fn add(&mut self, customers: &[(CustomerId, Words)]) {
        if !customers.is_empty() {
            let entries: Vec<_> = customers.iter().map(|(id, words)| (*id, words.0.as_str())).collect();
            self.pieces.push(Arc::new(Piece::new(&entries)));
        }
    }

    /// Learns what a customer is found by.
    pub(super) fn learn(&mut self, id: CustomerId, words: &Words) {
        self.change(id, Some(&words.0));
    }

    /// Forgets a customer.
    pub(super) fn forget(&mut self, id: CustomerId) {
        self.change(id, None);
    }

    fn change(&mut self, id: CustomerId, words: Option<&str>) {
        let at = self.piece_of(id);
        let Some(piece) = self.pieces.get(at).cloned() else {
            self.pieces.extend(words.map(|words| Arc::new(Piece::new(&[(id, words)]))));
            return;
        };
        let mut entries: Vec<(CustomerId, &str)> =
            piece.entries().filter(|(other, _)| *other != id).collect();
        if let Some(words) = words {
            entries.insert(entries.partition_point(|(other, _)| *other < id), (id, words));
        } else if entries.len() == piece.ends.len() {
            return;
        }
        let half = if entries.len() > PIECE_MAX { entries.len() / 2 } else { entries.len() };
        let halves = [&entries[..half], &entries[half..]].into_iter().filter(|half| !half.is_empty());
        let halves: Vec<_> = halves.map(|half| Arc::new(Piece::new(half))).collect();
        self.pieces.splice(at..=at, halves);
    }

    /// Where the piece is that a customer belongs to.
    fn piece_of(&self, id: CustomerId) -> usize {
        self.pieces.partition_point(|piece| piece.first().is_some_and(|first| first <= id)).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::id;

    fn words(name: &str, external_id: &str, tags: &str) -> Words {
        let plain = |text: &str| (!text.is_empty()).then(|| Plain::from(text));
        Words::of(&Profile {
            name: Plain::from(name),
            external_id: plain(external_id),
            tags: plain(tags),
            metadata: plain("{\"note\":\"hidden\"}"),
        })
    }

    fn found(index: &Index, part: Option<&str>, tags: &[(&str, &str)]) -> Vec<CustomerId> {
        let tags: Vec<_> = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        index.find(&Wanted::new(part, &tags), None).collect()
    }

    #[test]
    fn a_customer_is_found_by_name_external_id_and_whole_tags() {
        let mut index = Index::default();
        index.learn(id(1), &words("Ärzte AG", "K-17", r#"{"plan":"Pro","size":"s"}"#));
        index.learn(id(2), &words("Bäcker", "", r#"{"plan":"Pro plus"}"#));
        for (part, tags, expected) in [
            (Some("ärzte"), &[][..], vec![id(1)]),
            (Some("ÄRZTE a"), &[], vec![id(1)]),
            (Some("k-1"), &[], vec![id(1)]),
            (Some("agk"), &[], vec![]),
            (Some("pro"), &[], vec![]),
            (Some("hidden"), &[], vec![]),
            (None, &[("plan", "Pro")], vec![id(1)]),
            (None, &[("plan", "pro")], vec![]),
            (None, &[("plan", "Pro"), ("size", "s")], vec![id(1)]),
            (None, &[("plan", "Pro plus"), ("size", "s")], vec![]),
            (None, &[], vec![id(1), id(2)]),
        ] {
            assert_eq!(found(&index, part, tags), expected, "{part:?} {tags:?}");
        }
    }

    #[test]
    fn pieces_split_shrink_and_stay_in_order() {
        let mut index = Index::default();
        let all = 3 * PIECE_MAX as u128;
        // The odd ones as a whole, the even ones one by one between them.
        let odd: Vec<_> = (0..all)
            .filter(|number| number % 2 == 1)
            .map(|n| (id(n), words(&format!("c{n}."), "", "")))
            .collect();
        odd.chunks(PIECE_MAX).for_each(|piece| index.add(piece));
        (0..all)
            .filter(|number| number % 2 == 0)
            .for_each(|n| index.learn(id(n), &words(&format!("c{n}."), "", "")));
        assert_eq!(found(&index, None, &[]), (0..all).map(id).collect::<Vec<_>>());
        assert!(index.pieces.iter().all(|piece| piece.ends.len() <= PIECE_MAX) && index.pieces.len() >= 3);
        for number in [0, 1, 511, 512, all - 1] {
            assert_eq!(found(&index, Some(&format!("c{number}.")), &[]), [id(number)]);
            let behind: Vec<CustomerId> = index.find(&Wanted::default(), Some(id(number))).collect();
            assert_eq!(behind, (number + 1..all).map(id).collect::<Vec<_>>());
            index.learn(id(number), &words("renamed", "", ""));
            assert_eq!(found(&index, Some(&format!("c{number}.")), &[]), []);
            index.forget(id(number));
        }
        assert_eq!(found(&index, Some("renamed"), &[]), []);
        assert_eq!(found(&index, None, &[]).len() as u128, all - 5);
        (0..all).for_each(|number| index.forget(id(number)));
        assert_eq!((index.pieces.len(), index.bytes()), (0, 0));
    }
}
