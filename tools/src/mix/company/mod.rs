//! One organization as the mix makes it live: who is there, what they have, and what they do next.
//!
//! It is a model beside the store, in step with what is submitted: commands that wait to be decided are not in the
//! newest view, and each of them has to be one that is taken.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use settled::actor::{Actor, ActorId};
use settled::clock::Timestamp;
use settled::event::Version;
use settled::ids::{
    ApiKeyId, EnvironmentId, OauthAppId, OrganizationId, RoleAssignmentId, RoleId, SessionId, TeamId, UserId,
};
use settled::seal::DataKey;
use settled::seal::token::PlainToken;
use settled::settings::environments::event::Mode;
use settled::settings::roles::role::{RoleRef, SystemRole};
use settled::store::resident::Handle;
use settled::store::{Store, Submission};

use self::acts::VALUES_AT_ONCE;
use self::clientele::Clientele;
use self::connections::Connected;
use self::joining::{Asking, Invited};
use self::resources::App;
use self::secrets::Secret;
use super::dice::Dice;
use super::{Kind, PER, thrown, words};

mod access;
mod acts;
mod clientele;
mod connections;
mod joining;
mod resources;
mod secrets;

/// The most people, open sessions of one of them, environments and API keys: organizations do not grow for ever.
const PEOPLE_MAX: usize = 200;
/// The people that stay: those who were there at the beginning, by their number.
const PEOPLE_KEPT: usize = 5;
const SESSIONS_MAX: usize = 3;
const ENVIRONMENTS_MAX: usize = 12;
/// The most teams and custom roles.
const TEAMS_MAX: usize = 12;
const ROLES_MAX: usize = 8;
/// The most secrets.
const SECRETS_MAX: usize = 300;
const KEYS_MAX: usize = 40;
/// The most OAuth apps.
const APPS_MAX: usize = 12;
/// The most connections.
const CONNECTIONS_MAX: usize = 60;
/// The environments that everybody has; these are not deleted.
const ENVIRONMENTS_KEPT: usize = 3;
/// After so long without an end, a session is not used again: a working day.
const SESSION_SECONDS: i64 = 8 * 3600;

/// The key that the first environment always has a value for, from the beginning on: something to read at any time.
const KEY_KEPT: usize = 0;

/// What every organization begins with, before the mix.
const BEGINNING: &[Kind] = &[
    Kind::CreateEnvironment,
    Kind::SetValue,
    Kind::CreateEnvironment,
    Kind::CreateEnvironment,
    Kind::Join,
    Kind::AssignRole,
    Kind::Join,
    Kind::AssignRole,
    Kind::Join,
    Kind::AssignRole,
    Kind::Join,
    Kind::AssignRole,
];

/// One organization.
pub struct Company {
    /// Its stream.
    pub handle: Arc<Handle>,
    id: OrganizationId,
    key: Arc<DataKey>,
    dice: Dice,
    ahead: VecDeque<Kind>,
    keeps_names: bool,
    people: Vec<Person>,
    suspended: Option<UserId>,
    invited: Option<Invited>,
    /// The newest invitation when the last one was thought up.
    invited_after: Option<Version>,
    has_domain: bool,
    asking: Option<Asking>,
    gone: Vec<UserId>,
    environments: Vec<Environment>,
    made: usize,
    assignments: Vec<Assignment>,
    teams: Vec<Team>,
    roles: Vec<RoleId>,
    secrets: Vec<Secret>,
    secrets_made: usize,
    keys: Vec<(ApiKeyId, Mode)>,
    clientele: Clientele,
    apps: Vec<App>,
    connections: Vec<Connected>,
    connections_made: usize,
    /// Apps that deleted customers are connected by.
    apps_kept: BTreeSet<OauthAppId>,
}

struct Team {
    id: TeamId,
    members: BTreeSet<usize>,
}

struct Person {
    id: UserId,
    key: Arc<DataKey>,
    sessions: Vec<(SessionId, Timestamp)>,
}

