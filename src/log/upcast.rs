//! Old shapes of data, brought to the current one: a table of (action, schema) → next schema, on untyped values.
//!
//! An entry is added when an action's schema number rises, and stays for ever. Nothing here knows a Rust type.

use serde_json::Value;

type Upcast = fn(Value) -> Result<Value, UpcastError>;

/// One step: the data of `action` at `schema`, to `schema + 1`.
const STEPS: &[(&str, u32, Upcast)] = &[];

/// A record whose schema this build cannot bring to the current one.
#[derive(Debug, thiserror::Error)]
pub enum UpcastError {
    /// No step is known from that number.
    #[error("`{action}` has schema {schema}, and this build reads up to {current}")]
    UnknownSchema {
        /// The action on disk.
        action: String,
        /// The schema on disk.
        schema: u32,
        /// The newest schema that this build reads.
        current: u32,
    },
}

/// Brings data from `schema` to `current`, a step at a time.
///
/// # Errors
/// When a step is missing: the record was written by a newer build.
pub fn to_current(action: &str, schema: u32, current: u32, data: Value) -> Result<Value, UpcastError> {
    walk(STEPS, action, schema, current, data)
}

fn walk(
    steps: &[(&str, u32, Upcast)],
    action: &str,
    schema: u32,
    current: u32,
    mut data: Value,
) -> Result<Value, UpcastError> {
    let mut at = schema;
    while at != current {
        let step = steps.iter().find(|(name, from, _)| *name == action && *from == at);
        let Some((_, _, upcast)) = step else {
            return Err(UpcastError::UnknownSchema { action: action.to_owned(), schema, current });
        };
        data = upcast(data)?;
        at += 1;
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn steps_are_walked_one_by_one() {
        let steps: &[(&str, u32, Upcast)] = &[
            ("thing.make", 1, |mut data| {
                data["colour"] = json!("grey");
                Ok(data)
            }),
            ("thing.make", 2, |mut data| {
                data["size"] = json!(1);
                Ok(data)
            }),
        ];
        let data = walk(steps, "thing.make", 1, 3, json!({})).unwrap();
        assert_eq!(data, json!({"colour": "grey", "size": 1}));
    }

    #[test]
    fn a_newer_schema_is_refused_with_both_numbers() {
        let error = to_current("organization.update", 9, 1, json!({})).unwrap_err();
        assert_eq!(error.to_string(), "`organization.update` has schema 9, and this build reads up to 1");
    }
}
