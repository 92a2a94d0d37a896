//! An event as a row of a table: what the queries ask for in columns of its own, the rest as JSON.

use anyhow::{Context as _, Result};
use serde_json::Value;
use settled::event::Recorded;

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) organization: String,
    pub(super) version: i64,
    /// Microseconds since 1970.
    pub(super) at: i64,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) resource_type: String,
    pub(super) resource: String,
    pub(super) outcome: String,
    /// All other fields.
    pub(super) rest: String,
}

/// Taken out of the rest: they stand in columns.
const COLUMNS: &[&str] = &["action", "outcome"];

impl Record {
    pub(super) fn of(recorded: &Recorded) -> Result<Self> {
        let mut rest = serde_json::to_value(recorded.packed())?;
        let object = rest.as_object_mut().context("a record is an object")?;
        for column in COLUMNS {
            object.remove(*column);
        }
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self {
            organization: recorded.stream.to_string(),
            version: i64::try_from(recorded.version)?,
            at: recorded.at.micros(),
            actor: recorded.actor.id.to_string(),
            action: recorded.event.action().to_owned(),
            resource_type: recorded.resource.kind.name().to_owned(),
            resource: recorded.resource.id.clone(),
            outcome: text(serde_json::to_value(recorded.outcome).ok().as_ref()),
            rest: rest.to_string(),
        })
    }
}
