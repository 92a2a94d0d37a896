//! An operator's restore, through the socket of a running server or on the directory itself.

use std::sync::Arc;

use tokio::task::{JoinError, spawn_blocking};

use crate::actor::Actor;
use crate::command::Rejection;
use crate::history::description::Focus;
use crate::history::readable::Hidden;
use crate::history::restore::run::{Failed, Restorer, run};
use crate::history::restore::{Planned, PointInTime, PrepareError, Restored, Wanted, environment_of};
use crate::ids::OrganizationId;
use crate::settings::general::event::RestoredScope;
use crate::settings::roles::access::{Grants, grants};
use crate::store::history::HistoryError;
use crate::store::load::LoadError;
use crate::store::resident::{Handle, View};
use crate::store::{Done, Refusal, Store, Submission};

/// Why an operator's restore did not happen.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no such organization.
    #[error("there is no organization {0}")]
    NoOrganization(OrganizationId),
    /// There is no such environment, now or then.
    #[error("the organization has no such environment, and had none then")]
    NoEnvironment,
    /// The point in time lies in the future.
    #[error("the point in time lies in the future")]
    Future,
    /// The organization could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The history could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// There is no plan.
    #[error(transparent)]
    Unprepared(#[from] PrepareError),
    /// The work ended in a panic.
    #[error("the restore was broken off")]
    Panicked(#[from] JoinError),
    /// The plan would show what is no setting.
    #[error("the plan is about something that is no setting: {0:?}")]
    Hidden(Hidden),
    /// The store refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<Failed<Self>> for OperatorError {
    fn from(failed: Failed<Self>) -> Self {
        match failed {
            Failed::Unprepared(error) => error.into(),
            Failed::Panicked(error) => error.into(),
            Failed::Hidden(hidden) => Self::Hidden(hidden),
            Failed::Refused(error) => error,
        }
    }
}

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct OperatorRestore {
    /// Whose settings.
    pub organization: OrganizationId,
    /// As of when.
    pub as_of: PointInTime,
    /// One environment only, by id or slug.
    pub environment: Option<String>,
    /// Whether grants of roles are to be as they were too.
    pub include_access: bool,
    /// Whether only the plan is wanted.
    pub dry_run: bool,
}

impl OperatorRestore {
    /// Does it, or tells what it would do.
    ///
    /// # Errors
    /// See [`OperatorError`]; after any of them nothing was appended.
    pub async fn run(&self, store: &Store) -> Result<Restored, OperatorError> {
        let handle = store.organization(self.organization).await?;
        let handle = handle.ok_or(OperatorError::NoOrganization(self.organization))?;
        let view = handle.view();
        let grants = grants(view.organization(), Actor::OPERATOR.id);
        let wanted = {
            let (asked, store, handle) = (self.clone(), store.clone(), Arc::clone(&handle));
            spawn_blocking(move || asked.wanted(&store, &handle, &view)).await??
        };
        let operator = Operator { store, handle: &handle, grants, dry_run: self.dry_run };
        let (planned, done) = run(store, &handle, &wanted, &operator).await?;
        let version = if self.dry_run { planned.view.version() } else { done.version };
        Ok(Restored::new(version, &planned.command, &planned.cannot))
    }

    /// What is meant, as the organization is and was. Blocks.
    fn wanted(&self, store: &Store, handle: &Handle, view: &View) -> Result<Wanted, OperatorError> {
        let as_of = self.as_of.version(store, handle, view)?.ok_or(OperatorError::Future)?;
        let (scope, focus) = match &self.environment {
            None => (RestoredScope::Organization, Focus::All),
            Some(text) => {
                let past = store.as_of(handle, as_of)?;
                let environment = environment_of(past.organization(), view.organization(), text)
                    .ok_or(OperatorError::NoEnvironment)?;
                (RestoredScope::Environment, Focus::Resource(environment.to_string()))
            }
        };
        Ok(Wanted { as_of, scope, focus, include_access: self.include_access })
    }
}

/// An operator, who may see and do everything.
struct Operator<'a> {
    store: &'a Store,
    handle: &'a Arc<Handle>,
    grants: Grants,
    dry_run: bool,
}

impl Restorer for Operator<'_> {
    type Refusal = OperatorError;

    fn grants(&self) -> &Grants {
        &self.grants
    }

    async fn attempt(&self, planned: &Planned) -> Result<Done, OperatorError> {
        let mut submission = Submission::new(planned.command.clone(), Actor::OPERATOR);
        planned.brought.clone().add_to(&mut submission);
        if !self.dry_run {
            return Ok(self.store.execute(self.handle, submission).await?);
        }
        let (store, handle) = (self.store.clone(), Arc::clone(self.handle));
        Ok(spawn_blocking(move || store.rehearse(&handle, &submission)).await??)
    }

    fn is_stale(error: &OperatorError) -> bool {
        matches!(error, OperatorError::Refused(Refusal::Rejected(Rejection::Stale)))
    }
}
