//! The revision of an organization's settings: when one that a restore can bring back changed last. Sessions,
//! denials and exports do not count.

use serde::{Deserialize, Serialize};

use crate::area::{AnyArea, DirectoryEntry, Fold};
use crate::event::{Outcome, Recorded, Version};
use crate::organization::Organization;

/// The version of the last change to a restorable setting.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Revision {
    version: Version,
}

impl Revision {
    /// The version; 0 before the first change.
    pub fn version(&self) -> Version {
        self.version
    }
}

impl Fold for Revision {
    const NAME: &'static str = "revision";
    const PROJECTION: u32 = 3;

    fn apply(&mut self, recorded: &Recorded) {
        let action = recorded.event.action();
        // A plan that takes ownership away rests on who is left that can act as an owner.
        let suspends = matches!(action, "person.suspend" | "person.reactivate");
        let mut restorable = Organization::AREAS.iter().filter(|area| area.restorable);
        let changes = |area: &AnyArea| area.reads.contains(&action) && !area.notes.contains(&action);
        if recorded.outcome == Outcome::Success && (suspends || restorable.any(changes)) {
            self.version = recorded.version;
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use crate::event::Event;
    use crate::given::{assigned, founded, id, joined, now, organization};
    use crate::settings::people::event::PeopleEvent;
    use crate::settings::roles::role::SystemRole;
    use crate::settings::secrets::event::{SecretExpired, SecretsEvent};
    use crate::store::exports::{Exported, ExportsEvent};

    #[test]
    fn only_what_can_be_restored_counts() {
        let exported = Event::Exports(ExportsEvent::Exported(Exported { form: "events".to_owned() }));
        let joins = Event::People(PeopleEvent::PersonJoined(joined(2)));
        let revision = |more: Vec<Event>| organization(founded().into_iter().chain(more)).revision.version();
        assert_eq!(revision(vec![]), 3);
        assert_eq!(revision(vec![exported.clone(), joins.clone()]), 3);
        let expired = SecretExpired { secret: id(1), expires_at: now() };
        assert_eq!(revision(vec![Event::Secrets(SecretsEvent::SecretExpired(expired))]), 3);
        assert_eq!(revision(vec![exported, joins, assigned(2, 2, SystemRole::Viewer)]), 6);
    }
}
