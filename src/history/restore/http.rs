//! `/v1/restore`: settings brought back, first as a dry run.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::command::Command;
use crate::event::Version;
use crate::history::description::Focus;
use crate::history::http::is_known;
use crate::history::readable::{self, Hidden};
use crate::history::restore::command::RestoreSettings;
use crate::history::restore::run::{Failed, Restorer, run};
use crate::history::restore::{Planned, PointInTime, Restored, Wanted, environment_of};
use crate::http::app::App;
use crate::http::call::{Call, read_history};
use crate::http::patch::not_null;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::settings::customer_data::keys;
use crate::settings::general::event::RestoredScope;
use crate::settings::roles::access::Grants;
use crate::settings::roles::permission::Permission;
use crate::store::Done;

/// What is to be brought back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRestore {
    /// As of when: an RFC 3339 time or a stream's version.
    as_of: PointInTime,
    /// What of the settings.
    scope: NewScope,
    /// Whether grants of roles are to be as they were too; only an Owner may.
    #[serde(default)]
    include_access: bool,
    /// Whether only the plan is wanted. Its `ETag` is what the restore's `If-Match` is to be.
    #[serde(default)]
    dry_run: bool,
}

/// What of the settings is to be brought back: one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewScope {
    /// True: all of them.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    organization: Option<bool>,
    /// One environment with its configuration, by id or slug.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    environment: Option<String>,
    /// One thing, by id; a configuration value as `<environment's id>/<KEY>`, a document as `<customer's id>/<key>`. 404
    /// where there is and was no such thing.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    resource: Option<String>,
}

impl NewScope {
    /// Refuses a thing that is not there for the caller and never was, as a question about it would be.
    async fn require_known(&self, app: &App, call: &Call) -> Result<(), Problem> {
        let Some(focus) = self.resource.as_deref().and_then(readable::focus) else { return Ok(()) };
        let focus = keys::found_by(&app.store, &call.organization.handle, focus)?;
        if is_known(app, call, focus).await? { Ok(()) } else { Err(Problem::not_found()) }
    }
}

/// Brings settings back, all at once, by ordinary events; or tells what that would come to.
#[utoipa::path(post, path = "/v1/restore", tag = "history", request_body = NewRestore, responses(
    (status = 200, body = Restored), (status = "4XX", body = ProblemBody)))]
pub async fn restore(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let NoParameters {} = query.parse()?;
    call.require(Permission::HistoryRead).await?;
    let new: NewRestore = call.body().parse()?;
    if !new.dry_run && call.is_repeated() {
        // What the plan was then is not kept, and none is made of what is now: the answer is the version.
        let revision = call.organization.view.organization().revision.version();
        let nothing = RestoreSettings::of_nothing(call.organization.view.version(), revision);
        let done = call.submit(Command::from(nothing), StatusCode::OK).await?;
        if done.replay.is_some() {
            return Ok(answer(&call, &done, None));
        }
    }
    new.scope.require_known(&app, &call).await?;
    let as_of =
        call.version_at(new.as_of, |code, message| Problem::invalid_field("/as_of", code, message)).await?;
    let wanted = wanted(&app, &call, &new, as_of).await?;
    if !new.dry_run && !call.has_if_match() {
        return Err(Problem::precondition_required());
    }
    let request = Request { call: &call, dry_run: new.dry_run };
    let ran = run(&app.store, &call.organization.handle, &wanted, &request).await;
    let (planned, done) = match ran {
        Ok(ran) => ran,
        Err(failed) => return Err(problem(&call, failed).await),
    };
    if new.dry_run {
        let Planned { view, command, cannot, .. } = &planned;
        let body = Restored::new(view.version(), command, cannot);
        return Ok(call.resource(StatusCode::OK, view, command.revision, &body));
    }
    Ok(answer(&call, &done, Some(&planned)))
}

/// The answer to what was done. Of another request in flight with the same key the plan is not known.
fn answer(call: &Call, done: &Done, planned: Option<&Planned>) -> Response {
    let body = match (done.replay, planned) {
        (None, Some(planned)) => Restored::new(done.version, &planned.command, &planned.cannot),
        _ => Restored { version: done.version, steps: None, cannot: None },
    };
    call.done(done, StatusCode::OK, done.view.organization().revision.version(), None, &body)
}

/// A caller who restores.
struct Request<'a> {
    call: &'a Call,
    dry_run: bool,
}

impl Restorer for Request<'_> {
    type Refusal = Problem;

    fn grants(&self) -> &Grants {
        &self.call.organization.grants
    }

    async fn attempt(&self, planned: &Planned) -> Result<Done, Problem> {
        let command = Command::from(planned.command.clone());
        let brought = planned.brought.clone();
        if self.dry_run {
            self.call.rehearse(command, brought).await
        } else {
            self.call.submit_with(command, brought, StatusCode::OK).await
        }
    }

    fn is_stale(problem: &Problem) -> bool {
        problem.code() == "stale"
    }
}

/// Whoever may not read a thing may not learn of it by restoring; that they tried is recorded.
async fn problem(call: &Call, failed: Failed<Problem>) -> Problem {
    let Hidden { missing, environment } = match failed {
        Failed::Unprepared(error) => return error.into(),
        Failed::Panicked(error) => return error.into(),
        Failed::Refused(problem) => return problem,
        Failed::Hidden(hidden) => hidden,
    };
    let denied = match (missing, environment) {
        (None, _) => Ok(()),
        (Some(missing), Some(environment)) => call.require_in(missing, environment).await,
        (Some(missing), None) => call.require(missing).await,
    };
    denied.err().unwrap_or_else(Problem::not_found)
}

async fn wanted(app: &App, call: &Call, new: &NewRestore, as_of: Version) -> Result<Wanted, Problem> {
    let NewScope { organization, environment, resource } = &new.scope;
    let (scope, focus) = match (organization, environment, resource) {
        (Some(true), None, None) => (RestoredScope::Organization, Focus::All),
        (None, Some(text), None) => {
            let (store, view, text) = (app.store.clone(), Arc::clone(&call.organization.view), text.clone());
            let handle = Arc::clone(&call.organization.handle);
            let found = read_history(move || {
                let past = store.as_of(&handle, as_of)?;
                Ok(environment_of(past.organization(), view.organization(), &text))
            });
            let environment = found.await?.ok_or_else(|| {
                Problem::invalid_field(
                    "/scope/environment",
                    "unknown",
                    "there is and was no such environment",
                )
            })?;
            (RestoredScope::Environment, Focus::Resource(environment.to_string()))
        }
        (None, None, Some(text)) => {
            let focus = readable::focus(text).ok_or_else(|| {
                Problem::invalid_field("/scope/resource", "invalid", "expected the id of a setting")
            })?;
            (RestoredScope::Resource, keys::found_by(&app.store, &call.organization.handle, focus)?)
        }
        _ => {
            let message = "expected one of organization (true), environment and resource";
            return Err(Problem::invalid_field("/scope", "invalid", message));
        }
    };
    Ok(Wanted { as_of, scope, focus, include_access: new.include_access })
}
