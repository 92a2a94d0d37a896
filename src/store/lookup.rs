//! Look-ups by personal data: maps in memory only, from an HMAC under a key of this process to the owner's id.
//!
//! Commands carry the HMACs as claims; the writer checks them against the look-up that goes with the batch's state,
//! because the edge's view is too old to decide uniqueness. Nothing of this is ever on disk.

use hmac::{Hmac, KeyInit, Mac};
use rpds::{HashTrieMapSync, RedBlackTreeSetSync};
use sha2::Sha256;

use crate::platform::accounts::email::folded;

/// HMAC-SHA256 of a normalized value under a key of this process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LookupKey([u8; 32]);

/// Makes look-up keys. One a process; its key is random and never leaves it.
pub struct Hasher {
    key: [u8; 32],
}

impl Hasher {
    /// With a fresh random key.
    pub fn new() -> Self {
        Self { key: rand::random() }
    }

    /// The look-up key of an e-mail address.
    pub fn email(&self, address: &str) -> LookupKey {
        self.hash("email", &folded(address))
    }

    /// The look-up key of a customer's external id, as it was written.
    pub fn external_id(&self, id: &str) -> LookupKey {
        self.hash("external id", id)
    }

    /// The look-up key of a domain, in its ASCII form.
    pub fn domain(&self, domain: &str) -> LookupKey {
        self.hash("domain", domain)
    }

    fn hash(&self, kind: &str, value: &str) -> LookupKey {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        LookupKey(mac.finalize().into_bytes().into())
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

/// That a value is to belong to a resource from now on; or, of a release, that it did.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The value.
    pub key: LookupKey,
    /// What it is found among others by: of an address, its domain.
    pub group: Option<LookupKey>,
    /// The id of the resource that it will belong to.
    pub owner: String,
}

/// Which resource a value belongs to, in one stream, at one version.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    owners: HashTrieMapSync<LookupKey, String>,
    /// The value that each owner was granted last.
    granted: HashTrieMapSync<String, LookupKey>,
    /// The owners of a group's values; each has one value.
    groups: HashTrieMapSync<LookupKey, RedBlackTreeSetSync<String>>,
    is_complete: bool,
}

impl Lookup {
    /// One that has all values of its stream from here on, once those that are there are granted.
    pub fn complete() -> Self {
        Self { is_complete: true, ..Self::default() }
    }

    /// Whether it has all values of its stream. Until then nobody claims one.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The owner of a value.
    pub fn owner(&self, key: LookupKey) -> Option<&str> {
        self.owners.get(&key).map(String::as_str)
    }

    /// Whether a claim can be granted: the value is nobody's, the claimant's already, or given up together with the claim.
    pub fn admits(&self, claim: &Claim, releases: &[Claim]) -> bool {
        let Some(owner) = self.owner(claim.key) else { return true };
        let given_up = releases.iter().any(|release| release.key == claim.key && release.owner == owner);
        owner == claim.owner || given_up
    }

    /// The owners of the values of a group.
    pub fn owners_in(&self, group: LookupKey) -> impl Iterator<Item = &str> {
        self.groups.get(&group).into_iter().flat_map(|owners| owners.iter().map(String::as_str))
    }

    /// Grants a claim.
    pub fn grant(&mut self, claim: Claim) {
        if let Some(group) = claim.group {
            let owners = self.groups.get(&group).cloned().unwrap_or_default();
            self.groups.insert_mut(group, owners.insert(claim.owner.clone()));
        }
        self.granted.insert_mut(claim.owner.clone(), claim.key);
        self.owners.insert_mut(claim.key, claim.owner);
    }

    /// Takes from an owner the value, of no group, that they were granted last: each has one.
    pub fn release_all_of(&mut self, owner: &str) {
        if let Some(key) = self.granted.get(owner).copied() {
            self.release(&Claim { key, group: None, owner: owner.to_owned() });
        }
    }

