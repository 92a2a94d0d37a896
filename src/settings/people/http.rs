//! `/v1/people`: who belongs to the organization and who did, over HTTP, and what others decide about them.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::clock::Timestamp;
use crate::event::Version;
use crate::history::description::Focus;
use crate::http::app::App;
use crate::http::as_of::{AsOfParameters, Asked, Seen};
use crate::http::call::Call;
use crate::http::input::Nothing;
use crate::http::page::{After, Filled, Page, PageParameters, PageRequest, json_bytes};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{TeamId, UserId};
use crate::platform::accounts::departure::end_membership;
use crate::seal::Plain;
use crate::seal::keyring::KeyRing;
use crate::settings::people::command::PeopleCommand;
use crate::settings::people::projection::{People, Person, Status};
use crate::settings::people::{ERASED, open_email, open_name};
use crate::settings::teams::projection::Teams;
use crate::store::Done;
use crate::store::called::Names;
use crate::store::resident::Handle;

/// The longest text to search for, in characters.
const Q_MAX_CHARS: usize = 254;

/// A person as the rest of the organization sees them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrganizationPerson)]
pub struct PersonBody {
    /// The person.
    pub id: UserId,
    /// Their name; `erased person` once they were erased.
    pub name: String,
    /// Their e-mail address; null once they were erased.
    pub email: Option<String>,
    /// What they are to the organization.
    pub status: Status,
    /// When they joined.
    pub created_at: Timestamp,
    /// When they last changed.
    pub updated_at: Timestamp,
    /// The stream version of their last change.
    pub version: Version,
}

/// Which people a list has.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PeopleFilters {
    /// Only these; members, suspended or not, where absent.
    #[param(inline)]
    status: Option<Status>,
    /// Only those who are in this team.
    #[param(value_type = Option<String>)]
    team: Option<TeamId>,
    /// Only those with this in their name or address, whatever its letter case. Not together with `as_of`.
    #[param(min_length = 1, max_length = 254)]
    q: Option<String>,
}

/// A call about somebody who is a member or was one.
pub struct AtPerson {
    call: Call,
    person: UserId,
}

impl FromRequestParts<App> for AtPerson {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = PathText::from_request_parts(parts, app).await?;
        let call = Call::from_request_parts(parts, app).await?;
        let person = named(&path)?;
        call.settings().people.ever(person).ok_or_else(Problem::not_found)?;
        Ok(Self { call, person })
    }
}

/// People, by id.
#[utoipa::path(get, path = "/v1/people", tag = "people",
    params(PeopleFilters, PageParameters, AsOfParameters), responses(
    (status = 200, body = Page<PersonBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, cursors) = (call.organization.id.to_string(), &call.app.cursors);
    let (request, asked) = call.asked_page(cursors, &scope, "people", &query).await?;
    let filters: PeopleFilters = asked.query.parse()?;
    let wanted = Wanted::new(&call, &asked, filters).await?;
    let people = call.seen::<People>(&asked, Focus::All).await?;
    let (handle, store) = (Arc::clone(&call.organization.handle), call.app.store.clone());
    let page = request.clone();
    // Whoever searches first opens everybody.
    let found = tokio::task::spawn_blocking(move || {
        let mut names = store.called().of(handle.stream());
        let opener = Opener { handle: &handle, ring: store.ring() };
        let filled = wanted.among(&people, &page, &opener, &mut names)?;
        store.called().keep(&handle, names);
        Ok::<_, Problem>((people, filled))
    });
    let (people, filled) = found.await??;
    let page = cursors.filled(&scope, "people", &request, filled, |last| After {
        last: last.id.to_string(),
        version: asked.at,
    });
    Ok(people.mark(call.list(&call.organization.view, &page)))
}

