//! `/v1/environments/{env}/diff/{other}` and `/v1/environments/{env}/promote`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::command::{Command, OrganizationCommand};
use crate::event::Version;
use crate::history::description::Focus;
use crate::history::restore::StepBody;
use crate::history::restore::plan::Step;
use crate::history::restore::run::TRIES_MAX;
use crate::history::restore::sealing::seal_anew;
use crate::http::as_of::AsOfParameters;
use crate::http::call::Call;
use crate::http::environment::{environment, visible};
use crate::http::page::{After, Filled, PageParameters, json_bytes};
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{EnvironmentId, Fresh};
use crate::organization::Organization;
use crate::promotion::command::PromoteEnvironment;
use crate::promotion::difference::{Content, Kind, Pair, Presence, config, connections, oauth_apps, secrets};
use crate::promotion::{Seen, Unpromotable, Wanted, plan};
use crate::seal::keyring::{KeyError, NewDataKey};
use crate::settings::connections::projection::Connections;
use crate::settings::environments::http::{behind_path, find_asked};
use crate::settings::environments::projection::Environments;
use crate::settings::environments::value::ConfigKey;
use crate::settings::roles::permission::Permission;
use crate::settings::secrets::projection::Secrets;
use crate::store::resident::View;
use crate::store::{Done, Refusal};

/// A page of what two environments have.
#[derive(Serialize, ToSchema)]
pub struct EnvironmentDiffPage {
    /// The first environment.
    pub a: EnvironmentId,
    /// The second one.
    pub b: EnvironmentId,
    /// Each thing that one of them has, by kind and name.
    pub data: Vec<PairBody>,
    /// Kinds of things that are left out, because the caller may not read them in both.
    pub omitted: Vec<Kind>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// A thing that one or both environments have.
#[derive(Serialize, ToSchema)]
#[schema(as = EnvironmentPair)]
pub struct PairBody {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Which of the two have it.
    pub presence: Presence,
    /// Whether both have the same value; of secrets, whether they have copies of one, for values are never compared.
    pub in_sync: bool,
    /// A configuration value in the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub a: Option<Box<RawValue>>,
    /// A configuration value in the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub b: Option<Box<RawValue>>,
}

/// Which things are told.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiffFilters {
    /// Only those that are in sync, or only those that are not.
    in_sync: Option<bool>,
}

/// What is to be carried over.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPromotion {
    /// The environment that it is to go to, by id or slug.
    to: String,
    /// Names of configuration values.
    #[serde(default)]
    config: Vec<ConfigKey>,
    /// Names of secrets.
    #[serde(default)]
    secrets: Vec<ConfigKey>,
    /// Whether only the plan is wanted. Its `ETag` can be the promotion's `If-Match`.
    #[serde(default)]
    dry_run: bool,
}

/// What a promotion did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Promoted {
    /// The organization's version: after what was appended, or of what the plan was made from.
    pub version: Version,
    /// The steps; absent where this answers a repeated request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub steps: Option<Vec<StepBody>>,
}

impl PairBody {
    fn new(kind: Kind, name: &str, pair: &Pair) -> Result<Self, Problem> {
        let value = |content: &Option<Content>| match content {
            // Only canonical JSON text is ever recorded as a value.
            Some(Content::Value(text)) => RawValue::from_string(text.to_string()).map(Some),
            Some(Content::Origin(_) | Content::Setup(_)) | None => Ok(None),
        };
        Ok(Self {
            kind,
            name: name.to_owned(),
            presence: pair.presence(),
            in_sync: pair.in_sync(),
            a: value(&pair.a).map_err(|_| Problem::internal())?,
            b: value(&pair.b).map_err(|_| Problem::internal())?,
        })
    }
}

/// What two environments have: configuration by value, secrets by where their values came from.
#[utoipa::path(get, path = "/v1/environments/{env}/diff/{other}", tag = "environments",
    params(("env" = String, Path, description = "Its id or slug"),
    ("other" = String, Path, description = "The other's id or slug"), DiffFilters, PageParameters, AsOfParameters),
    responses((status = 200, body = EnvironmentDiffPage), (status = "4XX", body = ProblemBody)))]
