//! Requests to join as a fold.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::area::{Area, DirectoryEntry, Fold, Reads};
use crate::clock::Timestamp;
use crate::event::{Event, Recorded, ResourceType, Version};
use crate::history::description::{Description, Difference, Focus, Subject, fields};
use crate::history::restore::plan::{Outlook, Plan};
use crate::ids::{DataKeyId, JoinRequestId, UserId};
use crate::organization::Organization;
use crate::seal::{Commitment, Sealed};
use crate::settings::join_requests::event::{JoinRequestCreated, JoinRequestsEvent};
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::RoleRef;

/// The most decided requests that are known, the newest: history has them all, and whoever is declined may ask again, so
/// else they would grow for ever.
pub const DECIDED_MAX: usize = 1_000;

/// Requests to join: those that wait, and the newest decided ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct JoinRequests {
    pending: RedBlackTreeMapSync<JoinRequestId, JoinRequest>,
    by_person: RedBlackTreeMapSync<UserId, JoinRequestId>,
    decided: RedBlackTreeMapSync<JoinRequestId, JoinRequest>,
    /// Those, by the version that decided them.
    by_decision: RedBlackTreeMapSync<Version, JoinRequestId>,
}

/// A request to join, name and address sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The request.
    pub id: JoinRequestId,
    /// Who they would be, or are.
    pub person: UserId,
    /// The key that would be theirs, or is.
    pub key: DataKeyId,
    /// What the key is held against when it is unwrapped.
    pub commitment: Option<Commitment>,
    /// Their name.
    pub name: Sealed,
    /// Their e-mail address.
    pub email: Sealed,
    /// The domain that the address is in.
    pub domain: String,
    /// What became of it.
    pub decision: Decision,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was decided, or made.
    pub updated_at: Timestamp,
    /// The stream version of that.
    pub version: Version,
}

/// What became of a request to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// Nobody has decided yet.
    Pending,
    /// They were let in with this role.
    Approved(RoleRef),
    /// They were not, and their key is destroyed.
    Declined,
}

impl Decision {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved(_) => "approved",
            Self::Declined => "declined",
        }
    }
}

impl JoinRequests {
    /// A request by id.
    pub fn get(&self, id: JoinRequestId) -> Option<&JoinRequest> {
        self.pending.get(&id).or_else(|| self.decided.get(&id))
    }

    /// Those that nobody has decided yet, by id.
    pub fn pending(&self) -> impl Iterator<Item = &JoinRequest> {
        self.pending.values()
    }

    /// The request of somebody that nobody has decided yet.
    pub fn pending_of(&self, person: UserId) -> Option<&JoinRequest> {
        self.by_person.get(&person).and_then(|id| self.pending.get(id))
    }

    /// How many requests nobody has decided yet.
    pub fn pending_count(&self) -> usize {
        self.pending.size()
    }

    fn create(&mut self, created: &JoinRequestCreated, recorded: &Recorded) {
        let request = JoinRequest {
            id: created.join_request,
            person: created.person,
            key: created.key,
            commitment: recorded.keys.get(&created.key).copied(),
            name: created.name.clone(),
            email: created.email.clone(),
            domain: created.domain.clone(),
            decision: Decision::Pending,
            created_at: recorded.at,
            updated_at: recorded.at,
            version: recorded.version,
        };
        self.keep(request);
    }

    fn keep(&mut self, request: JoinRequest) {
        match request.decision {
            Decision::Pending => {
                self.by_person.insert_mut(request.person, request.id);
                self.pending.insert_mut(request.id, request);
            }
            Decision::Approved(_) | Decision::Declined => {
                self.by_decision.insert_mut(request.version, request.id);
                self.decided.insert_mut(request.id, request);
            }
        }
    }

