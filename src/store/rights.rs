//! Rights, computed once a change and never per request: when somebody's changed last, as a fold, and beside a stream's
//! state what each actor may do since then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::actor::ActorId;
use crate::area::{DirectoryEntry, Fold};
use crate::event::{Event, Recorded, Version};
use crate::organization::Organization;
use crate::settings::api_keys::event::ApiKeysEvent;
use crate::settings::environments::event::EnvironmentsEvent;
use crate::settings::roles::access::{Grants, grants};

/// How many actors of a stream are remembered; some hundred bytes each.
const ACTORS_MAX: usize = 16_384;

/// The version of the last event that can change what somebody may do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rights {
    version: Version,
}

impl Rights {
    /// The version; 0 before the first such event.
    pub fn version(&self) -> Version {
        self.version
    }
}

/// Whether an event can change what somebody may do. A new event says so here; in doubt it can, which costs computing
/// it anew.
fn can_change(event: &Event) -> bool {
    match event {
        Event::People(_) | Event::Teams(_) | Event::Roles(_) => true,
        Event::ApiKeys(event) => !matches!(event, ApiKeysEvent::ApiKeyUsed(_) | ApiKeysEvent::SecretsRead(_)),
        Event::Environments(event) => {
            matches!(
                event,
                EnvironmentsEvent::EnvironmentCreated(_) | EnvironmentsEvent::EnvironmentDeleted(_)
            )
        }
        Event::General(_)
        | Event::Secrets(_)
        | Event::Customers(_)
        | Event::CustomerData(_)
        | Event::Executions(_)
        | Event::Sessions(_)
        | Event::Accounts(_)
        | Event::Foundings(_)
        | Event::Deletions(_)
        | Event::Invitations(_)
        | Event::JoinRequests(_)
        | Event::Memberships(_)
        | Event::Operations(_)
        | Event::Exports(_)
        | Event::EncryptionKeys(_)
        | Event::OauthApps(_)
        | Event::Connections(_)
        | Event::ManagedApps(_)
        | Event::SigningKeys(_)
        | Event::Billing(_)
        | Event::Plans(_)
        | Event::Refused(_) => false,
    }
}

impl Fold for Rights {
    const NAME: &'static str = "rights";
    const PROJECTION: u32 = 1;

    fn apply(&mut self, recorded: &Recorded) {
        if can_change(&recorded.event) {
            self.version = recorded.version;
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        1
    }
}

/// What the actors of a stream may do, as computed last.
#[derive(Debug, Default)]
pub struct KnownRights(Mutex<HashMap<ActorId, (Version, Arc<Grants>)>>);

impl KnownRights {
    /// What an actor may do in a state of the stream.
    pub fn of(&self, organization: &Organization, actor: ActorId) -> Arc<Grants> {
        let since = organization.rights.version();
        if let Some((version, known)) = self.known().get(&actor)
            && *version == since
        {
            return Arc::clone(known);
        }
        let computed = Arc::new(grants(organization, actor));
        let mut known = self.known();
        if known.len() >= ACTORS_MAX && !known.contains_key(&actor) {
            known.clear();
        }
        known.insert(actor, (since, Arc::clone(&computed)));
        computed
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<ActorId, (Version, Arc<Grants>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{assigned, environment, founded, id, member, organization, person};
    use crate::settings::environments::event::{ConfigSet, Mode};
    use crate::settings::roles::permission::Permission;
    use crate::settings::roles::role::SystemRole;

    fn set() -> Event {
        let (key, value) = ("A".to_owned(), "1".to_owned());
        Event::Environments(EnvironmentsEvent::ConfigSet(ConfigSet { environment: id(1), key, value }))
    }

    #[test]
    fn rights_are_computed_anew_after_what_can_change_them_and_only_then() {
        let known = KnownRights::default();
        let actor = person(id(2)).id;
        let begun = || founded().into_iter().chain(member(2, None)).chain([environment(1, Mode::Test)]);
        let first = known.of(&organization(begun()), actor);
        assert!(!first.allows(Permission::ConfigWrite));
        let later = organization(begun().chain([set()]));
        assert!(Arc::ptr_eq(&known.of(&later, actor), &first), "nothing changed them");
        let assigned = organization(begun().chain([set(), assigned(2, 2, SystemRole::Developer)]));
        assert!(known.of(&assigned, actor).allows(Permission::ConfigWrite));
    }
}
