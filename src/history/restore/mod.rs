//! Bringing settings back: the plan, what it would come to, and doing it.
//!
//! History is never rewritten: a restore appends the ordinary events that lead from what is to what was, and one that
//! says so. Sessions, accounts, people and idempotency keys are never touched; grants of roles only by an Owner who asks
//! for it.

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::audit::row::RowResource;
use crate::clock::{InvalidTimestamp, Timestamp};
use crate::event::Version;
use crate::history::description::Focus;
use crate::history::restore::claiming::claim;
use crate::history::restore::command::{PLAN_MAX_BYTES, RestoreSettings};
use crate::history::restore::plan::{Cannot, Step, plan};
use crate::history::restore::sealing::seal_anew;
use crate::http::page::json_bytes;
use crate::ids::EnvironmentId;
use crate::organization::Organization;
use crate::seal::keyring::KeyError;
use crate::settings::customer_data::keys;
use crate::settings::general::event::RestoredScope;
use crate::store::Store;
use crate::store::brought::Brought;
use crate::store::customers::SearchError;
use crate::store::customers::opening::Openings;
use crate::store::history::HistoryError;
use crate::store::resident::{Handle, View};

pub mod claiming;
pub mod command;
pub mod http;
pub mod operator;
pub mod plan;
pub mod run;
pub mod sealing;

/// What is to be brought back.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The version that it is to be as of.
    pub as_of: Version,
    /// What of the settings, in a word.
    pub scope: RestoredScope,
    /// Which things.
    pub focus: Focus,
    /// Whether grants of roles are to be as they were too.
    pub include_access: bool,
}

/// What a restore did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Restored {
    /// The organization's version: after what was appended, or of what the plan was made from.
    pub version: Version,
    /// The steps, in the order in which they are made; absent where this answers a repeated request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub steps: Option<Vec<StepBody>>,
    /// What does not come back, and why; absent where this answers a repeated request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub cannot: Option<Vec<CannotBody>>,
}

/// One step of a restore.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RestoreStep)]
pub struct StepBody {
    /// The action that the audit log shows.
    pub action: String,
    /// What it is done to.
    pub resource: RowResource,
    /// The fields that change, as they are; null where the thing is made.
    #[schema(required, value_type = Option<Object>)]
    pub from: Option<Map<String, Value>>,
    /// The same, as they become; null where the thing goes.
    #[schema(required, value_type = Option<Object>)]
    pub to: Option<Map<String, Value>>,
}

/// What does not come back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RestoreCannot)]
pub struct CannotBody {
    /// The thing.
    pub resource: RowResource,
    /// Why: `name_taken`, `slug_taken`, `environment_gone` and other such words.
    pub why: String,
}

impl From<&Step> for StepBody {
    fn from(step: &Step) -> Self {
        Self {
            action: step.event.event.action().to_owned(),
            resource: RowResource::of(&step.subject, step.shown.as_deref()),
            from: step.from(),
            to: step.to(),
        }
    }
}

impl From<&Cannot> for CannotBody {
    fn from(cannot: &Cannot) -> Self {
        Self {
            resource: RowResource::of(&cannot.subject, cannot.shown.as_deref()),
            why: cannot.why.to_owned(),
        }
    }
}

impl Restored {
    /// The answer to a plan.
    pub fn new(version: Version, command: &RestoreSettings, cannot: &[Cannot]) -> Self {
        Self {
            version,
            steps: Some(command.steps.iter().map(StepBody::from).collect()),
            cannot: Some(cannot.iter().map(CannotBody::from).collect()),
        }
    }
}

