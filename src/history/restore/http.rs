//! `/v1/restore`: settings brought back, first as a dry run.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::command::Command;
use crate::event::Version;
use crate::history::description::{Focus, Subject};
use crate::history::readable;
use crate::history::restore::command::RestoreSettings;
use crate::history::restore::plan::Cannot;
use crate::history::restore::{PointInTime, Restored, TRIES_MAX, Wanted, environment_of, prepare};
use crate::http::app::App;
use crate::http::call::{Call, read_history};
use crate::http::patch::not_null;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::settings::general::event::RestoredScope;
use crate::settings::roles::permission::Permission;
use crate::store::resident::{Handle, View};

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
    /// One thing, by id; a configuration value as `<environment's id>/<KEY>`.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    resource: Option<String>,
}

/// Brings settings back, all at once, by ordinary events; or tells what that would come to.
#[utoipa::path(post, path = "/v1/restore", tag = "history", request_body = NewRestore, responses(
    (status = 200, body = Restored), (status = "4XX", body = ProblemBody)))]
pub async fn restore(State(app): State<App>, call: Call, query: RawQuery) -> Result<Response, Problem> {
    let NoParameters {} = query.parse()?;
    call.require(Permission::HistoryRead).await?;
    let new: NewRestore = call.body().parse()?;
    let as_of =
        call.version_at(new.as_of, |code, message| Problem::invalid_field("/as_of", code, message)).await?;
    let wanted = wanted(&app, &call, &new, as_of).await?;
    if !new.dry_run && !call.has_if_match() {
        return Err(Problem::precondition_required());
    }
    let mut tries = 1;
    loop {
        let view = call.organization.handle.view();
        let (command, cannot) = plan(&app, &call.organization.handle, &view, &wanted).await?;
        check_readable(&call, &command, &cannot).await?;
        if new.dry_run {
            let (version, revision) = (view.version(), command.revision);
            let body = Restored::new(version, &command, &cannot);
            call.rehearse(command).await?;
            return Ok(call.resource(StatusCode::OK, &view, revision, &body));
        }
        let done = match call.submit(Command::from(command.clone()), StatusCode::OK).await {
            Err(problem) if problem.code() == "stale" && tries < TRIES_MAX => {
                tries += 1;
                continue;
            }
            result => result?,
        };
        let body = match done.replay {
            // What the plan was then is not kept: the answer is the version.
            Some(replay) => Restored { version: replay.version, steps: None, cannot: None },
            None => Restored::new(done.version, &command, &cannot),
        };
        let revision = done.view.organization().revision.version();
        return Ok(call.done(&done, StatusCode::OK, revision, None, &body));
    }
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
            (RestoredScope::Resource, focus)
        }
        _ => {
            let message = "expected one of organization (true), environment and resource";
            return Err(Problem::invalid_field("/scope", "invalid", message));
        }
    };
    Ok(Wanted { as_of, scope, focus, include_access: new.include_access })
}

async fn plan(
    app: &App,
    handle: &Arc<Handle>,
    view: &Arc<View>,
    wanted: &Wanted,
) -> Result<(RestoreSettings, Vec<Cannot>), Problem> {
    let (store, handle) = (app.store.clone(), Arc::clone(handle));
    let (view, wanted) = (Arc::clone(view), wanted.clone());
    read_history(move || prepare(&store, &handle, &view, &wanted)).await
}

/// A plan shows what was and what is: whoever may not read a thing may not learn of it by restoring.
async fn check_readable(call: &Call, command: &RestoreSettings, cannot: &[Cannot]) -> Result<(), Problem> {
    let told =
        command.steps.iter().map(|step| &step.subject).chain(cannot.iter().map(|cannot| &cannot.subject));
    for Subject { kind, id, .. } in told {
        if let Err(readable::Unreadable { missing }) = readable::check(&call.organization.grants, *kind, id) {
            let missing = missing.ok_or_else(Problem::not_found)?;
            return match id.parse() {
                Ok(environment) => call.require_in(missing, environment).await,
                Err(_) => call.require(missing).await,
            };
        }
    }
    Ok(())
}
