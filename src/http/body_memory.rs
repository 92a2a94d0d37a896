//! How much memory the bodies of all requests may take together.
//!
//! Each body has a little for itself, so that ordinary requests are answered however many large bodies are held.
//! What goes beyond is taken from a common amount as it arrives, not as it is announced: an announcement costs its
//! sender nothing.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What every body may take for itself, in bytes: more than a request to change a setting commonly has.
const OWN_BYTES: usize = 16 * 1024;

/// The common amount. A clone is the same one.
#[derive(Clone, Debug)]
pub struct BodyMemory(Arc<Semaphore>);

/// What one body has taken of it; given back when dropped.
#[derive(Debug)]
pub struct Share {
    memory: BodyMemory,
    taken: Option<OwnedSemaphorePermit>,
}

/// The common amount is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory for bodies is taken")]
pub struct NoRoom;

impl BodyMemory {
    /// An amount of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// The share of a body of which nothing has come, but which announces so many bytes.
    ///
    /// # Errors
    /// Where as many are not free at the moment.
    pub fn share(&self, announced: usize) -> Result<Share, NoRoom> {
        if announced.saturating_sub(OWN_BYTES) > self.0.available_permits() {
            return Err(NoRoom);
        }
        Ok(Share { memory: self.clone(), taken: None })
    }
}

impl Share {
    /// Takes what a body of so many bytes needs; called again as it grows.
    ///
    /// # Errors
    /// Where as many are not free.
    pub fn cover(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let taken = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.saturating_sub(OWN_BYTES).saturating_sub(taken);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| NoRoom)?;
        let more = Arc::clone(&self.memory.0).try_acquire_many_owned(more).map_err(|_| NoRoom)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }

    /// The share for all copies of the body to hold; `None` where nothing was taken.
    pub fn kept(self) -> Option<Arc<Self>> {
        self.taken.is_some().then(|| Arc::new(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bodies_need_nothing_and_what_large_ones_take_is_given_back() {
        let memory = BodyMemory::new(1000);
        let mut large = memory.share(OWN_BYTES + 1000).expect("all is free");
        large.cover(OWN_BYTES + 600).expect("there is room");
        large.cover(OWN_BYTES + 900).expect("there is room");
        assert_eq!(large.cover(OWN_BYTES + 1001), Err(NoRoom));
        assert!(memory.share(OWN_BYTES + 101).is_err());
        let mut other = memory.share(0).expect("nothing is announced");
        other.cover(OWN_BYTES).expect("that is its own");
        assert_eq!(other.cover(OWN_BYTES + 101), Err(NoRoom));
        other.cover(OWN_BYTES + 100).expect("there is room");
        drop(large);
        other.cover(OWN_BYTES + 1000).expect("it was given back");
    }
}
