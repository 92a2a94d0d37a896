//! `GET /v1/customers/{cus}/executions`: which executions a list has, found by the index, which leads from a customer to what
//! began for it, and to what ended how.

use std::sync::Arc;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::audit::query::point_in_time;
use crate::clock::Timestamp;
use crate::event::Version;
use crate::http::call::{Call, read_history};
use crate::http::page::{After, Filled, LONGEST_PAGE, Page, PageParameters, PageRequest, json_bytes};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::RawQuery;
use crate::ids::CustomerId;
use crate::log::filter::Filter;
use crate::seal::DataKey;
use crate::settings::customers::http::AtCustomer;
use crate::settings::executions::event::Ending;
use crate::settings::executions::http::{ExecutionBody, ExecutionStatus};
use crate::settings::executions::told::{Told, find, find_ended, key_of, of};
use crate::settings::executions::value::WORKFLOW_MAX_CHARS;
use crate::settings::executions::workflows::Sought;
use crate::settings::roles::permission::Permission;
use crate::store::history::HistoryError;

/// The most executions that one request looks at while it finds none to show. The page is empty then, and its cursor goes on.
const EXAMINED_MAX: usize = 500;

/// Which executions a list has.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExecutionFilters {
    /// Only those that run, or ended so. Those that ended come in the order in which they did.
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
/// A page can be empty and have a cursor: what is shown lies further on. Go on until `next_cursor` is null.
#[utoipa::path(get, path = "/v1/customers/{cus}/executions", tag = "executions",
    params(("cus" = CustomerId, Path), ExecutionFilters, PageParameters), responses(
    (status = 200, body = Page<ExecutionBody>), (status = "4XX", body = ProblemBody)))]
pub async fn list(AtCustomer { call, customer }: AtCustomer, query: RawQuery) -> Result<Response, Problem> {
    let (scope, list) = (call.organization.id.to_string(), format!("executions {customer}"));
    let request = call.app.cursors.request(&scope, &list, &query)?;
    let asking = Asking::read(&call, customer, &request)?;
    let (from, to) = (asking.from, asking.to);
    let call = Arc::new(call);
    let asker = Arc::clone(&call);
    let Found { filled, examined_to } = read_history(move || Ok(asking.page(&asker))).await??;
    let (data, more) = filled.finish();
    let (rows, versions): (Vec<_>, Vec<_>) = data.into_iter().unzip();
    let last = if more { versions.last().copied() } else { examined_to };
    let next = |after| call.app.cursors.next(&scope, &list, &request, Place { after, from, to }.cursor());
    let page = Page { data: rows, next_cursor: last.map(next) };
    Ok(call.list(&call.organization.view, &page))
}

/// In which order, and by what, executions are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    /// Those that run, which are in memory.
    Running,
    /// By how they ended, in the order in which they did.
    Ended(Ending),
    /// All that began.
    Begun,
}

impl Walk {
    fn of(status: Option<ExecutionStatus>) -> Self {
        match status {
            Some(ExecutionStatus::Running) => Self::Running,
            Some(ExecutionStatus::Succeeded) => Self::Ended(Ending::Succeeded),
            Some(ExecutionStatus::Failed) => Self::Ended(Ending::Failed),
            Some(ExecutionStatus::Cancelled) => Self::Ended(Ending::Cancelled),
            Some(ExecutionStatus::Abandoned) | None => Self::Begun,
        }
    }
}

/// Where a page ends: a date of the first page means the same time on the next.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Place {
    after: Version,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
}

impl Place {
    fn cursor(&self) -> After {
        After { last: serde_json::to_string(self).unwrap_or_default(), version: None }
    }

    fn read(after: &After) -> Option<Self> {
        serde_json::from_str(&after.last).ok()
    }
}

/// What is asked for.
struct Asking {
    customer: CustomerId,
    key: Arc<DataKey>,
    after: Version,
    limit: usize,
    status: Option<ExecutionStatus>,
    walk: Walk,
    workflow: Option<Sought>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    filter: Filter,
}

