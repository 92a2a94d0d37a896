//! The command that appends a restore: all of its steps, or none.

use crate::command::{Context, Need, NewEvent, Rejection};
use crate::event::{Resource, ResourceType, Version};
use crate::history::restore::plan::Step;
use crate::organization::Organization;
use crate::settings::general::command::GeneralRejection;
use crate::settings::general::event::{GeneralEvent, OrganizationRestored, RestoredScope};
use crate::settings::roles::permission::Permission;

/// Appends a prepared plan.
#[derive(Clone, Debug)]
pub struct RestoreSettings {
    /// The version that settings are brought back from.
    pub as_of: Version,
    /// What of them.
    pub scope: RestoredScope,
    /// Which thing, where it is one.
    pub target: Option<String>,
    /// Whether grants of roles are brought back too.
    pub include_access: bool,
    /// The version of the last change to a restorable setting that the plan was made from.
    pub revision: Version,
    /// The plan.
    pub steps: Vec<Step>,
}

impl RestoreSettings {
    /// What it needs of its actor, beside what each step does.
    pub fn need(&self) -> Need {
        Need::Organization(Permission::OrganizationRestore)
    }

    /// Decides. `If-Match` is held against the last change to a restorable setting.
    ///
    /// # Errors
    /// A failed precondition; [`Rejection::Stale`] if the plan was made from other settings; the first permission
    /// that a step needs and the actor lacks.
    pub fn decide(&self, state: &Organization, context: &Context) -> Result<Vec<NewEvent>, Rejection> {
        let founded = state.general.founded().ok_or(GeneralRejection::NotFound)?;
        let revision = state.revision.version();
        context.check_version(revision)?;
        if revision != self.revision {
            return Err(Rejection::Stale);
        }
        if self.include_access {
            Need::Organization(Permission::OrganizationOwn).check(state, context)?;
        }
        for step in &self.steps {
            step.check(state, context)?;
        }
        if self.steps.is_empty() {
            return Ok(Vec::new());
        }
        let restored = OrganizationRestored {
            as_of: self.as_of,
            scope: self.scope,
            target: self.target.clone(),
            steps: self.steps.len() as u64,
        };
        let resource =
            Resource::named(ResourceType::Organization, founded.organization, founded.name.as_str());
        let mut said = NewEvent::new(resource, GeneralEvent::OrganizationRestored(restored));
        if let Some(target) = &self.target {
            let id = target.split_once('/').map_or(target.as_str(), |(id, _)| id);
            said = said.relating(id);
        }
        let mut events: Vec<_> = self.steps.iter().map(|step| step.event.clone()).collect();
        events.push(said);
        Ok(events)
    }
}