    fn decide(&mut self, id: JoinRequestId, decision: Decision, recorded: &Recorded) {
        let Some(mut request) = self.pending.get(&id).cloned() else { return };
        self.pending.remove_mut(&id);
        self.by_person.remove_mut(&request.person);
        request.decision = decision;
        request.updated_at = recorded.at;
        request.version = recorded.version;
        self.keep(request);
        if self.by_decision.size() > DECIDED_MAX
            && let Some((version, oldest)) = self.by_decision.first().map(|(version, id)| (*version, *id))
        {
            self.by_decision.remove_mut(&version);
            self.decided.remove_mut(&oldest);
        }
    }
}

impl Fold for JoinRequests {
    const NAME: &'static str = "join_requests";
    const PROJECTION: u32 = 2;

    fn apply(&mut self, recorded: &Recorded) {
        let Event::JoinRequests(event) = &recorded.event else { return };
        match event {
            JoinRequestsEvent::JoinRequestCreated(created) => self.create(created, recorded),
            JoinRequestsEvent::JoinRequestApproved(approved) => {
                self.decide(approved.join_request, Decision::Approved(approved.role), recorded);
            }
            JoinRequestsEvent::JoinRequestDeclined(declined) => {
                self.decide(declined.join_request, Decision::Declined, recorded);
            }
        }
    }

    fn directory(_recorded: &Recorded, _entries: &mut Vec<DirectoryEntry>) {}

    fn items(&self) -> usize {
        self.pending.size() + self.decided.size()
    }
}

impl Area for JoinRequests {
    const READS: &'static [&'static str] =
        &["join_request.create", "join_request.approve", "join_request.decline"];
    const CASCADES: &'static [&'static str] = &[];
    const RESTORABLE: bool = false;
    const KINDS: &'static [Reads] =
        &[Reads { kind: ResourceType::JoinRequest, permission: Permission::PersonRead }];

    fn of(organization: &Organization) -> &Self {
        &organization.join_requests
    }

    fn narrowed(&self, focus: &Focus) -> Self {
        let Focus::Resource(id) = focus else { return self.clone() };
        let mut narrowed = Self::default();
        if let Some(request) = id.parse().ok().and_then(|id| self.get(id)) {
            narrowed.keep(request.clone());
        }
        narrowed
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        for request in focus.among(self.pending.values().chain(self.decided.values()), |id| self.get(id)) {
            let role = match request.decision {
                Decision::Approved(role) => Some(role.to_string()),
                Decision::Pending | Decision::Declined => None,
            };
            let person = request.person.to_string();
            let told = fields([
                ("person", Some(person.as_str().into())),
                ("name", Some((&request.name).into())),
                ("email", Some((&request.email).into())),
                ("domain", Some(request.domain.as_str().into())),
                ("status", Some(request.decision.name().into())),
                ("role", role.as_deref().map(Into::into)),
            ]);
            into.insert(Subject::new(ResourceType::JoinRequest, request.id), told);
        }
    }

    /// Who asked to join, and what they were answered, is never brought back.
    fn restore(_differences: &[Difference], _outlook: &Outlook<'_>, _plan: &mut Plan) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{asks_to_join, founded, id, not_let_in, organization};

    #[test]
    fn of_those_that_are_decided_the_newest_are_known() {
        let asked = |number: u128| [asks_to_join(number), not_let_in(number)];
        let numbers = 10..=10 + DECIDED_MAX as u128;
        // The first one waits all the time, and is decided last but one.
        let given = founded().into_iter().chain([asks_to_join(7)]).chain(numbers.flat_map(asked));
        let state = organization(given.chain([not_let_in(7), asks_to_join(8)]));
        let requests = &state.join_requests;
        assert_eq!(requests.decided.size(), DECIDED_MAX);
        assert!([10, 11].iter().all(|number| requests.get(id(*number)).is_none()));
        assert_eq!(requests.get(id(12)).map(|request| request.decision), Some(Decision::Declined));
        assert!(requests.get(id(7)).is_some() && requests.pending_of(id(7)).is_none());
        assert_eq!(requests.pending().map(|request| request.id).collect::<Vec<_>>(), [id(8)]);
        assert_eq!(requests.items(), DECIDED_MAX + 1);
    }
}
