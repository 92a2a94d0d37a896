//! `GET /v1/customers/{cus}/executions`, and how executions are found in history: by the index, which leads from a customer to
//! what began for it and from an execution to its end. Only what a page shows, and little else, is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::audit::query::point_in_time;
use crate::clock::Timestamp;
use crate::event::{Event, Outcome, Recorded, Version};
use crate::http::call::{Call, read_history};
use crate::http::page::{After, Filled, Page, PageParameters, PageRequest, json_bytes};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::RawQuery;
use crate::ids::{CustomerId, EnvironmentId, ExecutionId};
use crate::log::filter::{ActionPattern, Filter};
use crate::seal::{Plain, Sealed};
use crate::settings::customers::http::AtCustomer;
use crate::settings::executions::event::{ExecutionFinished, ExecutionStarted, ExecutionsEvent};
use crate::settings::executions::field;
use crate::settings::executions::http::{ExecutionBody, ExecutionStatus};
use crate::settings::executions::value::{Usage, WORKFLOW_MAX_CHARS};
use crate::settings::executions::workflows::{FIELD as WORKFLOW, Sought};
use crate::settings::roles::permission::Permission;
use crate::store::Store;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, View};

/// The most executions that one request looks at while it finds none to show. The page is empty then, and its cursor goes on.
const EXAMINED_MAX: usize = 500;

/// Which executions a list has.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExecutionFilters {
    /// Only those that run, or ended so.
    #[param(inline)]
    status: Option<ExecutionStatus>,
    /// Only those of this workflow.
    #[param(min_length = 1, max_length = 128)]
    workflow: Option<String>,
    /// Begun not before: an RFC 3339 time, or a date, which begins in the organization's time zone.
    from: Option<String>,
    /// Begun before: an RFC 3339 time, or a date.
    to: Option<String>,
}

