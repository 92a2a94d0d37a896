//! [`Brought`]: what a command brings with it that is no part of what is decided, from the edge to the writer.

use crate::seal::keyring::NewDataKey;
use crate::store::Submission;
use crate::store::lookup::Claim;

/// Data keys and unique values of a command.
#[derive(Clone, Debug, Default)]
pub struct Brought {
    /// Data keys that it is the first to use.
    pub keys: Vec<NewDataKey>,
    /// Values that must be unique.
    pub claims: Vec<Claim>,
    /// Values that are given up.
    pub releases: Vec<Claim>,
}

impl From<Vec<NewDataKey>> for Brought {
    fn from(keys: Vec<NewDataKey>) -> Self {
        Self { keys, ..Self::default() }
    }
}

impl Brought {
    /// Adds it to a submission.
    pub fn add_to(self, submission: &mut Submission) {
        let Self { keys, claims, releases } = self;
        submission.keys.extend(keys);
        submission.claims.extend(claims);
        submission.releases.extend(releases);
    }
}
