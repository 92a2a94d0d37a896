//! [`Told`]: an execution as the log tells of it, and how one is found in history: by the index, which leads from an execution
//! to its end. Only what is shown, and little else, is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::event::{Event, Outcome, Recorded, Version};
use crate::http::call::Call;
use crate::http::problem::Problem;
use crate::ids::{CustomerId, EnvironmentId, ExecutionId, StreamId};
use crate::log::filter::{ActionPattern, Filter};
use crate::seal::keyring::KeyError;
use crate::seal::{DataKey, Plain, Sealed};
use crate::settings::executions::event::{ExecutionFinished, ExecutionStarted, ExecutionsEvent};
use crate::settings::executions::field;
use crate::settings::executions::http::{ExecutionBody, ExecutionStatus};
use crate::settings::executions::value::Usage;
use crate::settings::executions::workflows::{FIELD as WORKFLOW, Sought};
use crate::store::Store;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, View};

/// An execution as the log tells of it.
pub struct Told {
    began: Recorded,
    started: ExecutionStarted,
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
        self.began.version
    }

    /// When it began.
    pub fn began_at(&self) -> Timestamp {
        self.began.at
    }

    /// The version at which it ended, if it did.
    pub fn ended(&self) -> Option<Version> {
        self.ended.as_ref().map(|(recorded, _)| recorded.version)
    }

    /// The version of its last change.
    pub fn version(&self) -> Version {
        self.ended().unwrap_or(self.began())
    }

    /// For whom it is.
    pub fn customer(&self) -> CustomerId {
        self.started.customer
    }

    /// Where it is.
    pub fn environment(&self) -> EnvironmentId {
        self.started.environment
    }

    /// Whether it is of a workflow.
    pub fn is_of(&self, workflow: &Sought) -> bool {
        workflow.is_of(&self.started)
    }

    /// Whether it runs, or how it ended.
    pub fn status(&self) -> ExecutionStatus {
        match &self.ended {
            Some((_, finished)) => finished.status.into(),
            None if self.runs => ExecutionStatus::Running,
            None => ExecutionStatus::Abandoned,
        }
    }

    /// Whether it ended or was abandoned.
    pub fn is_over(&self) -> bool {
        !self.runs
    }

    /// The same, opened with its customer's key.
    ///
    /// # Errors
    /// 500 where something of it does not open.
    pub fn body(&self, stream: StreamId, key: &DataKey) -> Result<ExecutionBody, Problem> {
        let place = self.id().to_string();
        let finished = self.ended.as_ref().map(|(_, finished)| finished);
        let open = |name: &str, sealed: Option<&Sealed>| {
            let opened = sealed.map(|sealed| key.open(&field(stream, &place, name), sealed)).transpose();
            opened.map_err(KeyError::from)
        };
        let text = |plain: Plain| plain.as_str().map(ToOwned::to_owned).map_err(|_| Problem::internal());
        let figures =
            |plain: Plain| serde_json::from_slice::<Usage>(plain.as_bytes()).map_err(|_| Problem::internal());
        let workflow = open(WORKFLOW, self.started.workflow.as_ref())?;
        let trigger = open("trigger", self.started.trigger.as_ref())?;
        let error = open("error", finished.and_then(|finished| finished.error.as_ref()))?;
        let usage = open("usage", finished.and_then(|finished| finished.usage.as_ref()))?;
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
            version: self.version(),
        })
    }

    /// The same as it was at a version, at which it had begun.
    fn until(mut self, version: Version) -> Self {
        if self.ended().is_some_and(|ended| ended > version) {
            self.ended = None;
            self.runs = true;
        }
        self
    }
}

/// The key of a customer's executions. May block while the customer is being erased: not to be called in a read of history.
///
/// # Errors
/// 404 where the customer was erased meanwhile; 500 where the key is lost.
pub fn key_of(call: &Call, customer: CustomerId) -> Result<Arc<DataKey>, Problem> {
    let key = call.app.store.key_of_customer(&call.organization.handle, customer)?;
    key.ok_or_else(Problem::not_found)
}

