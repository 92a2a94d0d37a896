//! `/v1/customers/{cus}/executions`: beginning, ending and showing executions. Lists of them are in `listing.rs` beside this.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::event::Version;
use crate::http::access::Denial;
use crate::http::app::App;
use crate::http::call::{Call, read_history};
use crate::http::environment::by_id_or_slug;
use crate::http::patch::not_null;
use crate::http::path::PathText;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, RawQuery};
use crate::ids::{CustomerId, EnvironmentId, ExecutionId, Fresh};
use crate::seal::{DataKey, Plain, Sealed};
use crate::settings::customers::http::AtCustomer;
use crate::settings::executions::command::{ExecutionsCommand, FinishExecution, StartExecution};
use crate::settings::executions::event::Ending;
use crate::settings::executions::field;
use crate::settings::executions::told::{Told, Which, find_one, key_of};
use crate::settings::executions::value::{FIGURE_MAX, Failure, Trigger, Usage, Workflow};
use crate::settings::executions::workflows::named;
use crate::settings::roles::permission::Permission;

/// An execution.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Execution)]
pub struct ExecutionBody {
    /// The execution.
    pub id: ExecutionId,
    /// For whom.
    pub customer: CustomerId,
    /// In which environment.
    pub environment: EnvironmentId,
    /// Of which workflow.
    pub workflow: String,
    /// What set it off.
    pub trigger: Option<String>,
    /// Whether it runs, or how it ended.
    pub status: ExecutionStatus,
    /// What went wrong.
    pub error: Option<String>,
    /// How long it took, in milliseconds: as whoever ran it measured, or from its beginning to its end.
    pub duration_ms: Option<u64>,
    /// What it used: figures by name.
    pub usage: Option<Usage>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The stream version of its last change.
    pub version: Version,
}

/// Whether an execution runs, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionStatus {
    /// It runs.
    Running,
    /// It did what it was to do.
    Succeeded,
    /// It did not.
    Failed,
    /// Somebody ended it.
    Cancelled,
    /// Its customer or its environment went while it ran.
    Abandoned,
}

impl From<Ending> for ExecutionStatus {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Succeeded => Self::Succeeded,
            Ending::Failed => Self::Failed,
            Ending::Cancelled => Self::Cancelled,
        }
    }
}

/// An execution that begins.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExecution {
    /// Of which workflow.
    workflow: Workflow,
    /// In which environment, by id or slug.
    environment: String,
    /// What sets it off.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    trigger: Option<Trigger>,
}

/// How an execution ended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionEnd {
    /// How.
    status: Ending,
    /// What went wrong.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    error: Option<Failure>,
    /// How long it took, in milliseconds.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    duration_ms: Option<u64>,
    /// What it used: at most 20 figures by name.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    usage: Option<Usage>,
}

/// Begins an execution. For a suspended customer none begins (403 `customer_suspended`). What is said of it, its workflow's
/// name as well, is forgotten with the customer; how it ended and how long it took is not.
#[utoipa::path(post, path = "/v1/customers/{cus}/executions", tag = "executions", request_body = NewExecution,
    params(("cus" = CustomerId, Path)), responses(
    (status = 201, body = ExecutionBody), (status = "4XX", body = ProblemBody)))]
pub async fn start(AtCustomer { call, customer }: AtCustomer, _: NoParameters) -> Result<Response, Problem> {
    let new: NewExecution = call.body().parse()?;
    let environment = environment(&call, &new.environment).await?;
    let sealing = Sealing::of(&call, customer, Fresh.id())?;
    let command = StartExecution {
        execution: sealing.execution,
        customer,
        environment,
        workflow: named(sealing.stream, sealing.execution, &sealing.key, new.workflow.as_str()),
        trigger: new.trigger.as_ref().map(|trigger| sealing.seal("trigger", trigger.as_str())),
    };
    let done = call.submit(ExecutionsCommand::Start(command), StatusCode::CREATED).await?;
    // A replay shows the execution that the first request began, which has another id.
    let told = told(&call, customer, Which::Began(done.version), done.version).await?;
    let location = format!("/v1/customers/{customer}/executions/{}", told.id());
    let body = told.body(sealing.stream, &sealing.key)?;
    Ok(call.done(&done, StatusCode::CREATED, done.version, Some(location), &body))
}