/// What was found: rows with the versions that they were found by, and how far was looked where nothing is to be shown yet.
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
        let key = key_of(call, customer)?;
        let workflow = workflow.map(|name| Sought::new(&key, name));
        let timezone = call.settings().general.founded().map(|founded| founded.timezone.clone());
        let timezone = timezone.unwrap_or_default();
        let time = |name, value: Option<String>| match value {
            None => Ok(None),
            Some(text) => point_in_time(&text, &timezone).map(Some).ok_or_else(|| {
                Problem::invalid_parameter(name, "invalid", "expected an RFC 3339 time or a date")
            }),
        };
        let (from, to) = (time("from", from)?, time("to", to)?);
        let place = request.after.as_ref().and_then(Place::read);
        let Place { after, from, to } = place.unwrap_or(Place { after: 0, from, to });
        let mut asking = Self {
            customer,
            key,
            after,
            limit: request.limit,
            status,
            walk: Walk::of(status),
            workflow,
            from,
            to,
            filter: Filter::default(),
        };
        // Nothing began for it before it was made.
        let made = call.settings().customers.get(customer).map(|customer| customer.created_at);
        asking.filter = asking.filter(from.max(made));
        Ok(asking)
    }

    /// The events by which they are found.
    fn filter(&self, from: Option<Timestamp>) -> Filter {
        let whose = vec![self.customer.to_string()];
        match self.walk {
            // When it began is not when it ended, but before.
            Walk::Ended(ending) => {
                Filter { marks: vec![ending.name().to_owned()], from, ..of("execution.finish", whose) }
            }
            Walk::Running | Walk::Begun => {
                let marks = self.workflow.iter().flat_map(Sought::marks).collect();
                Filter { marks, from, to: self.to, ..of("execution.start", whose) }
            }
        }
    }

    /// A page of them. Blocks.
    fn page(&self, call: &Call) -> Result<Found, Problem> {
        let (store, handle, view) = (&call.app.store, &*call.organization.handle, &*call.organization.view);
        let filter = store.spanned(handle, view, &self.filter)?;
        let mut filled = Filled::new(self.limit);
        // One more than a page has says whether there are more.
        let (mut after, mut examined, mut count) = (self.after, 0, self.limit + 1);
        loop {
            let versions = self.versions(call, &filter, after, count)?;
            let Some(last) = versions.last().copied() else { return Ok(Found { filled, examined_to: None }) };
            for told in self.told(call, &versions)?.iter().filter(|told| self.wants(call, told)) {
                let body = told.body(handle.stream(), &self.key)?;
                if !filled.push(json_bytes(&body), (body, self.place(told))) {
                    return Ok(Found { filled, examined_to: None });
                }
            }
            examined += versions.len();
            (after, count) = (last, LONGEST_PAGE);
            if examined >= EXAMINED_MAX {
                return Ok(Found { filled, examined_to: Some(after) });
            }
        }
    }

    /// The versions of the next ones; those that run are known.
    fn versions(
        &self,
        call: &Call,
        filter: &Filter,
        after: Version,
        count: usize,
    ) -> Result<Vec<Version>, HistoryError> {
        let (store, handle, view) = (&call.app.store, &call.organization.handle, &call.organization.view);
        if self.walk != Walk::Running {
            return store.versions_after(handle, view, filter, after, count);
        }
        let running = view.organization().executions.running_for(self.customer).map(|(version, _)| version);
        Ok(running.filter(|version| *version > after).take(count).collect())
    }

    fn told(&self, call: &Call, versions: &[Version]) -> Result<Vec<Told>, HistoryError> {
        let (store, handle, view) = (&call.app.store, &call.organization.handle, &call.organization.view);
        match self.walk {
            Walk::Ended(_) => find_ended(store, handle, view, versions),
            Walk::Running | Walk::Begun => find(store, handle, view, versions),
        }
    }

    /// The version that an execution was found by.
    fn place(&self, told: &Told) -> Version {
        match self.walk {
            Walk::Ended(_) => told.version(),
            Walk::Running | Walk::Begun => told.began(),
        }
    }

    fn wants(&self, call: &Call, told: &Told) -> bool {
        call.organization.grants.allows_in(Permission::ExecutionRead, told.environment())
            && self.status.is_none_or(|status| told.status() == status)
            && self.workflow.as_ref().is_none_or(|workflow| told.is_of(workflow))
            && self.from.is_none_or(|from| told.began_at() >= from)
            && self.to.is_none_or(|to| told.began_at() < to)
    }
}
