//! Opening and closing deletions.

use crate::command::NewEvent;
use crate::event::{Resource, ResourceType};
use crate::ids::OrganizationId;
use crate::platform::Platform;
use crate::platform::deletions::event::{DeletionClosed, DeletionsEvent, OrganizationDeleted};

/// A command to deletions; an operator's, or Settled's own.
#[derive(Clone, Copy, Debug)]
pub enum DeletionsCommand {
    /// Deletes an organization, which is there.
    Open(OrganizationId),
    /// Its other halves are done. Repeating it appends nothing.
    Close(OrganizationId),
}

/// Why a command to deletions appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeletionsRejection {
    /// It was deleted, or is not founded yet.
    #[error("there is no such organization")]
    NotFound,
}

impl DeletionsCommand {
    /// Decides.
    ///
    /// # Errors
    /// [`DeletionsRejection`].
    pub fn decide(&self, state: &Platform) -> Result<Vec<NewEvent>, DeletionsRejection> {
        match *self {
            Self::Open(organization) => {
                let is_being_founded =
                    state.foundings.open().any(|founding| founding.organization == organization);
                if is_being_founded || state.deletions.has(organization) {
                    return Err(DeletionsRejection::NotFound);
                }
                Ok(vec![about(
                    organization,
                    DeletionsEvent::OrganizationDeleted(OrganizationDeleted { organization }),
                )])
            }
            Self::Close(organization) if !state.deletions.is_open(organization) => Ok(Vec::new()),
            Self::Close(organization) => {
                Ok(vec![about(organization, DeletionsEvent::DeletionClosed(DeletionClosed { organization }))])
            }
        }
    }
}

fn about(organization: OrganizationId, event: DeletionsEvent) -> NewEvent {
    NewEvent::new(Resource::new(ResourceType::Organization, organization), event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::{events, id, platform, sealed};
    use crate::platform::foundings::event::{FoundingOpened, FoundingsEvent};

    fn opened() -> Event {
        Event::Deletions(DeletionsEvent::OrganizationDeleted(OrganizationDeleted { organization: id(1) }))
    }

    fn closed() -> Event {
        Event::Deletions(DeletionsEvent::DeletionClosed(DeletionClosed { organization: id(1) }))
    }

    fn decide(command: DeletionsCommand, given: Vec<Event>) -> Result<Vec<Event>, DeletionsRejection> {
        events(command.decide(&platform(given)))
    }

    #[test]
    fn an_organization_is_deleted_once() {
        let open = DeletionsCommand::Open(id(1));
        assert_eq!(decide(open, Vec::new()), Ok(vec![opened()]));
        for given in [vec![opened()], vec![opened(), closed()]] {
            assert_eq!(decide(open, given), Err(DeletionsRejection::NotFound));
        }
    }

    #[test]
    fn one_that_is_being_founded_is_none_yet() {
        let founding = FoundingOpened {
            organization: id(1),
            account: id(1),
            person: id(1),
            name: sealed(1),
            timezone: "UTC".to_owned(),
            plan: None,
        };
        let given = vec![Event::Foundings(FoundingsEvent::FoundingOpened(founding))];
        assert_eq!(decide(DeletionsCommand::Open(id(1)), given), Err(DeletionsRejection::NotFound));
    }

    #[test]
    fn a_deletion_is_closed_once() {
        let close = DeletionsCommand::Close(id(1));
        assert_eq!(decide(close, vec![opened()]), Ok(vec![closed()]));
        assert_eq!(decide(close, vec![opened(), closed()]), Ok(Vec::new()));
        assert_eq!(decide(close, Vec::new()), Ok(Vec::new()));
        assert!(!platform(vec![opened(), closed()]).deletions.is_open(id(1)));
    }
}
