//! Old shapes of data, brought to the current one: a table of (action, schema) → next schema, on untyped values.
//!
//! An entry is added when an action's schema number rises, and stays for ever. Nothing here knows a Rust type.

use serde_json::{Map, Value};

type Upcast = fn(Value) -> Result<Value, UpcastError>;

/// One step: the data of `action` at `schema`, to `schema + 1`.
const STEPS: &[(&str, u32, Upcast)] = &[
    ("customer_data.set", 1, document_with_content),
    ("customer_data.delete", 1, document),
    ("execution.start", 1, workflow),
];

/// A document was found by its key, which stood in the clear.
fn document(mut data: Value) -> Result<Value, UpcastError> {
    rename(&mut data, "key", "document");
    Ok(data)
}

/// The same, and what it says was one of two fields.
fn document_with_content(data: Value) -> Result<Value, UpcastError> {
    let mut data = document(data)?;
    if let Some(fields) = data.as_object_mut() {
        let said = ["value", "recorded"].into_iter().filter_map(|name| fields.remove_entry(name));
        let said: Map<String, Value> = said.collect();
        fields.insert("content".to_owned(), Value::Object(said));
    }
    Ok(data)
}

/// A workflow was found by its name, which stood in the clear.
fn workflow(mut data: Value) -> Result<Value, UpcastError> {
    rename(&mut data, "workflow", "workflow_id");
    Ok(data)
}

/// What is no object, or lacks the field, is refused where it is read with its type.
fn rename(data: &mut Value, from: &str, to: &str) {
    if let Some(fields) = data.as_object_mut()
        && let Some(value) = fields.remove(from)
    {
        fields.insert(to.to_owned(), value);
    }
}

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
    fn names_that_stood_in_the_clear_are_what_things_were_found_by() {
        let to_2 = |action, data| to_current(action, 1, 2, data).unwrap();
        for (said, kind) in [(json!({"sealed": "k", "data": "d"}), "value"), (json!(7), "recorded")] {
            let data = to_2("customer_data.set", json!({"customer": "c", "key": "a", kind: said}));
            assert_eq!(data, json!({"customer": "c", "document": "a", "content": {kind: said}}));
        }
        let deleted = to_2("customer_data.delete", json!({"customer": "c", "key": "a"}));
        assert_eq!(deleted, json!({"customer": "c", "document": "a"}));
        let started = to_2("execution.start", json!({"workflow": "w", "period": "2026-11"}));
        assert_eq!(started, json!({"workflow_id": "w", "period": "2026-11"}));
        assert_eq!(to_2("customer_data.set", json!(5)), json!(5), "for its type to refuse");
    }

    #[test]
    fn a_newer_schema_is_refused_with_both_numbers() {
        let error = to_current("organization.update", 9, 1, json!({})).unwrap_err();
        assert_eq!(error.to_string(), "`organization.update` has schema 9, and this build reads up to 1");
    }
}
