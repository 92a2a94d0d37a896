//! Deciding a command without appending it: what a dry run tells is what the writer would decide.

use std::sync::Arc;

use crate::store::batch::{Admission, Batch, Outcome};
use crate::store::resident::Handle;
use crate::store::{Done, Refusal, Store, Submission};

impl Store {
    /// What a command would come to now, with the state that it would lead to. Nothing is appended, and what is told
    /// rests on durable state alone.
    ///
    /// # Errors
    /// Those of [`Store::execute`] that are decided.
    pub fn rehearse(&self, handle: &Arc<Handle>, submission: &Submission) -> Result<Done, Refusal> {
        let admission = Admission { clock: Ok(self.clock().now()), disk_has_room: true };
        match Batch::new(admission).decide(handle, submission) {
            Outcome::Decided(result) => *result,
            // An empty batch has room for any command that a frame has.
            Outcome::Full => Err(Refusal::TooLarge),
        }
    }
}