pub async fn diff(path: PathText, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let (scope, list) =
        (call.organization.id.to_string(), format!("diff {} {}", path.first(), path.second()));
    let asked = call.asked_page(&call.app.cursors, &scope, &list, &query).await;
    let (request, asked) = match asked {
        Ok(asked) => asked,
        Err(problem) => {
            let permission = Permission::EnvironmentRead;
            return Err(behind_path(&call, &query, path.first(), permission, problem).await);
        }
    };
    let a = find_asked(&call, &asked, path.first(), Permission::EnvironmentRead).await?;
    let b = find_asked(&call, &asked, path.second(), Permission::EnvironmentRead).await?;
    let DiffFilters { in_sync } = asked.query.parse()?;
    let environments = call.seen::<Environments>(&asked, Focus::All).await?;
    let stored = call.seen::<Secrets>(&asked, Focus::All).await?;
    let both = |permission| [a, b].iter().all(|id| call.organization.grants.allows_in(permission, *id));
    let (mut pairs, mut omitted) = (BTreeMap::new(), Vec::new());
    match (environments.get(a), environments.get(b)) {
        (Some(a), Some(b)) if both(Permission::ConfigRead) => pairs.extend(config(a, b)),
        _ => omitted.push(Kind::Config),
    }
    if both(Permission::SecretRead) {
        pairs.extend(secrets(&stored, a, b));
    } else {
        omitted.push(Kind::Secret);
    }
    let linked = call.seen::<Connections>(&asked, Focus::All).await?;
    let sees_connections = both(Permission::ConnectionRead);
    if sees_connections {
        pairs.extend(connections(&linked, a, b));
    } else {
        omitted.push(Kind::Connection);
    }
    if sees_connections && call.organization.grants.allows(Permission::OauthAppRead) {
        pairs.extend(oauth_apps(&linked, a, b));
    } else {
        omitted.push(Kind::OauthApp);
    }
    let after = request.after.as_ref().and_then(|after| Place::read(&after.last));
    let after = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut filled = Filled::new(request.limit);
    for ((kind, name), pair) in pairs.range((after, Bound::Unbounded)) {
        if in_sync.is_some_and(|wanted| wanted != pair.in_sync()) {
            continue;
        }
        let body = PairBody::new(*kind, name, pair)?;
        if !filled.push(json_bytes(&body), body) {
            break;
        }
    }
    let page = call.app.cursors.filled(&scope, &list, &request, filled, |last| After {
        last: Place::write(last.kind, &last.name),
        version: asked.at,
    });
    let (data, next_cursor) = (page.data, page.next_cursor);
    let body = EnvironmentDiffPage { a, b, data, omitted, next_cursor };
    Ok(environments.mark(call.list(&call.organization.view, &body)))
}

/// Where a page ends: a kind's initial, and a name.
struct Place;

impl Place {
    fn write(kind: Kind, name: &str) -> String {
        match kind {
            Kind::Config => format!("c{name}"),
            Kind::Secret => format!("s{name}"),
            Kind::Connection => format!("n{name}"),
            Kind::OauthApp => format!("a{name}"),
        }
    }

    fn read(text: &str) -> Option<(Kind, String)> {
        let kind = match text.chars().next()? {
            'c' => Kind::Config,
            's' => Kind::Secret,
            'n' => Kind::Connection,
            _ => Kind::OauthApp,
        };
        text.get(1..).map(|name| (kind, name.to_owned()))
    }
}

/// Carries configuration and secrets over to another environment, all at once; or tells what that would come to.
#[utoipa::path(post, path = "/v1/environments/{env}/promote", tag = "environments", request_body = NewPromotion,
    params(("env" = String, Path, description = "The id or slug of the environment that they are in")), responses(
    (status = 200, body = Promoted), (status = "4XX", body = ProblemBody)))]