/// The executions of a customer in the order in which they began, as far as the caller may see them.
///
/// A page can be empty and have a cursor: what is shown lies further on.
#[utoipa::path(get, path = "/v1/customers/{cus}/executions", tag = "executions",
    params(("cus" = CustomerId, Path), ExecutionFilters, PageParameters), responses(
    (status = 200, body = Page<ExecutionBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(AtCustomer { call, customer }: AtCustomer, query: RawQuery) -> Result<Response, Problem> {
    let (scope, list) = (call.organization.id.to_string(), format!("executions {customer}"));
    let request = call.app.cursors.request(&scope, &list, &query)?;
    let asking = Asking::read(&call, customer, &request)?;
    let call = Arc::new(call);
    let asker = Arc::clone(&call);
    let found = read_history(move || asking.page(&asker)).await?;
    let Found { filled, examined_to } = found;
    let (data, more) = filled.finish();
    let (rows, versions): (Vec<_>, Vec<_>) = data.into_iter().unzip();
    let last = if more { versions.last().copied() } else { examined_to };
    let next = |version: Version| {
        let after = After { last: version.to_string(), version: None };
        call.app.cursors.next(&scope, &list, &request, after)
    };
    let page = Page { data: rows, next_cursor: last.map(next) };
    Ok(call.list(&call.organization.view, &page))
}

/// What is asked for.
struct Asking {
    customer: CustomerId,
    after: Version,
    limit: usize,
    status: Option<ExecutionStatus>,
    workflow: Option<Sought>,
    filter: Filter,
}

/// What was found: rows with the versions at which they began, and how far was looked where nothing is to be shown yet.
struct Found {
    filled: Filled<(ExecutionBody, Version)>,
    examined_to: Option<Version>,
}

impl Asking {
    fn read(call: &Call, customer: CustomerId, request: &PageRequest) -> Result<Self, Problem> {
        let ExecutionFilters { status, workflow, from, to } = request.filters.parse()?;
        let is_name = |name: &String| (1..=WORKFLOW_MAX_CHARS).contains(&name.len());
        if !workflow.as_ref().is_none_or(is_name) {
            return Err(Problem::invalid_parameter("workflow", "invalid", "expected a workflow's name"));
        }
        let sought = |name| -> Result<Sought, Problem> {
            let key = call.app.store.key_of_customer(&call.organization.handle, customer)?;
            let key = key.ok_or_else(Problem::not_found)?;
            Ok(Sought::new(&key, name))
        };
        let workflow = workflow.map(sought).transpose()?;
        let timezone = call.settings().general.founded().map(|founded| founded.timezone.clone());
        let timezone = timezone.unwrap_or_default();
        let time = |name, value: Option<String>| match value {
            None => Ok(None),
            Some(text) => point_in_time(&text, &timezone).map(Some).ok_or_else(|| {
                Problem::invalid_parameter(name, "invalid", "expected an RFC 3339 time or a date")
            }),
        };
        let (from, to) = (time("from", from)?, time("to", to)?);
        // Nothing began for it before it was made.
        let made = call.settings().customers.get(customer).map(|customer| customer.created_at);
        let filter = Filter { from: from.max(made), to, ..begun(customer) };
        let after = request.after.as_ref().and_then(|after| after.last.parse().ok()).unwrap_or(0);
        Ok(Self { customer, after, limit: request.limit, status, workflow, filter })
    }

    /// A page of them. Blocks.
    fn page(&self, call: &Call) -> Result<Found, HistoryError> {
        let (store, handle, view) = (&call.app.store, &*call.organization.handle, &*call.organization.view);
        let mut filled = Filled::new(self.limit);
        let (mut after, mut examined) = (self.after, 0);
        loop {
            let versions = self.begun_after(store, handle, view, after)?;
            let Some(last) = versions.last().copied() else { return Ok(Found { filled, examined_to: None }) };
            examined += versions.len();
            for told in find(store, handle, view, &versions)? {
                if !self.wants(call, &told) {
                    continue;
                }
                let Ok(body) = told.body(call) else { continue };
                let version = told.version;
                if !filled.push(json_bytes(&body), (body, version)) {
                    return Ok(Found { filled, examined_to: None });
                }
            }
            after = last;
            if examined >= EXAMINED_MAX {
                return Ok(Found { filled, examined_to: Some(after) });
            }
        }
    }

    /// The versions of the next beginnings; those that run are known.
    fn begun_after(
        &self,
        store: &Store,
        handle: &Handle,
        view: &View,
        after: Version,
    ) -> Result<Vec<Version>, HistoryError> {
        // One more than a page has says whether there are more.
        let count = self.limit + 1;
        if self.status != Some(ExecutionStatus::Running) {
            return store.versions_after(handle, view, &self.filter, after, count);
        }
        let executions = &view.organization().executions;
        let running = executions.running_for(self.customer).map(|(version, _)| version);
        Ok(running.filter(|version| *version > after).take(count).collect())
    }

    fn wants(&self, call: &Call, told: &Told) -> bool {
        call.organization.grants.allows_in(Permission::ExecutionRead, told.environment())
            && self.status.is_none_or(|status| told.status() == status)
            && self.workflow.as_ref().is_none_or(|workflow| workflow.is_of(&told.started))
            && self.filter.from.is_none_or(|from| told.began.at >= from)
            && self.filter.to.is_none_or(|to| told.began.at < to)
    }
}

/// An execution as the log tells of it.
pub struct Told {
    began: Recorded,
    started: ExecutionStarted,
    version: Version,
    ended: Option<(Recorded, ExecutionFinished)>,
    runs: bool,
}

impl Told {
    /// The execution.
    pub fn id(&self) -> ExecutionId {
        self.started.execution
    }

    /// The version at which it began.
    pub fn began(&self) -> Version {
        self.version
    }

    /// For whom it is.
    pub fn customer(&self) -> CustomerId {
        self.started.customer
    }

    /// Where it is.
    pub fn environment(&self) -> EnvironmentId {
        self.started.environment
    }

    fn status(&self) -> ExecutionStatus {
        match &self.ended {
            Some((_, finished)) => finished.status.into(),
            None if self.runs => ExecutionStatus::Running,
            None => ExecutionStatus::Abandoned,
        }
    }

    /// The same, opened.
    ///
    /// # Errors
    /// 404 where its customer was erased meanwhile.
    pub fn body(&self, call: &Call) -> Result<ExecutionBody, Problem> {
        let (handle, ring) = (&call.organization.handle, call.app.store.ring());
        let view = handle.view();
        let whose = view.organization().customers.get(self.customer()).ok_or_else(Problem::not_found)?;
        let place = self.id().to_string();
        let finished = self.ended.as_ref().map(|(_, finished)| finished);
        let opened = handle.open_of_customer(whose.id, || {
            let key = ring.data_key(handle.stream(), whose.key, whose.commitment)?;
            let open = |name: &str, sealed: Option<&Sealed>| {
                sealed.map(|sealed| key.open(&field(handle.stream(), &place, name), sealed)).transpose()
            };
            Ok((
                open(WORKFLOW, self.started.workflow.as_ref())?,
                open("trigger", self.started.trigger.as_ref())?,
                open("error", finished.and_then(|finished| finished.error.as_ref()))?,
                open("usage", finished.and_then(|finished| finished.usage.as_ref()))?,
            ))
        });
        let (workflow, trigger, error, usage) = opened?.ok_or_else(Problem::not_found)?;
        let text = |plain: Plain| plain.as_str().map(ToOwned::to_owned).map_err(|_| Problem::internal());
        let figures =
            |plain: Plain| serde_json::from_slice::<Usage>(plain.as_bytes()).map_err(|_| Problem::internal());
        let finished_at = self.ended.as_ref().map(|(recorded, _)| recorded.at);
        let took =
            finished_at.map(|at| (at.micros() - self.began.at.micros()).max(0).cast_unsigned() / 1_000);
        Ok(ExecutionBody {
            id: self.id(),
            customer: self.customer(),
            environment: self.environment(),
            workflow: workflow.map(text).transpose()?.unwrap_or_else(|| self.started.workflow_id.clone()),
            trigger: trigger.map(text).transpose()?,
            status: self.status(),
            error: error.map(text).transpose()?,
            duration_ms: finished.and_then(|finished| finished.duration_ms).or(took),
            usage: usage.map(figures).transpose()?,
            started_at: self.began.at,
            finished_at,
            version: self.ended.as_ref().map_or(self.version, |(recorded, _)| recorded.version),
        })
    }
}

/// The events by which something began for a customer.
fn begun(customer: CustomerId) -> Filter {
    of("execution.start", vec![customer.to_string()])
}

fn of(action: &str, resources: Vec<String>) -> Filter {
    Filter {
        actions: vec![ActionPattern::Exact(action.to_owned())],
        resources,
        outcomes: vec![Outcome::Success],
        ..Filter::default()
    }
}

/// The executions that began with these versions, in their order, with their ends up to the view's version. Blocks.
fn find(
    store: &Store,
    handle: &Handle,
    view: &View,
    versions: &[Version],
) -> Result<Vec<Told>, HistoryError> {
    let began = store.recorded(handle, view, versions)?.into_iter().filter_map(|recorded| {
        let Event::Executions(ExecutionsEvent::ExecutionStarted(started)) = &recorded.event else {
            return None;
        };
        Some((started.clone(), recorded))
    });
    let began: Vec<(ExecutionStarted, Recorded)> = began.collect();
    let executions = &view.organization().executions;
    let runs: BTreeSet<ExecutionId> = began
        .iter()
        .map(|(started, _)| started.execution)
        .filter(|id| executions.get(*id).is_some())
        .collect();
    // Those that run have no end: looking for one would go through all of the index behind them.
    let ids: Vec<String> = began
        .iter()
        .map(|(started, _)| started.execution)
        .filter(|id| !runs.contains(id))
        .map(|id| id.to_string())
        .collect();
    let mut ends = BTreeMap::new();
    if let (Some(first), false) = (versions.first(), ids.is_empty()) {
        let count = ids.len();
        let ended = store.versions_after(handle, view, &of("execution.finish", ids), *first, count)?;
        for recorded in store.recorded(handle, view, &ended)? {
            if let Event::Executions(ExecutionsEvent::ExecutionFinished(finished)) = &recorded.event {
                ends.insert(finished.execution, (recorded.clone(), finished.clone()));
            }
        }
    }
    let told = began.into_iter().map(|(started, began)| Told {
        version: began.version,
        runs: runs.contains(&started.execution),
        ended: ends.remove(&started.execution),
        began,
        started,
    });
    Ok(told.collect())
}

/// Which execution is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one with an id.
    Id(ExecutionId),
    /// The one that began with a version.
    Began(Version),
}

/// How much earlier than its id says something may have been recorded: more than a clock runs ahead unnoticed.
const CLOCK_SECONDS: i64 = 900;

/// A customer's execution as of a version, if there is one. Blocks.
///
/// # Errors
/// When the history cannot be read.
pub fn find_one(
    store: &Store,
    handle: &Handle,
    customer: CustomerId,
    which: Which,
    version: Version,
) -> Result<Option<Told>, HistoryError> {
    let view = handle.view();
    let began = match which {
        Which::Began(began) => vec![began],
        Which::Id(id) => match view.organization().executions.get(id) {
            Some(running) => vec![running.version],
            None => {
                // Its id says when it was minted: of the index before that nothing is looked at, unless the log's time
                // stands still behind the clock that ids are minted by.
                let from = minted_at(id).map(|at| at.plus_seconds(-CLOCK_SECONDS));
                let from = from.filter(|from| *from <= view.head.at);
                let filter = Filter { from, ..of("execution.start", vec![id.to_string()]) };
                store.versions_before(handle, &view, &filter, Version::MAX, 1)?
            }
        },
    };
    let mut found = find(store, handle, &view, &began)?;
    let told = found.pop().filter(|told| told.customer() == customer);
    Ok(told.map(|told| told.until(version)))
}

impl Told {
    /// The same as it was at a version, at which it had begun.
    fn until(mut self, version: Version) -> Self {
        if self.ended.as_ref().is_some_and(|(recorded, _)| recorded.version > version) {
            self.ended = None;
            self.runs = true;
        }
        self
    }
}

/// When an id was minted.
fn minted_at(id: ExecutionId) -> Option<Timestamp> {
    let (seconds, nanos) = id.uuid().get_timestamp()?.to_unix();
    Some(Timestamp::from_micros(i64::try_from(seconds).ok()? * 1_000_000 + i64::from(nanos) / 1_000))
}