struct Environment {
    id: EnvironmentId,
    slug: String,
    keys: BTreeSet<usize>,
}

struct Assignment {
    id: RoleAssignmentId,
    person: usize,
    role: RoleRef,
    environment: Option<EnvironmentId>,
}

/// What is done next.
pub struct Step {
    /// The command as the edge would submit it.
    pub submission: Submission,
    /// The most events that it can append.
    pub events_max: u64,
}

impl From<Submission> for Step {
    fn from(submission: Submission) -> Self {
        Self { submission, events_max: 1 }
    }
}

/// What whoever uses the store needs to know of an organization.
#[derive(Clone, Debug)]
pub struct Known {
    /// The organization.
    pub organization: OrganizationId,
    /// Its Owner.
    pub owner: UserId,
    /// Everybody, the Owner first.
    pub people: Vec<UserId>,
    /// The slug of each environment, and the keys of the values that are set there.
    pub environments: Vec<(String, Vec<String>)>,
}

impl Company {
    /// An organization that was founded just now.
    ///
    /// # Errors
    /// When its keys are not to be had.
    pub fn founded(store: &Store, handle: Arc<Handle>, dice: Dice) -> Result<Self> {
        let view = handle.view();
        let stream = handle.stream();
        let settings = view.organization();
        let general = settings.general.founded().context("the organization was founded")?;
        let key = store.ring().data_key(stream, general.key, general.commitment)?;
        let owner = settings.people.iter().next().context("the organization has its Owner")?;
        let owner = Person {
            id: owner.id,
            key: store.ring().data_key(stream, owner.key, owner.commitment)?,
            sessions: Vec::new(),
        };
        Ok(Self {
            id: general.organization,
            key,
            handle,
            dice,
            ahead: BEGINNING.iter().copied().collect(),
            keeps_names: false,
            people: vec![owner],
            suspended: None,
            invited: None,
            invited_after: None,
            has_domain: false,
            asking: None,
            gone: Vec::new(),
            environments: Vec::new(),
            made: 0,
            assignments: Vec::new(),
            teams: Vec::new(),
            roles: Vec::new(),
            secrets: Vec::new(),
            secrets_made: 0,
            keys: Vec::new(),
            clientele: Clientele::default(),
            apps: Vec::new(),
            connections: Vec::new(),
            connections_made: 0,
            apps_kept: BTreeSet::new(),
        })
    }

    /// From here on it, its people and its API keys are called as they are.
    pub fn keep_names(&mut self) {
        self.keeps_names = true;
    }

    /// Has things happen for certain, after its beginning and before the mix.
    pub fn plan(&mut self, kinds: &[Kind]) {
        self.ahead.extend(kinds);
    }

