//! The end of an organization, which an operator brings about: its stream takes nothing more, and its data keys are destroyed, so
//! many at a time.

use crate::command::NewEvent;
use crate::event::{Resource, ResourceType};
use crate::ids::DataKeyId;
use crate::settings::general::command::GeneralRejection;
use crate::settings::general::event::{GeneralEvent, KeysForgotten, OrganizationEnded};
use crate::settings::general::projection::General;

/// Ends the organization. Repeating it appends nothing.
///
/// # Errors
/// [`GeneralRejection::NotFound`] where there is none.
pub(super) fn end(state: &General) -> Result<Vec<NewEvent>, GeneralRejection> {
    if state.is_over() {
        return Ok(Vec::new());
    }
    Ok(vec![about(state, GeneralEvent::OrganizationEnded(OrganizationEnded {}))?])
}

/// Destroys data keys of an organization that has ended.
///
/// # Errors
/// [`GeneralRejection::NotFound`] where it has not.
pub(super) fn forget(state: &General, keys: &[DataKeyId]) -> Result<Vec<NewEvent>, GeneralRejection> {
    if !state.is_over() {
        return Err(GeneralRejection::NotFound);
    }
    let forgotten = GeneralEvent::KeysForgotten(KeysForgotten { destroyed_keys: keys.to_vec() });
    Ok(vec![about(state, forgotten)?])
}

fn about(state: &General, event: GeneralEvent) -> Result<NewEvent, GeneralRejection> {
    let founded = state.founded().ok_or(GeneralRejection::NotFound)?;
    Ok(NewEvent::new(Resource::new(ResourceType::Organization, founded.organization), event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::given::{events, founded, id, organization};

    fn ended() -> Event {
        Event::General(GeneralEvent::OrganizationEnded(OrganizationEnded {}))
    }

    #[test]
    fn an_organization_ends_once() {
        assert_eq!(events(end(&organization(founded()).general)), Ok(vec![ended()]));
        let over = organization(founded().into_iter().chain([ended()]));
        assert_eq!(events(end(&over.general)), Ok(Vec::new()));
        assert_eq!(events(end(&General::default())), Err(GeneralRejection::NotFound));
    }

    #[test]
    fn keys_are_forgotten_of_one_that_has_ended_alone() {
        let keys = [id(1), id(2)];
        assert_eq!(events(forget(&organization(founded()).general, &keys)), Err(GeneralRejection::NotFound));
        let over = organization(founded().into_iter().chain([ended()]));
        let forgotten = events(forget(&over.general, &keys)).unwrap();
        assert_eq!(forgotten[0].destroyed_keys(), keys);
    }
}
