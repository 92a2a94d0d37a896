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

/// Requests to join, decided ones included.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct JoinRequests {
    requests: RedBlackTreeMapSync<JoinRequestId, JoinRequest>,
    pending: RedBlackTreeMapSync<UserId, JoinRequestId>,
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
        self.requests.get(&id)
    }

    /// All requests, by id.
    pub fn iter(&self) -> impl Iterator<Item = &JoinRequest> {
        self.requests.values()
    }

    /// The request of somebody that nobody has decided yet.
    pub fn pending_of(&self, person: UserId) -> Option<&JoinRequest> {
        self.pending.get(&person).and_then(|id| self.get(*id))
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
        self.pending.insert_mut(request.person, request.id);
        self.requests.insert_mut(request.id, request);
    }

    fn decide(&mut self, id: JoinRequestId, decision: Decision, recorded: &Recorded) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.decision = decision;
        request.updated_at = recorded.at;
        request.version = recorded.version;
        let person = request.person;
        self.pending.remove_mut(&person);
    }
}

impl Fold for JoinRequests {
    const NAME: &'static str = "join_requests";
    const PROJECTION: u32 = 1;

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
        self.requests.size()
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
            narrowed.requests.insert_mut(request.id, request.clone());
        }
        narrowed
    }

    fn describe(&self, focus: &Focus, into: &mut Description) {
        for request in focus.among(self.iter(), |id| self.get(id)) {
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
