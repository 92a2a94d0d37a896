//! `/v1/access/explain`: who may do something, or could at some point in time, by which grants; and who did.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::actor::ActorId;
use crate::audit::facets::{Facets, UserCount};
use crate::audit::row::{RowUser, Rows};
use crate::clock::Timestamp;
use crate::event::{Outcome, Version};
use crate::history::description::Focus;
use crate::history::readable;
use crate::http::access::{Access, Row};
use crate::http::app::App;
use crate::http::as_of::AsOfParameters;
use crate::http::call::{Call, read_history};
use crate::http::environment::visible;
use crate::http::page::{After, PageParameters, PageRequest};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::RawQuery;
use crate::http::routes;
use crate::ids::{CustomerId, EnvironmentId, RoleAssignmentId, TeamId};
use crate::log::filter::{ActionPattern, Filter};
use crate::organization::Organization;
use crate::settings::api_keys::projection::Status;
use crate::settings::environments::event::Mode;
use crate::settings::roles::access::{Extent, Grants, Held, Source, grants, sources};
use crate::settings::roles::http::RoleName;
use crate::settings::roles::permission::Permission;
use crate::settings::roles::role::{Grantee, RoleRef};

/// Who is asked about, and what they would do.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExplainParameters {
    /// The id of a person or an API key; everybody who may, where it is absent.
    subject: Option<String>,
    /// What they would do, as `resource:verb`.
    #[param(value_type = String)]
    permission: Permission,
    /// In which environment, by id or slug; the whole organization, where nothing else is said.
    environment: Option<String>,
    /// To which thing: its id, or `<environment's id>/<KEY>` for a configuration value.
    resource: Option<String>,
}

/// Who may do something, and why.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessExplanation)]
pub struct ExplanationBody {
    /// What they would do.
    #[schema(value_type = String)]
    pub permission: Permission,
    /// The environment that was asked about.
    pub environment: Option<EnvironmentId>,
    /// The thing that was asked about.
    pub resource: Option<String>,
    /// Whether the subject may; null where everybody was asked about.
    #[schema(required)]
    pub allowed: Option<bool>,
    /// The subject, or everybody who may: people by id, then API keys by id.
    pub data: Vec<ExplainedBody>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// Who did it to the resource until then; null without a resource, and for whoever may not search the audit log.
    #[schema(required)]
    pub did: Option<DidBody>,
}

/// Somebody, and what allows it to them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessOf)]
pub struct ExplainedBody {
    /// Who, by their name as of now.
    pub subject: RowUser,
    /// Every grant that allows it, or a part of it; none where it is not allowed.
    pub grants: Vec<GrantBody>,
}

/// A grant that allows something.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessGrant)]
pub struct GrantBody {
    /// The role.
    pub role: RoleName,
    /// The assignment that gave it; null of a key, which has its role for ever.
    pub assignment: Option<RoleAssignmentId>,
    /// The team that has it, where the subject has it as a member of one.
    pub team: Option<TeamName>,
    /// How far it holds.
    pub scope: ScopeBody,
}

/// A team by id and name.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeamName {
    /// The team.
    pub id: TeamId,
    /// Its name.
    pub name: String,
}

/// How far a grant holds: in the whole organization where both are null.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessScope)]
pub struct ScopeBody {
    /// In this environment.
    pub environment: Option<EnvironmentId>,
    /// In all environments of this mode.
    pub mode: Option<Mode>,
}

/// Who did something to a resource, and how often.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessDid)]
pub struct DidBody {
    /// Those of most events first: at most a thousand.
    pub users: Vec<UserCount>,
    /// How many events there are in all, which the audit log has one by one.
    pub total: u64,
    /// Whether there are more than those told.
    pub more: bool,
}

/// Who may do something, or could, by which grants; and who did.
#[utoipa::path(get, path = "/v1/access/explain", tag = "roles",
    params(ExplainParameters, PageParameters, AsOfParameters), responses(
    (status = 200, body = ExplanationBody), (status = "4XX", body = ProblemBody)))]
pub async fn explain(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let scope = call.organization.id.to_string();
    let (request, asked) = call.asked_page(&app.cursors, &scope, "access", &query).await?;
    let parameters: ExplainParameters = asked.query.parse()?;
    let now = call.time_of(&asked).await?;
    let then = call.state(&asked).await?;
    let question = Question::new(&call, parameters, then.organization(), now)?;
    let (store, handle) = (app.store.clone(), Arc::clone(&call.organization.handle));
    let (view, at) = (Arc::clone(&call.organization.view), asked.at);
    let audits = call.organization.grants.allows(Permission::AuditRead);
    let body = read_history(move || {
        let mut rows = Rows::new(&store, &handle, &view);
        let (data, next) = question.answer(then.organization(), &request, &mut rows);
        let cursor = |last: ActorId| {
            let after = After { last: last.to_string(), version: at };
            app.cursors.next(&scope, "access", &request, after)
        };
        let did = match question.filter(at).filter(|_| audits) {
            Some(filter) => {
                Some(DidBody::from(Facets::of(store.facets(&handle, &view, &filter)?, &mut rows)))
            }
            None => None,
        };
        let next_cursor = next.map(cursor);
        Ok(ExplanationBody {
            permission: question.permission,
            environment: question.environment,
            allowed: question.subject.map(|subject| question.is_allowed(then.organization(), subject)),
            resource: question.resource,
            data,
            next_cursor,
            did,
        })
    })
    .await?;
    Ok(asked.mark(call.list(&call.organization.view, &body)))
}