    /// What happens next, at a time, with at most so many events.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn next(&mut self, store: &Store, now: Timestamp, events_max: u64) -> Result<Step> {
        for person in &mut self.people {
            person.sessions.retain(|(_, since)| now.seconds_since(*since) < SESSION_SECONDS);
        }
        self.invited.take_if(|invited| invited.has_ended(now));
        let kind = match self.ahead.pop_front() {
            Some(kind) => kind,
            None => thrown(u32::try_from(self.dice.below(PER as usize))?),
        };
        let kind = self.possible(kind);
        let kind = if self.events_of(kind) <= events_max { kind } else { Kind::SetValue };
        let person = self.who(kind);
        match kind {
            Kind::FailLogIn => return Ok(self.fail_log_in(person).into()),
            Kind::UseKey => return Ok(self.use_key().into()),
            Kind::StartExecution => return Ok(self.start_execution()?.into()),
            Kind::FinishExecution => return Ok(self.finish_execution()?.into()),
            Kind::CountRequests => return Ok(self.count_requests(now).into()),
            Kind::Consent => return Ok(self.consent(now)?.into()),
            Kind::RefreshToken => return Ok(self.refresh_token(now)?.into()),
            Kind::FailRefresh => return Ok(self.fail_refresh(now)?.into()),
            Kind::LogIn => return Ok(self.log_in(person, now, &PlainToken::draw()).into()),
            _ => {}
        }
        // Whoever is no member yet has no session either.
        let comes = match kind {
            Kind::AcceptInvitation => self.accept(),
            Kind::DeclineInvitation => self.decline(),
            Kind::AskToJoin => Some(self.ask_to_join(store)?),
            _ => None,
        };
        if let Some(submission) = comes {
            return Ok(Step { submission, events_max: self.events_of(kind) });
        }
        let Some(actor) = self.in_session(person) else {
            // First things first; what was meant happens afterwards.
            self.ahead.push_front(kind);
            return Ok(self.log_in(person, now, &PlainToken::draw()).into());
        };
        self.act(kind, person, actor, store, now)
    }

    /// What whoever uses the store needs to know.
    pub fn known(&self) -> Known {
        let environment = |environment: &Environment| {
            (environment.slug.clone(), environment.keys.iter().map(|key| words::key(*key)).collect())
        };
        Known {
            organization: self.id,
            owner: self.people[0].id,
            people: self.people.iter().map(|person| person.id).collect(),
            environments: self.environments.iter().map(environment).collect(),
        }
    }

    /// Opens a session of the Owner with a token that is known.
    pub fn owners_session(&mut self, now: Timestamp, token: &PlainToken) -> Submission {
        self.people[0].sessions.clear();
        self.log_in(0, now, token)
    }

    /// The kind itself, or another where it cannot happen now.
    fn possible(&self, kind: Kind) -> Kind {
        let possible = match kind {
            Kind::UpdateOrganization | Kind::RenamePerson => !self.keeps_names,
            Kind::CreateEnvironment => self.environments.len() < ENVIRONMENTS_MAX,
            Kind::DeleteEnvironment => self.environments.len() > ENVIRONMENTS_KEPT,
            Kind::DeleteValue => self.values().next().is_some(),
            Kind::CreateSecret => self.secrets.len() < SECRETS_MAX,
            Kind::RevealSecret => !self.secrets.is_empty(),
            Kind::WriteSecret => self.secrets.iter().any(Secret::has_room),
            Kind::RollBackSecret => self.secrets.iter().any(Secret::can_go_back),
            Kind::DestroyValue => self.secrets.iter().any(Secret::has_earlier),
            Kind::Join => self.people.len() < PEOPLE_MAX,
            Kind::Invite => self.people.len() < PEOPLE_MAX && self.invited.is_none() && self.can_invite(),
            Kind::ResendInvitation
            | Kind::RevokeInvitation
            | Kind::AcceptInvitation
            | Kind::DeclineInvitation => self.invited.is_some(),
            Kind::AskToJoin if !self.has_domain => return Kind::SetDomain,
            Kind::AskToJoin => self.people.len() < PEOPLE_MAX && self.asking.is_none(),
            Kind::ApproveRequest | Kind::DeclineRequest => self.asking.is_some(),
            Kind::AssignRole | Kind::BeDenied => self.people.len() > 1,
            Kind::Leave | Kind::SuspendPerson | Kind::RemovePerson => self.people.len() > PEOPLE_KEPT,
            Kind::ErasePerson => !self.gone.is_empty(),
            Kind::UnassignRole => self.assignments.len() > 4,
            Kind::CreateTeam => self.teams.len() < TEAMS_MAX,
            Kind::AddMember => !self.teams.is_empty() && self.people.len() > 1,
            Kind::RemoveMember => self.teams.iter().any(|team| !team.members.is_empty()),
            Kind::CreateRole => self.roles.len() < ROLES_MAX,
            Kind::ChangeRole => !self.roles.is_empty(),
            Kind::CreateKey => self.keys.len() < KEYS_MAX,
            Kind::CreateCustomer => self.clientele.has_room(),
            Kind::UpdateCustomer | Kind::SuspendCustomer | Kind::SetDocument
                if !self.clientele.is_there() =>
            {
                return Kind::CreateCustomer;
            }
            Kind::DeleteCustomer | Kind::EraseCustomer => self.clientele.may_shrink(),
            Kind::DeleteDocument => self.clientele.has_documents(),
            Kind::StartExecution => self.clientele.may_begin() && !self.keys.is_empty(),
            Kind::FinishExecution => self.keys.iter().any(|(_, mode)| self.clientele.runs_in(*mode)),
            Kind::CreateApp => self.apps.len() < APPS_MAX,
            Kind::UpdateApp => !self.apps.is_empty(),
            Kind::DeleteApp => self.apps.iter().any(|app| !self.is_in_use(app.id)),
            Kind::CreateConnection => self.connections.len() < CONNECTIONS_MAX,
            Kind::Consent => self.connections.iter().any(Connected::waits),
            Kind::RefreshToken | Kind::FailRefresh => self.connections.iter().any(Connected::is_refreshed),
            Kind::RevokeConnection => !self.connections.is_empty(),
            Kind::RenameKey if self.keeps_names => false,
            Kind::RenameKey | Kind::RotateKey | Kind::RevokeKey | Kind::UseKey => !self.keys.is_empty(),
            _ => true,
        };
        match (possible, self.environments.is_empty()) {
            (true, false) => kind,
            (true, true) if !needs_an_environment(kind) => kind,
            (_, true) => Kind::CreateEnvironment,
            (false, false) => Kind::SetValue,
        }
    }

    /// The most events that it can append.
    fn events_of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::SetValues => VALUES_AT_ONCE as u64,
            // With it somebody joins and gets a role.
            Kind::AcceptInvitation | Kind::ApproveRequest => 3,
            // Each assignment that is limited to it may end with it, in an event of its own.
            Kind::DeleteEnvironment => {
                1 + self.assignments.iter().filter(|held| held.environment.is_some()).count() as u64
            }
            _ => 1,
        }
    }

    /// Who does it: somebody who may, or, to be denied, somebody who may not; rather somebody who is there already.
    fn who(&mut self, kind: Kind) -> usize {
        let able: Vec<usize> = match kind {
            Kind::SetValue
            | Kind::SetValues
            | Kind::DeleteValue
            | Kind::CreateSecret
            | Kind::WriteSecret
            | Kind::RevealSecret
            | Kind::RollBackSecret => self
                .assignments
                .iter()
                .filter(|held| {
                    held.role == RoleRef::System(SystemRole::Developer) && held.environment.is_none()
                })
                .map(|held| held.person)
                .chain([0])
                .collect(),
            Kind::BeDenied | Kind::Leave => (1..self.people.len()).collect(),
            Kind::LogIn | Kind::LogOut | Kind::RevokeSession | Kind::RenamePerson | Kind::FailLogIn => {
                (0..self.people.len()).collect()
            }
            _ => vec![0],
        };
        let there: Vec<_> =
            able.iter().copied().filter(|person| !self.people[*person].sessions.is_empty()).collect();
        let comes = matches!(kind, Kind::LogIn | Kind::FailLogIn) || there.is_empty();
        let among = if comes { able } else { there };
        among[self.dice.skewed_below(among.len())]
    }

    /// The values that can be deleted: the number of an environment, and a key.
    fn values(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let of = |(at, environment): (usize, &'_ Environment)| {
            environment.keys.iter().map(move |key| (at, *key)).collect::<Vec<_>>()
        };
        self.environments.iter().enumerate().flat_map(of).filter(|value| *value != (0, KEY_KEPT))
    }

    /// The actor in their newest session, if there is one.
    fn in_session(&self, person: usize) -> Option<Actor> {
        let person = &self.people[person];
        let (session, _) = person.sessions.last()?;
        Some(Actor { id: ActorId::Person(person.id), session: Some(*session) })
    }
}

fn needs_an_environment(kind: Kind) -> bool {
    matches!(kind, Kind::SetValue | Kind::SetValues | Kind::DescribeEnvironment | Kind::CreateSecret)
}