/// A member of the organization.
#[utoipa::path(get, path = "/v1/people/{usr}", tag = "people",
    params(("usr" = UserId, Path), AsOfParameters), responses(
    (status = 200, body = PersonBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let id = named(&path)?;
    let is_there = |people: &People| people.get(id).is_some();
    let (asked, people) = call.seen_at::<People>(&query, Focus::Resource(id.to_string()), is_there).await?;
    let NoParameters {} = asked.query.parse()?;
    let person = people.get(id).ok_or_else(Problem::not_found)?;
    let body = Opener::of(&call).open(person)?.body(person);
    Ok(call.seen_resource(&people, person.version, &body))
}

/// Makes a member one no more: their roles, teams and sessions here end at once. Whoever wants to go leaves instead
/// (409 `yourself`), and somebody stays who owns the organization (409 `last_owner`).
#[utoipa::path(delete, path = "/v1/people/{usr}", tag = "people", params(("usr" = UserId, Path)), responses(
    (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(AtPerson { call, person }: AtPerson, _: NoParameters) -> Result<Response, Problem> {
    let done = call.submit(PeopleCommand::Remove(person), StatusCode::NO_CONTENT).await?;
    end_membership(&call.app, call.organization.id, person).await;
    Ok(call.no_content(&done))
}

/// Keeps a member out until they are let in again: their rights and their sessions here end at once. Nobody suspends
/// themselves (409 `yourself`) or the last Owner (409 `last_owner`).
#[utoipa::path(post, path = "/v1/people/{usr}/suspend", tag = "people", params(("usr" = UserId, Path)),
    responses((status = 200, body = PersonBody), (status = "4XX", body = ProblemBody)))]
pub async fn suspend(AtPerson { call, person }: AtPerson, _: NoParameters) -> Result<Response, Problem> {
    let Nothing {} = call.body().parse()?;
    let done = call.submit(PeopleCommand::Suspend(person), StatusCode::OK).await?;
    answer(&call, &done, person)
}

/// Lets a suspended member in again, with the roles and teams that they have.
#[utoipa::path(post, path = "/v1/people/{usr}/reactivate", tag = "people", params(("usr" = UserId, Path)),
    responses((status = 200, body = PersonBody), (status = "4XX", body = ProblemBody)))]
pub async fn reactivate(AtPerson { call, person }: AtPerson, _: NoParameters) -> Result<Response, Problem> {
    let Nothing {} = call.body().parse()?;
    let done = call.submit(PeopleCommand::Reactivate(person), StatusCode::OK).await?;
    answer(&call, &done, person)
}

/// Forgets, for ever, what the organization knows of somebody who is a member, and then is none any more, or was one.
/// What they did stays, as an erased person's. Nobody erases themselves (409 `yourself`) or the last Owner (409 `last_owner`).
#[utoipa::path(post, path = "/v1/people/{usr}/erase", tag = "people", params(("usr" = UserId, Path)),
    responses((status = 200, body = PersonBody), (status = "4XX", body = ProblemBody)))]
pub async fn erase(AtPerson { call, person }: AtPerson, _: NoParameters) -> Result<Response, Problem> {
    let Nothing {} = call.body().parse()?;
    let done = call.submit(PeopleCommand::Erase(person), StatusCode::OK).await?;
    end_membership(&call.app, call.organization.id, person).await;
    answer(&call, &done, person)
}

/// The person after a command.
fn answer(call: &Call, done: &Done, id: UserId) -> Result<Response, Problem> {
    let person = done.view.organization().people.ever(id).ok_or_else(Problem::not_found)?;
    let body = Opener::of(call).open(person)?.body(person);
    Ok(call.done(done, StatusCode::OK, person.version, None, &body))
}

fn named(path: &PathText) -> Result<UserId, Problem> {
    path.first().parse().map_err(|_| Problem::not_found())
}

/// Opens what is sealed of people, whose state may be of any time: who was erased since is erased in it, too.
struct Opener<'a> {
    handle: &'a Handle,
    ring: &'a KeyRing,
}

/// What a person is called, and where they get mail; nothing of who was erased.
struct Opened(Option<(String, String)>);