impl From<Facets> for DidBody {
    fn from(facets: Facets) -> Self {
        Self { users: facets.users, total: facets.total, more: facets.more.contains(&"users") }
    }
}

/// What is asked, of an organization as it was.
struct Question {
    subject: Option<ActorId>,
    permission: Permission,
    environment: Option<EnvironmentId>,
    resource: Option<String>,
    /// As far as all of these the permission would have to hold.
    extents: Vec<Extent>,
    /// The customer whose thing it is, whom a key that is limited to others does not reach.
    customer: Option<CustomerId>,
    /// Whether only programs do what it allows.
    for_programs: bool,
    /// The actions that are recorded of whoever does it.
    actions: Vec<&'static str>,
    /// When.
    now: Timestamp,
}

impl Question {
    /// What the caller may not see is as what is not there.
    fn new(
        call: &Call,
        parameters: ExplainParameters,
        then: &Organization,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let ExplainParameters { subject, permission, environment, resource } = parameters;
        let subject = subject.map(|text| subject_of(&text)).transpose()?;
        let unknown = |parameter, message| Problem::invalid_parameter(parameter, "unknown", message);
        let environment = match environment {
            None => None,
            Some(named) => {
                let found = visible(call, &then.environments, &named);
                Some(found.ok_or_else(|| unknown("environment", "there is no such environment"))?)
            }
        };
        let mut extents: Vec<Extent> = environment.map(Extent::Environment).into_iter().collect();
        let mut customer = None;
        if let Some(resource) = &resource {
            customer = customer_of(then, resource);
            let reached = customer.is_none_or(|customer| call.organization.grants.reaches(customer));
            let of = extents_of(then, resource).filter(|of| reached && sees(call, resource, of));
            extents.extend(of.ok_or_else(|| unknown("resource", "there is no such thing"))?);
        }
        if extents.is_empty() {
            extents.push(Extent::Organization);
        }
        let rows: Vec<Row> = routes().into_iter().map(|route| route.row).collect();
        let rows = || rows.iter().filter(|row| row.access.permission() == Some(permission));
        let for_programs = rows().count() > 0 && rows().all(|row| matches!(row.access, Access::Program(_)));
        // What is read is recorded where it is a secret's value; else only that somebody was denied.
        let done = rows().map(|row| row.attempt).filter(|action| !action.ends_with(".read"));
        let actions = done.chain(for_programs.then_some("secret.read")).collect();
        Ok(Self { subject, permission, environment, resource, extents, customer, for_programs, actions, now })
    }

    /// Whether somebody may.
    fn is_allowed(&self, then: &Organization, subject: ActorId) -> bool {
        let allowed = || {
            let grants = grants(then, subject);
            grants.allows_at(self.permission, &self.extents)
                && self.customer.is_none_or(|customer| grants.reaches(customer))
        };
        is_accepted(then, subject, self.now)
            && (!self.for_programs || matches!(subject, ActorId::ApiKey(_)))
            && allowed()
    }

    /// The grants that allow it to somebody who may.
    fn grants(&self, then: &Organization, subject: ActorId) -> Vec<GrantBody> {
        let counts = |held: Held| {
            let grants = Grants::of(then, [held]);
            self.extents.iter().any(|extent| grants.at(*extent).contains(self.permission))
        };
        let sources = sources(then, subject).into_iter().filter(|(_, held)| counts(*held));
        sources.filter_map(|(source, (extent, _))| grant(then, source, extent)).collect()
    }

    /// A page of the answer, and where the next one goes on.
    fn answer(
        &self,
        then: &Organization,
        request: &PageRequest,
        rows: &mut Rows,
    ) -> (Vec<ExplainedBody>, Option<ActorId>) {
        let mut explained = |subject| {
            let allowed = self.is_allowed(then, subject);
            let grants = if allowed { self.grants(then, subject) } else { Vec::new() };
            ExplainedBody { subject: rows.user(subject), grants }
        };
        if let Some(subject) = self.subject {
            return (vec![explained(subject)], None);
        }
        let after = request.after.as_ref().and_then(|after| after.last.parse::<ActorId>().ok());
        let people = then.people.iter().map(|person| ActorId::Person(person.id));
        let keys = then.api_keys.after(None).map(|(id, _)| ActorId::ApiKey(*id));
        let rest = people.chain(keys).filter(|subject| after.is_none_or(|after| *subject > after));
        let mut allowed = rest.filter(|subject| self.is_allowed(then, *subject));
        let page: Vec<ActorId> = allowed.by_ref().take(request.limit).collect();
        let next = page.last().copied().filter(|_| allowed.next().is_some());
        (page.into_iter().map(&mut explained).collect(), next)
    }