/// A plan, and the state that it was made from.
pub struct Planned {
    /// What it was made from.
    pub view: Arc<View>,
    /// What it would append.
    pub command: RestoreSettings,
    /// The data keys of the values that come back, and the unique values that come and go.
    pub brought: Brought,
    /// What does not come back.
    pub cannot: Vec<Cannot>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The history could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A value could not be sealed anew: its key is not to be had, or was destroyed since the state was read.
    #[error("a value could not be sealed anew")]
    Key(#[from] KeyError),
    /// The look-up of external ids could not be made.
    #[error(transparent)]
    Search(#[from] SearchError),
}

/// Plans a restore from a stream's state. Blocks.
///
/// # Errors
/// See [`PrepareError`].
pub fn prepare(
    store: &Store,
    handle: &Arc<Handle>,
    view: &Arc<View>,
    wanted: &Wanted,
) -> Result<Planned, PrepareError> {
    let past = store.as_of(handle, wanted.as_of)?;
    let present = view.organization();
    let plan = plan(past.organization(), present, &wanted.focus, wanted.include_access);
    let target = match &wanted.focus {
        Focus::All | Focus::Actions(_) => None,
        Focus::Resource(id) => Some(id.clone()),
        Focus::Named(id, name) => Some(format!("{id}/{name}")),
    };
    let (mut steps, mut cannot) = plan.finish();
    let mut brought = Brought::default();
    let states = (past.organization(), present);
    claim(store, handle, states, (&mut steps, &mut cannot), &mut brought)?;
    let mut openings = Openings::new(store, handle);
    let steps_called = steps.iter_mut().map(|step| (&step.subject, &mut step.shown));
    let cannot_called = cannot.iter_mut().map(|cannot| (&cannot.subject, &mut cannot.shown));
    for (subject, shown) in steps_called.chain(cannot_called) {
        keys::call_by_key(&mut openings, states.into(), subject, shown);
    }
    let mut bytes = told_bytes(&steps, &cannot);
    match seal_anew(&mut steps, view.stream, store.ring())? {
        Some(keys) => brought.keys = keys,
        None => bytes = PLAN_MAX_BYTES + 1,
    }
    let command = RestoreSettings {
        as_of: wanted.as_of,
        scope: wanted.scope,
        target,
        include_access: wanted.include_access,
        revision: present.revision.version(),
        bytes,
        steps,
    };
    Ok(Planned { view: Arc::clone(view), command, brought, cannot })
}

/// How long a plan is when it is told: counted step by step, and no further than one that is too long.
fn told_bytes(steps: &[Step], cannot: &[Cannot]) -> usize {
    let steps = steps.iter().map(|step| json_bytes(&StepBody::from(step)));
    let mut bytes = 0;
    for more in steps.chain(cannot.iter().map(|cannot| json_bytes(&CannotBody::from(cannot)))) {
        bytes += more;
        if bytes > PLAN_MAX_BYTES {
            break;
        }
    }
    bytes
}

/// The environment that a text names: by id, by slug, or by the slug that it had then.
pub fn environment_of(past: &Organization, present: &Organization, text: &str) -> Option<EnvironmentId> {
    if let Ok(id) = text.parse() {
        let is_there = [present, past].iter().any(|state| state.environments.get(id).is_some());
        return is_there.then_some(id);
    }
    let by_slug = |state: &Organization| state.environments.by_slug(text).map(|environment| environment.id);
    by_slug(present).or_else(|| by_slug(past))
}

/// A time or a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointInTime {
    /// The last version at a time.
    Time(Timestamp),
    /// A version.
    Version(Version),
}

impl FromStr for PointInTime {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<Version>() {
            // One spelling each: neither `+5` nor `007`.
            Ok(version) if version.to_string() == text => Ok(Self::Version(version)),
            _ => text.parse().map(Self::Time),
        }
    }
}

impl fmt::Display for PointInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => time.fmt(f),
            Self::Version(version) => version.fmt(f),
        }
    }
}

/// From text, or from the number that a version is.
impl<'de> Deserialize<'de> for PointInTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Point;

        impl Visitor<'_> for Point {
            type Value = PointInTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time or a version")
            }

            fn visit_u64<E: serde::de::Error>(self, version: u64) -> Result<PointInTime, E> {
                Ok(PointInTime::Version(version))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PointInTime, E> {
                text.parse().map_err(|_| E::custom("expected an RFC 3339 time or a version"))
            }
        }

        deserializer.deserialize_any(Point)
    }
}

impl PartialSchema for PointInTime {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
            .description(Some("An RFC 3339 time, or a version of the organization's stream."))
            .into()
    }
}

impl ToSchema for PointInTime {}

impl PointInTime {
    /// The version that is meant; `None` for the future. Blocks.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn version(
        self,
        store: &Store,
        handle: &Handle,
        view: &View,
    ) -> Result<Option<Version>, HistoryError> {
        match self {
            Self::Version(version) => Ok((version <= view.version()).then_some(version)),
            Self::Time(time) if time > store.clock().now().at_after(view.head.at) => Ok(None),
            Self::Time(time) => store.version_at(handle, view, time).map(Some),
        }
    }
}