impl<'a> Opener<'a> {
    fn of(call: &'a Call) -> Self {
        Self { handle: &call.organization.handle, ring: call.app.store.ring() }
    }

    fn open(&self, person: &Person) -> Result<Opened, Problem> {
        let stream = self.handle.stream();
        let opened = self.handle.open_of_person(person.id, || {
            Ok((open_name(stream, person, self.ring)?, open_email(stream, person, self.ring)?))
        });
        Ok(Opened(match opened? {
            Some((name, email)) => Some((text(&name)?, text(&email)?)),
            None => None,
        }))
    }

    /// Whether name or address of a person has this, in lower case, in it; nothing of who was erased does.
    fn is_called(&self, person: &Person, q: &str, names: &mut Names) -> Result<bool, Problem> {
        if let Some(has) = names.have(person, q) {
            return Ok(has);
        }
        let Opened(Some((name, email))) = self.open(person)? else { return Ok(false) };
        names.learn(person, &name, &email);
        Ok(names.have(person, q).unwrap_or_default())
    }
}

fn text(plain: &Plain) -> Result<String, Problem> {
    plain.as_str().map(ToOwned::to_owned).map_err(|_| Problem::internal())
}

impl Opened {
    fn body(self, person: &Person) -> PersonBody {
        let (name, email) = match self.0 {
            Some((name, email)) => (name, Some(email)),
            None => (ERASED.to_owned(), None),
        };
        PersonBody {
            id: person.id,
            name,
            email,
            status: person.status,
            created_at: person.created_at,
            updated_at: person.updated_at,
            version: person.version,
        }
    }
}

/// Who is wanted.
struct Wanted {
    status: Option<Status>,
    members: Option<Vec<UserId>>,
    q: Option<String>,
}

impl Wanted {
    async fn new(call: &Call, asked: &Asked, filters: PeopleFilters) -> Result<Self, Problem> {
        let PeopleFilters { status, team, q } = filters;
        if q.as_ref().is_some_and(|q| !(1..=Q_MAX_CHARS).contains(&q.chars().count())) {
            return Err(Problem::invalid_parameter(
                "q",
                "invalid",
                "expected a part of a name or an address",
            ));
        }
        if q.is_some() && asked.at.is_some() {
            let message = "names and addresses are searched as they are, not as they were";
            return Err(Problem::invalid_parameter("q", "not_with_as_of", message));
        }
        let members = match team {
            None => None,
            Some(team) => {
                let teams = call.seen::<Teams>(asked, Focus::Resource(team.to_string())).await?;
                if teams.get(team).is_none() {
                    return Err(Problem::invalid_parameter("team", "unknown", "there is no such team"));
                }
                Some(teams.members(team).collect())
            }
        };
        Ok(Self { status, members, q: q.map(|q| q.to_lowercase()) })
    }

    /// A page of those among all.
    fn among(
        &self,
        people: &Seen<People>,
        request: &PageRequest,
        opener: &Opener<'_>,
        names: &mut Names,
    ) -> Result<Filled<PersonBody>, Problem> {
        let after = request.after.as_ref().and_then(|after| after.last.parse::<UserId>().ok());
        let all: Box<dyn Iterator<Item = &Person>> = match self.status {
            None | Some(Status::Active | Status::Suspended) => Box::new(people.iter()),
            Some(Status::Removed | Status::Erased) => Box::new(people.former()),
        };
        let mut filled = Filled::new(request.limit);
        for person in all.filter(|person| after.is_none_or(|after| person.id > after) && self.wants(person)) {
            if let Some(q) = &self.q
                && !opener.is_called(person, q, names)?
            {
                continue;
            }
            let body = opener.open(person)?.body(person);
            if !filled.push(json_bytes(&body), body) {
                break;
            }
        }
        Ok(filled)
    }

    fn wants(&self, person: &Person) -> bool {
        self.status.is_none_or(|status| person.status == status)
            // They are in their order.
            && self.members.as_ref().is_none_or(|members| members.binary_search(&person.id).is_ok())
    }
}