pub async fn promote(path: PathText, call: Call, _: NoParameters) -> Result<Response, Problem> {
    let from = environment(&call, path.first(), Permission::EnvironmentRead).await?.id;
    let new: NewPromotion = call.body().parse()?;
    let to = visible(&call, &call.settings().environments, &new.to).filter(|to| *to != from);
    let to = to.ok_or_else(|| {
        Problem::invalid_field("/to", "unknown", "there is no such environment beside the first")
    })?;
    call.require_in(Permission::ConfigWrite, to).await?;
    if !new.config.is_empty() {
        call.require_in(Permission::ConfigRead, from).await?;
    }
    if !new.secrets.is_empty() {
        call.require_in(Permission::SecretReveal, from).await?;
        call.require_in(Permission::SecretWrite, to).await?;
    }
    let wanted = Wanted { from, to, config: once(new.config), secrets: once(new.secrets) };
    if !new.dry_run && call.is_repeated() {
        // What the plan was then is not kept, and none is made of what is now: the answer is the version.
        let nothing = wanted.command(call.settings(), Vec::new())?;
        let done = call.submit(promotion(nothing), StatusCode::OK).await?;
        if done.replay.is_some() {
            return Ok(answer(&call, &done, None));
        }
    }
    let mut tries = 1;
    loop {
        let handle = &call.organization.handle;
        let seen = handle.view().version();
        let planned = match make_plan(&call, &wanted).await {
            // A value may have been destroyed since the state was read; a newer state knows.
            Err(Unplanned::Key(_)) if tries < TRIES_MAX => {
                tries += 1;
                handle.beyond(seen).await;
                continue;
            }
            Err(Unplanned::Refused(problem)) if problem.status() == StatusCode::CONFLICT && !new.dry_run => {
                call.check_seen(handle.view().organization().revision.version())?;
                return Err(problem);
            }
            planned => planned?,
        };
        let Planned { view, command, keys } = planned;
        let steps: Vec<StepBody> = command.steps.iter().map(StepBody::from).collect();
        let done = if new.dry_run {
            call.rehearse(promotion(command), keys.into()).await
        } else {
            call.submit_sealed(promotion(command), keys, StatusCode::OK).await
        };
        match done {
            Err(problem) if problem.code() == "stale" && tries < TRIES_MAX => tries += 1,
            done if new.dry_run => {
                done?;
                let revision = view.organization().revision.version();
                let body = Promoted { version: view.version(), steps: Some(steps) };
                return Ok(call.resource(StatusCode::OK, &view, revision, &body));
            }
            done => return Ok(answer(&call, &done?, Some(steps))),
        }
    }
}

/// The answer to what was done; of a repeated request the steps are not known.
fn answer(call: &Call, done: &Done, steps: Option<Vec<StepBody>>) -> Response {
    let steps = steps.filter(|_| done.replay.is_none());
    let body = Promoted { version: done.version, steps };
    call.done(done, StatusCode::OK, done.view.organization().revision.version(), None, &body)
}

fn promotion(command: PromoteEnvironment) -> Command {
    Command::Organization(OrganizationCommand::Promote(command))
}

/// Each name once.
fn once(names: Vec<ConfigKey>) -> Vec<ConfigKey> {
    let mut known = BTreeSet::new();
    names.into_iter().filter(|name| known.insert(name.clone())).collect()
}

/// A plan, the state that it was made from, and the keys of the copies in it.
struct Planned {
    view: Arc<View>,
    command: PromoteEnvironment,
    keys: Vec<NewDataKey>,
}

impl Wanted {
    fn command(&self, state: &Organization, steps: Vec<Step>) -> Result<PromoteEnvironment, Problem> {
        let seen = Seen::of(state, self.from, self.to).ok_or_else(Problem::not_found)?;
        let (config, secrets) = (!self.config.is_empty(), !self.secrets.is_empty());
        Ok(PromoteEnvironment { from: self.from, to: self.to, config, secrets, seen, steps })
    }
}

/// A plan from the newest state, made on a thread that may block.
async fn make_plan(call: &Call, wanted: &Wanted) -> Result<Planned, Unplanned> {
    let (store, handle) = (call.app.store.clone(), Arc::clone(&call.organization.handle));
    let wanted = wanted.clone();
    let planned = tokio::task::spawn_blocking(move || {
        let view = handle.view();
        let steps = plan(view.organization(), &wanted, || Fresh.id()).map_err(Problem::from)?;
        let mut command = wanted.command(view.organization(), steps)?;
        let keys = seal_anew(&mut command.steps, view.stream, store.ring()).map_err(Unplanned::Key)?;
        let keys = keys.ok_or_else(|| Problem::from(Refusal::TooLarge))?;
        Ok(Planned { view, command, keys })
    });
    planned.await.map_err(Problem::from)?
}

/// Why there is no plan.
enum Unplanned {
    /// A value could not be sealed anew.
    Key(KeyError),
    /// The request is refused.
    Refused(Problem),
}

impl From<Problem> for Unplanned {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<Unplanned> for Problem {
    fn from(unplanned: Unplanned) -> Self {
        match unplanned {
            Unplanned::Key(error) => error.into(),
            Unplanned::Refused(problem) => problem,
        }
    }
}

impl From<Unpromotable> for Problem {
    fn from(unpromotable: Unpromotable) -> Self {
        let unknown = |list: &str, place: usize| {
            let message = "the environment has nothing of this name";
            Self::invalid_field(format!("/{list}/{place}"), "unknown", message)
        };
        match unpromotable {
            Unpromotable::Config(place) => unknown("config", place),
            Unpromotable::Secret(place) => unknown("secrets", place),
            Unpromotable::Rejected(rejection) => Refusal::Rejected(rejection).into(),
        }
    }
}
