//! Organizations as operators see them, and their deletion: the server's socket and the command line go through here alike.

use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::clock::Timestamp;
use crate::event::Version;
use crate::ids::OrganizationId;
use crate::platform::deletions::command::DeletionsCommand;
use crate::store::intents::IntentError;
use crate::store::load::LoadError;
use crate::store::resident::View;
use crate::store::{Refusal, Store, Submission};

/// An organization, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = OperatedOrganization)]
pub struct OrganizationRow {
    /// Its id.
    pub id: OrganizationId,
    /// Its name.
    pub name: String,
    /// Its time zone.
    pub timezone: String,
    /// How many people belong to it.
    pub people: usize,
    /// How many environments it has.
    pub environments: usize,
    /// When it was founded.
    pub created_at: Timestamp,
    /// When anything of it changed last.
    pub changed_at: Timestamp,
    /// The version of its stream.
    pub version: Version,
}

/// An organization that is not deleted, or not all of whose deletion is done.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// There is none, or it was deleted.
    #[error("there is no organization {0}")]
    NotFound(OrganizationId),
    /// It could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store refused to record it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is recorded, and with that nobody is let in any more.
    #[error(
        "it is deleted, and what follows from that is not done yet: a server goes on with it each minute"
    )]
    Unfinished(#[from] IntentError),
}

impl Store {
    /// Organizations by id, after one of them; at most so many.
    ///
    /// # Errors
    /// When one cannot be read.
    pub async fn organization_rows(
        &self,
        after: Option<OrganizationId>,
        at_most: usize,
    ) -> Result<Vec<OrganizationRow>, LoadError> {
        let mut rows = Vec::new();
        for id in self.organizations().into_iter().filter(|id| after.is_none_or(|after| after < *id)) {
            if rows.len() == at_most {
                break;
            }
            rows.extend(self.organization_row(id).await?);
        }
        Ok(rows)
    }

    /// One of them; nothing of one whose founding is not finished, or that was deleted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn organization_row(&self, id: OrganizationId) -> Result<Option<OrganizationRow>, LoadError> {
        Ok(self.organization(id).await?.and_then(|handle| row(id, &handle.view())))
    }

    /// Deletes an organization: its people, keys and sessions are refused from then on, and its data keys are destroyed, so that
    /// what it sealed opens with nothing. Comes back when that is done; one that was cut off is gone on with.
    ///
    /// # Errors
    /// See [`DeletionError`].
    pub async fn delete_organization(&self, id: OrganizationId) -> Result<(), DeletionError> {
        if !self.platform().view().platform().deletions.is_open(id) {
            self.organization(id).await?.ok_or(DeletionError::NotFound(id))?;
            let open = Submission::new(DeletionsCommand::Open(id), Actor::OPERATOR);
            self.execute(self.platform(), open).await?;
        }
        Ok(self.finish_deletion_detached(id).await?)
    }
}

fn row(id: OrganizationId, view: &View) -> Option<OrganizationRow> {
    let organization = view.organization();
    let founded = organization.general.founded()?;
    Some(OrganizationRow {
        id,
        name: founded.name.clone(),
        timezone: founded.timezone.clone(),
        people: organization.people.count(),
        environments: organization.environments.count(),
        created_at: founded.created_at,
        changed_at: view.head.at,
        version: view.version(),
    })
}