/// The environment of this id or slug that a body names, if the caller may start something there.
async fn environment(call: &Call, named: &str) -> Result<EnvironmentId, Problem> {
    let unknown = || Problem::invalid_field("/environment", "unknown", "there is no such environment");
    let found = by_id_or_slug(&call.settings().environments, named).ok_or_else(unknown)?;
    if call.caller.mode().is_some_and(|mode| mode != found.mode) {
        return Err(call.refuse_in(Denial::WrongMode, found.id).await);
    }
    let may = call.organization.grants.allows_in(Permission::ExecutionWrite, found.id);
    if may { Ok(found.id) } else { Err(unknown()) }
}

/// An execution.
#[utoipa::path(get, path = "/v1/customers/{cus}/executions/{exe}", tag = "executions",
    params(("cus" = CustomerId, Path), ("exe" = ExecutionId, Path)), responses(
    (status = 200, body = ExecutionBody), (status = "4XX", body = ProblemBody)))]
pub async fn show(at: AtExecution, query: RawQuery) -> Result<Response, Problem> {
    let NoParameters {} = query.parse()?;
    let key = key_of(&at.call, at.told.customer())?;
    let body = at.told.body(at.call.organization.handle.stream(), &key)?;
    Ok(at.call.resource(StatusCode::OK, &at.call.organization.view, body.version, &body))
}

/// Ends an execution, once: 409 `execution_finished` where it ended before, however long ago, or was abandoned.
#[utoipa::path(post, path = "/v1/customers/{cus}/executions/{exe}/finish", tag = "executions",
    request_body = ExecutionEnd, params(("cus" = CustomerId, Path), ("exe" = ExecutionId, Path)), responses(
    (status = 200, body = ExecutionBody), (status = "4XX", body = ProblemBody)))]
pub async fn finish(at: AtExecution, _: NoParameters) -> Result<Response, Problem> {
    let AtExecution { call, told } = at;
    let end: ExecutionEnd = call.body().parse()?;
    if end.duration_ms.is_some_and(|duration| duration > FIGURE_MAX) {
        return Err(Problem::invalid_field("/duration_ms", "invalid", "expected at most 2^53 - 1"));
    }
    let usage = end.usage.as_ref().map(Usage::text).transpose();
    let usage = usage.map_err(|error| Problem::invalid_field("/usage", "invalid", error.to_string()))?;
    let sealing = Sealing::of(&call, told.customer(), told.id())?;
    let command = FinishExecution {
        execution: told.id(),
        customer: told.customer(),
        environment: told.environment(),
        over: told.is_over().then(|| told.version()),
        status: end.status,
        error: end.error.as_ref().map(|error| sealing.seal("error", error.as_str())),
        duration_ms: end.duration_ms,
        usage: usage.map(|usage| sealing.seal("usage", &usage)),
    };
    let done = call.submit(ExecutionsCommand::Finish(command), StatusCode::OK).await?;
    let told = self::told(&call, told.customer(), Which::Began(told.began()), done.version).await?;
    let body = told.body(sealing.stream, &sealing.key)?;
    Ok(call.done(&done, StatusCode::OK, done.version, None, &body))
}

/// What seals for an execution.
struct Sealing {
    key: Arc<DataKey>,
    stream: crate::ids::StreamId,
    execution: ExecutionId,
}

impl Sealing {
    fn of(call: &Call, customer: CustomerId, execution: ExecutionId) -> Result<Self, Problem> {
        Ok(Self { key: key_of(call, customer)?, stream: call.organization.handle.stream(), execution })
    }

    fn seal(&self, name: &str, text: &str) -> Sealed {
        self.key.seal(&field(self.stream, &self.execution.to_string(), name), &Plain::from(text))
    }
}

/// A call about an execution in an environment where the caller holds the route's permission.
pub struct AtExecution {
    call: Call,
    told: Told,
}

impl FromRequestParts<App> for AtExecution {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let AtCustomer { call, customer } = AtCustomer::from_request_parts(parts, app).await?;
        let path = PathText::from_request_parts(parts, app).await?;
        let id: ExecutionId = path.second().parse().map_err(|_| Problem::not_found())?;
        let told = told(&call, customer, Which::Id(id), call.organization.view.version()).await?;
        let environment = told.environment();
        if !call.organization.grants.allows_in(Permission::ExecutionRead, environment) {
            return Err(Problem::not_found());
        }
        if let Some(permission) = call.row().access.permission() {
            call.require_in(permission, environment).await?;
        }
        Ok(Self { call, told })
    }
}

/// A customer's execution as of a version.
async fn told(call: &Call, customer: CustomerId, which: Which, version: Version) -> Result<Told, Problem> {
    let (store, handle) = (call.app.store.clone(), Arc::clone(&call.organization.handle));
    let found = read_history(move || find_one(&store, &handle, customer, which, version)).await?;
    found.ok_or_else(Problem::not_found)
}