/// The events of an action that mention one of these.
pub fn of(action: &str, resources: Vec<String>) -> Filter {
    Filter {
        actions: vec![ActionPattern::Exact(action.to_owned())],
        resources,
        outcomes: vec![Outcome::Success],
        ..Filter::default()
    }
}

/// The executions that began with these versions, in their order, with their ends up to the view's version. Blocks.
///
/// # Errors
/// When the history cannot be read.
pub fn find(
    store: &Store,
    handle: &Handle,
    view: &View,
    versions: &[Version],
) -> Result<Vec<Told>, HistoryError> {
    let began = beginnings(store, handle, view, versions)?;
    let executions = &view.organization().executions;
    let runs: BTreeSet<ExecutionId> =
        began.iter().map(|(id, _)| *id).filter(|id| executions.get(*id).is_some()).collect();
    // Those that run have no end. What was abandoned has none either: no segment of the index mentions it once more.
    let ids: Vec<String> =
        began.iter().map(|(id, _)| *id).filter(|id| !runs.contains(id)).map(|id| id.to_string()).collect();
    let mut ends = BTreeMap::new();
    if let (Some(first), false) = (versions.first(), ids.is_empty()) {
        let count = ids.len();
        let ended = store.versions_after(handle, view, &of("execution.finish", ids), *first, count)?;
        ends.extend(endings(store, handle, view, &ended)?.map(|end| (end.1.execution, end)));
    }
    let told = began.into_iter().map(|(id, (began, started))| Told {
        runs: runs.contains(&id),
        ended: ends.remove(&id),
        began,
        started,
    });
    Ok(told.collect())
}

/// The executions that ended with these versions, in their order: each end says which beginning it is of. Blocks.
///
/// # Errors
/// When the history cannot be read.
pub fn find_ended(
    store: &Store,
    handle: &Handle,
    view: &View,
    versions: &[Version],
) -> Result<Vec<Told>, HistoryError> {
    let ends: Vec<_> = endings(store, handle, view, versions)?.collect();
    let mut began: Vec<Version> = ends.iter().map(|(_, finished)| finished.started).collect();
    began.sort_unstable();
    let mut began: BTreeMap<_, _> = beginnings(store, handle, view, &began)?.into_iter().collect();
    let told = ends.into_iter().filter_map(|(recorded, finished)| {
        let (began, started) = began.remove(&finished.execution)?;
        Some(Told { began, started, ended: Some((recorded, finished)), runs: false })
    });
    Ok(told.collect())
}

type Beginning = (ExecutionId, (Recorded, ExecutionStarted));

fn beginnings(
    store: &Store,
    handle: &Handle,
    view: &View,
    versions: &[Version],
) -> Result<Vec<Beginning>, HistoryError> {
    let began = store.recorded(handle, view, versions)?.into_iter().filter_map(|recorded| {
        let Event::Executions(ExecutionsEvent::ExecutionStarted(started)) = &recorded.event else {
            return None;
        };
        let started = started.clone();
        Some((started.execution, (recorded, started)))
    });
    Ok(began.collect())
}

fn endings(
    store: &Store,
    handle: &Handle,
    view: &View,
    versions: &[Version],
) -> Result<impl Iterator<Item = (Recorded, ExecutionFinished)>, HistoryError> {
    let ended = store.recorded(handle, view, versions)?.into_iter().filter_map(|recorded| {
        let Event::Executions(ExecutionsEvent::ExecutionFinished(finished)) = &recorded.event else {
            return None;
        };
        let finished = finished.clone();
        Some((recorded, finished))
    });
    Ok(ended)
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

/// When an id was minted.
fn minted_at(id: ExecutionId) -> Option<Timestamp> {
    let (seconds, nanos) = id.uuid().get_timestamp()?.to_unix();
    Some(Timestamp::from_micros(i64::try_from(seconds).ok()? * 1_000_000 + i64::from(nanos) / 1_000))
}
