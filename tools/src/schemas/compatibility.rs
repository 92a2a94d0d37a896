//! Whether a schema still keeps what a released one of the same number promised.
//!
//! Records of that number are on disk, and auditors read them with that schema. So every field keeps its name
//! and its type, a required one stays required, and none becomes required; optional fields, values of an
//! enumeration and variants may be added.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What of `released` the schema `current` breaks, a phrase each; nothing if it keeps all.
pub fn broken(released: &Value, current: &Value) -> Vec<String> {
    let mut comparison = Comparison { released, current, seen: BTreeSet::new(), broken: Vec::new() };
    comparison.compare(released, current, "");
    comparison.broken
}

/// Keywords whose value says what type a field has.
const TYPE: [&str; 5] = ["type", "format", "pattern", "const", "contentEncoding"];
/// Keywords that list schemas.
const LISTS: [&str; 4] = ["oneOf", "anyOf", "allOf", "prefixItems"];
/// Keywords that hold one schema.
const NESTED: [&str; 2] = ["items", "additionalProperties"];

struct Comparison<'a> {
    released: &'a Value,
    current: &'a Value,
    /// Pairs of references that were followed: a schema may refer to itself.
    seen: BTreeSet<(String, String)>,
    broken: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn compare(&mut self, old: &'a Value, new: &'a Value, place: &str) {
        let followed = (reference(old), reference(new));
        if let (Some(old), Some(new)) = followed
            && !self.seen.insert((old.to_owned(), new.to_owned()))
        {
            return;
        }
        let (old, new) = (resolve(self.released, old), resolve(self.current, new));
        if TYPE.iter().any(|keyword| old.get(keyword) != new.get(keyword)) {
            return self.breaks(place, "has another type");
        }
        self.values(old, new, place);
        self.fields(old, new, place);
        for keyword in NESTED {
            match (old.get(keyword), new.get(keyword)) {
                (Some(old), Some(new)) => self.compare(old, new, &format!("{place}[]")),
                (None, None) => {}
                // `additionalProperties: false` may come and go: it says nothing of the fields that are named.
                (Some(Value::Bool(_)), None) | (None, Some(Value::Bool(_))) => {}
                _ => self.breaks(place, "has elements of another type"),
            }
        }
        for keyword in LISTS {
            let (old, new) = (list(old, keyword), list(new, keyword));
            if old.len() > new.len() || (old.is_empty() != new.is_empty()) {
                self.breaks(place, "lost a variant");
            }
            for (old, new) in old.iter().zip(new) {
                self.compare(old, new, place);
            }
        }
    }

    fn values(&mut self, old: &Value, new: &Value, place: &str) {
        let lost = list(old, "enum").iter().any(|value| !list(new, "enum").contains(value));
        let narrowed = old.get("enum").is_none() && new.get("enum").is_some();
        if lost || narrowed {
            self.breaks(place, "lost a value");
        }
    }

    fn fields(&mut self, old: &'a Value, new: &'a Value, place: &str) {
        let (fields, now) = (properties(old), properties(new));
        for (name, field) in &fields {
            let place = format!("{place}/{name}");
            match now.get(name) {
                None => self.breaks(&place, "was removed"),
                Some(_) if required(old, name) && !required(new, name) => {
                    self.breaks(&place, "is no longer required");
                }
                Some(_) if required(new, name) && !required(old, name) => {
                    self.breaks(&place, "is newly required");
                }
                Some(field_now) => self.compare(field, field_now, &place),
            }
        }
        for name in now.keys().filter(|name| !fields.contains_key(*name) && required(new, name)) {
            self.breaks(&format!("{place}/{name}"), "is newly required");
        }
    }

    fn breaks(&mut self, place: &str, how: &str) {
        let place = if place.is_empty() { "the whole" } else { place };
        self.broken.push(format!("{place} {how}"));
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str)
}

/// What a reference into the document's `$defs` names; else the schema itself.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let target = reference(schema).and_then(|target| document.pointer(target.strip_prefix('#')?));
    target.unwrap_or(schema)
}

fn list<'a>(schema: &'a Value, keyword: &str) -> &'a [Value] {
    schema.get(keyword).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn properties(schema: &Value) -> BTreeMap<&str, &Value> {
    let fields = schema.get("properties").and_then(Value::as_object);
    fields.into_iter().flatten().map(|(name, field)| (name.as_str(), field)).collect()
}

fn required(schema: &Value, name: &str) -> bool {
    list(schema, "required").iter().any(|required| required == name)
}
