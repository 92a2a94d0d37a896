//! Making a restore happen, or telling what it would come to: the same steps for a request and for an operator.
//!
//! It is planned on a thread that may block, goes on only if whoever restores may see all that the plan shows, and is
//! planned again where settings changed in between.

use std::future::Future;
use std::sync::Arc;

use tokio::task::{JoinError, spawn_blocking};

use crate::history::readable::{self, Hidden};
use crate::history::restore::{Planned, PrepareError, Wanted, prepare};
use crate::settings::roles::access::Grants;
use crate::store::resident::Handle;
use crate::store::{Done, Store};

/// How often a plan is made because settings changed while it was.
pub const TRIES_MAX: usize = 3;

/// Whoever restores, and whether in earnest.
pub trait Restorer {
    /// Why nothing was appended.
    type Refusal;

    /// What they may see: a plan shows what was and what is.
    fn grants(&self) -> &Grants;

    /// Submits the command of a plan, or rehearses it.
    fn attempt(&self, planned: &Planned) -> impl Future<Output = Result<Done, Self::Refusal>> + Send;

    /// Whether settings had changed since the plan was made.
    fn is_stale(refusal: &Self::Refusal) -> bool;
}

/// Why a restore did not happen. Nothing was appended.
#[derive(Debug)]
pub enum Failed<R> {
    /// There is no plan.
    Unprepared(PrepareError),
    /// Planning ended in a panic, which has a log line already.
    Panicked(JoinError),
    /// The plan would show what may not be seen.
    Hidden(Hidden),
    /// The attempt was refused.
    Refused(R),
}

/// Plans, and attempts it; the last plan, and what came of it.
///
/// # Errors
/// See [`Failed`].
pub async fn run<R: Restorer>(
    store: &Store,
    handle: &Arc<Handle>,
    wanted: &Wanted,
    by: &R,
) -> Result<(Planned, Done), Failed<R::Refusal>> {
    let mut tries = 1;
    loop {
        let seen = handle.view().version();
        let planned = match Planned::apart(store, handle, wanted).await {
            // A value may have been destroyed since the state was read; a newer state knows.
            Err(Failed::Unprepared(PrepareError::Key(_))) if tries < TRIES_MAX => {
                tries += 1;
                handle.beyond(seen).await;
                continue;
            }
            planned => planned?,
        };
        if let Some(hidden) = planned.hidden_from(by.grants()) {
            return Err(Failed::Hidden(hidden));
        }
        match by.attempt(&planned).await {
            Ok(done) => return Ok((planned, done)),
            Err(refusal) if R::is_stale(&refusal) && tries < TRIES_MAX => tries += 1,
            Err(refusal) => return Err(Failed::Refused(refusal)),
        }
    }
}

impl Planned {
    /// A plan from the newest state, made on a thread that may block.
    async fn apart<R>(store: &Store, handle: &Arc<Handle>, wanted: &Wanted) -> Result<Self, Failed<R>> {
        let (store, handle, wanted) = (store.clone(), Arc::clone(handle), wanted.clone());
        let planned = spawn_blocking(move || {
            let view = handle.view();
            prepare(&store, &handle, &view, &wanted)
        });
        planned.await.map_err(Failed::Panicked)?.map_err(Failed::Unprepared)
    }

    /// The first thing in it that may not be seen.
    fn hidden_from(&self, grants: &Grants) -> Option<Hidden> {
        let steps = self.command.steps.iter().map(|step| &step.subject);
        readable::hidden(grants, steps.chain(self.cannot.iter().map(|cannot| &cannot.subject)))
    }
}