    /// Takes theirs, as [`Lookup::release_all_of`], from all but some owners.
    pub fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self.granted.keys().filter(|owner| !stays(owner)).cloned().collect();
        gone.iter().for_each(|owner| self.release_all_of(owner));
    }

    /// Takes a value from its owner; another's stays.
    pub fn release(&mut self, claim: &Claim) {
        if self.owner(claim.key) != Some(&claim.owner) {
            return;
        }
        self.owners.remove_mut(&claim.key);
        if self.granted.get(&claim.owner) == Some(&claim.key) {
            self.granted.remove_mut(&claim.owner);
        }
        let Some(group) = claim.group else { return };
        let left = self.groups.get(&group).map(|owners| owners.remove(&claim.owner));
        match left.filter(|left| !left.is_empty()) {
            Some(left) => self.groups.insert_mut(group, left),
            None => _ = self.groups.remove_mut(&group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_its_owners_until_it_is_released() {
        let hasher = Hasher::new();
        let key = hasher.email("Ada@example.com");
        let of = |owner: &str| Claim { key, group: None, owner: owner.to_owned() };
        let mut lookup = Lookup::default();
        lookup.grant(of("one"));
        let admits = |lookup: &Lookup, owner| lookup.admits(&of(owner), &[]);
        assert!(admits(&lookup, "one") && !admits(&lookup, "other"));
        assert!(lookup.admits(&of("other"), &[of("one")]), "it is given up for the other");
        assert!(!lookup.admits(&of("other"), &[of("third")]), "nobody else gives it up");
        lookup.release(&of("other"));
        assert_eq!(lookup.owner(hasher.email("ada@EXAMPLE.com")), Some("one"));
        lookup.release(&of("one"));
        assert!(admits(&lookup, "other"));
    }

    #[test]
    fn who_goes_gives_up_the_value_that_they_had_last() {
        let hasher = Hasher::new();
        let of = |owner: &str, value: &str| Claim {
            key: hasher.external_id(value),
            group: None,
            owner: owner.to_owned(),
        };
        let mut lookup = Lookup::complete();
        lookup.grant(of("one", "a"));
        lookup.release(&of("one", "a"));
        lookup.grant(of("one", "b"));
        lookup.grant(of("other", "c"));
        lookup.release_all_of("one");
        assert!(lookup.admits(&of("third", "b"), &[]) && !lookup.admits(&of("third", "c"), &[]));
        lookup.grant(of("third", "b"));
        lookup.release_all_of("one");
        assert_eq!(lookup.owner(hasher.external_id("b")), Some("third"), "it is another's by now");
        lookup.retain(|owner| owner == "third");
        assert_eq!((lookup.owners.size(), lookup.granted.size()), (1, 1));
    }

    #[test]
    fn a_group_has_the_owners_of_its_values_and_nobody_else() {
        let hasher = Hasher::new();
        let of = |owner: &str, domain: &str| Claim {
            key: hasher.email(&format!("{owner}@{domain}")),
            group: Some(hasher.domain(domain)),
            owner: owner.to_owned(),
        };
        let mut lookup = Lookup::default();
        for claim in [of("bob", "acme.example"), of("ada", "acme.example"), of("eve", "other.example")] {
            lookup.grant(claim);
        }
        let owners = |lookup: &Lookup, domain| {
            lookup.owners_in(hasher.domain(domain)).map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(owners(&lookup, "acme.example"), ["ada", "bob"]);
        lookup.release(&of("ada", "acme.example"));
        lookup.release(&Claim { owner: "eve".to_owned(), ..of("bob", "acme.example") });
        assert_eq!(owners(&lookup, "acme.example"), ["bob"]);
        lookup.release(&of("bob", "acme.example"));
        assert!(owners(&lookup, "acme.example").is_empty() && lookup.groups.size() == 1);
        assert_eq!(owners(&lookup, "other.example"), ["eve"]);
    }
}