    /// Which events say that it was done to the resource, up to a version.
    fn filter(&self, until: Option<Version>) -> Option<Filter> {
        let resource = self.resource.clone()?;
        let exact = |action: &&str| ActionPattern::Exact((*action).to_owned());
        let actions = self.actions.iter().map(exact).collect();
        let filter = Filter {
            actions,
            resources: vec![resource],
            outcomes: vec![Outcome::Success],
            until,
            ..Filter::default()
        };
        // Without an action nothing is meant, where a filter without any would mean all.
        Some(filter).filter(|filter| !filter.actions.is_empty())
    }
}

fn subject_of(text: &str) -> Result<ActorId, Problem> {
    match text.parse() {
        Ok(subject @ (ActorId::Person(_) | ActorId::ApiKey(_))) => Ok(subject),
        Ok(ActorId::Account(_) | ActorId::System | ActorId::Operator) | Err(_) => {
            let message = "expected the id of a person or an API key";
            Err(Problem::invalid_parameter("subject", "invalid", message))
        }
    }
}

/// Whether somebody is let in at all.
fn is_accepted(then: &Organization, subject: ActorId, now: Timestamp) -> bool {
    match subject {
        ActorId::Person(person) => then.people.active(person).is_some(),
        ActorId::ApiKey(key) => then.api_keys.get(key).is_some_and(|key| key.status(now) == Status::Active),
        ActorId::Account(_) | ActorId::System | ActorId::Operator => false,
    }
}

/// How far a permission has to hold to do something to a thing; `None` if there is no such thing.
fn extents_of(then: &Organization, resource: &str) -> Option<Vec<Extent>> {
    let whole = |is_there: bool| is_there.then(|| vec![Extent::Organization]);
    let id = match readable::focus(resource)? {
        Focus::Named(id, _) | Focus::Resource(id) => id,
        Focus::All | Focus::Actions(_) => return None,
    };
    if let Ok(environment) = id.parse() {
        then.environments.get(environment)?;
        return Some(vec![Extent::Environment(environment)]);
    }
    if let Ok(key) = id.parse() {
        return then.api_keys.get(key).map(|key| key.extents());
    }
    if let Ok(secret) = id.parse() {
        let environment = then.secrets.get(secret)?.scope.environment();
        return Some(vec![Extent::of(environment)]);
    }
    if let Ok(connection) = id.parse() {
        let environment = then.connections.get(connection)?.scope.environment();
        return Some(vec![Extent::of(environment)]);
    }
    if let Ok(app) = id.parse() {
        return whole(then.oauth_apps.get(app).is_some());
    }
    if let Ok(customer) = id.parse() {
        return whole(then.customers.get(customer).is_some());
    }
    if let Ok(RoleRef::Custom(role)) = id.parse() {
        return whole(then.roles.get(role).is_some());
    }
    if let Ok(assignment) = id.parse() {
        return whole(then.roles.assignment(assignment).is_some());
    }
    match id.parse::<Grantee>() {
        Ok(Grantee::Person(person)) => whole(then.people.get(person).is_some()),
        Ok(Grantee::Team(team)) => whole(then.teams.get(team).is_some()),
        Err(_) => whole(then.general.founded().is_some_and(|founded| founded.organization.to_string() == id)),
    }
}

/// The customer that a thing is, or is of.
fn customer_of(then: &Organization, resource: &str) -> Option<CustomerId> {
    let id = resource.split_once('/').map_or(resource, |(id, _)| id);
    let of_secret = || then.secrets.get(id.parse().ok()?)?.scope.customer();
    let of_connection = || then.connections.get(id.parse().ok()?)?.scope.customer();
    id.parse().ok().or_else(of_secret).or_else(of_connection)
}

/// Whether the caller may see a thing that these extents are of.
fn sees(call: &Call, resource: &str, extents: &[Extent]) -> bool {
    let (id, kind) = match resource.split_once('/') {
        Some((id, _)) => (id, Some(readable::named_in(id))),
        None => (resource, None),
    };
    let mut reads = [readable::kind_of(id), kind].into_iter().flatten().map(readable::permission);
    reads.all(|read| read.is_some_and(|read| call.organization.grants.allows_at(read, extents)))
}

fn grant(then: &Organization, source: Source, extent: Extent) -> Option<GrantBody> {
    let (role, assignment, grantee) = match source {
        Source::Assignment(id, grantee, role) => (role, Some(id), Some(grantee)),
        Source::Key(role) => (role, None, None),
        Source::System => return None,
    };
    let team = match grantee {
        Some(Grantee::Team(id)) => then.teams.get(id).map(|team| TeamName { id, name: team.name.clone() }),
        Some(Grantee::Person(_)) | None => None,
    };
    let (environment, mode) = match extent {
        Extent::Organization => (None, None),
        Extent::Mode(mode) => (None, Some(mode)),
        Extent::Environment(environment) => (Some(environment), None),
    };
    let role = RoleName::of(&then.roles, role)?;
    Some(GrantBody { role, assignment, team, scope: ScopeBody { environment, mode } })
}
