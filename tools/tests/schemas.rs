//! The committed schemas are those of the types, and none that was released is broken. What counts as breaking
//! is proved by fixtures that break it.

use serde_json::{Value, json};
use tools::run::root;
use tools::schemas::{compatibility, generated, wrong};

#[test]
fn the_committed_schemas_are_those_of_the_types_and_keep_what_was_released() {
    assert_eq!(wrong(&root().join("schemas")).unwrap(), Vec::<String>::new());
}

#[test]
fn a_changed_a_missing_and_a_superfluous_file_are_found() {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in generated() {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    assert_eq!(wrong(folder.path()).unwrap(), Vec::<String>::new());
    let events = folder.path().join("events");
    std::fs::write(events.join("config.set.json"), "{}").unwrap();
    std::fs::remove_file(events.join("config.delete.json")).unwrap();
    std::fs::write(events.join("thing.make.json"), "{}").unwrap();
    let wrong = wrong(folder.path()).unwrap().join("\n");
    for file in ["config.set", "config.delete", "thing.make"] {
        assert!(wrong.contains(&format!("schemas/events/{file}.json is not what the types say")), "{wrong}");
    }
}

#[test]
fn an_action_that_was_released_cannot_go_or_go_back() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("released")).unwrap();
    for name in ["thing.make.1", "config.set.2"] {
        std::fs::write(folder.path().join(format!("released/{name}.json")), "{}").unwrap();
    }
    let wrong = wrong(folder.path()).unwrap().join("\n");
    assert!(wrong.contains("`thing.make` was released and is gone"), "{wrong}");
    assert!(wrong.contains("`config.set` went back to schema 1"), "{wrong}");
}

#[test]
fn every_reference_of_a_generated_schema_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    for (path, text) in generated() {
        let document: Value = serde_json::from_str(&text).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        for target in found {
            let pointer = target.strip_prefix('#').expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{path}: {target}");
        }
    }
}

fn released() -> Value {
    json!({
        "type": "object",
        "required": ["environment", "mode"],
        "properties": {
            "environment": {"type": "string"},
            "mode": {"$ref": "#/$defs/Mode"},
            "description": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "$defs": {"Mode": {"type": "string", "enum": ["test", "live"]}},
    })
}

/// The released schema with one change, and what is said of it.
fn broken_by(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut current = released();
    change(&mut current);
    compatibility::broken(&released(), &current)
}

#[test]
fn the_same_schema_breaks_nothing() {
    assert_eq!(broken_by(|_| {}), Vec::<String>::new());
}

#[test]
fn an_added_optional_field_and_an_added_value_break_nothing() {
    assert_eq!(
        broken_by(|new| new["properties"]["colour"] = json!({"type": "string"})),
        Vec::<String>::new()
    );
    assert_eq!(
        broken_by(|new| new["$defs"]["Mode"]["enum"] = json!(["test", "live", "dry"])),
        Vec::<String>::new()
    );
}

#[test]
fn a_removed_field_breaks() {
    let broken = broken_by(|new| {
        new["properties"].as_object_mut().unwrap().remove("description");
    });
    assert_eq!(broken, ["/description was removed"]);
}

#[test]
fn a_retyped_field_breaks_wherever_its_type_stands() {
    let broken = broken_by(|new| new["properties"]["description"] = json!({"type": "integer"}));
    assert_eq!(broken, ["/description has another type"]);
    let broken = broken_by(|new| new["properties"]["tags"]["items"] = json!({"type": "integer"}));
    assert_eq!(broken, ["/tags[] has another type"]);
    let broken = broken_by(|new| new["$defs"]["Mode"] = json!({"type": "boolean"}));
    assert_eq!(broken, ["/mode has another type"]);
}

#[test]
fn a_newly_required_field_breaks_whether_new_or_old() {
    let broken = broken_by(|new| {
        new["properties"]["colour"] = json!({"type": "string"});
        new["required"] = json!(["environment", "mode", "colour"]);
    });
    assert_eq!(broken, ["/colour is newly required"]);
    let broken = broken_by(|new| new["required"] = json!(["environment", "mode", "description"]));
    assert_eq!(broken, ["/description is newly required"]);
}

#[test]
fn a_field_that_is_no_longer_required_and_a_lost_value_break() {
    assert_eq!(broken_by(|new| new["required"] = json!(["mode"])), ["/environment is no longer required"]);
    assert_eq!(broken_by(|new| new["$defs"]["Mode"]["enum"] = json!(["live"])), ["/mode lost a value"]);
}

#[test]
fn a_schema_that_refers_to_itself_is_compared_once() {
    let tree = |kind: &str| {
        json!({
            "$ref": "#/$defs/Tree",
            "$defs": {"Tree": {"type": "object", "properties": {
                "leaf": {"type": kind},
                "left": {"$ref": "#/$defs/Tree"},
            }}},
        })
    };
    assert_eq!(compatibility::broken(&tree("string"), &tree("string")), Vec::<String>::new());
    assert_eq!(compatibility::broken(&tree("string"), &tree("integer")), ["/leaf has another type"]);
}
