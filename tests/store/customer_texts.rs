//! Whatever somebody can write about a customer is sealed: every text that stands in the clear in an event of something which
//! customers have is named here, with the reason why it may.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// What makes a text of a schema one of a fixed form.
const FORMS: [&str; 4] = ["pattern", "format", "enum", "const"];

/// The texts in the clear that events may have, by noun, each with why it tells nothing of a customer.
const CLEAR: [(&str, &[&str], &str); 10] = [
    ("api_key", &["last4", "token", "previous"], "parts and hashes of values that the server draws"),
    (
        "api_key",
        &["name", "allowed_cidrs[]"],
        "a key is the organization's, also one that is limited to customers",
    ),
    ("api_key", &["role", "cleared[]"], "ids of roles, and names of fields"),
    ("billing", &["period", "plan"], "a month, and the operator's name of a plan"),
    ("connection", &["name"], "a variable's name, which programs find it by in an environment"),
    ("connection", &["link.token", "provider"], "a hash, and an entry of the catalogue"),
    ("connection", &["scopes[]", "tokens.scopes[]"], "what the app asks for, in the provider's words"),
    ("customer", &["key", "destroyed_keys[]", "cleared[]"], "ids of data keys, and names of fields"),
    ("execution", &["period"], "a month"),
    (
        "secret",
        &["name", "cleared[]", "environments[].version"],
        "a variable's name, names of fields, and an HMAC",
    ),
];
/// What is found by a text in the clear that only the customer's key leads to, and what was never a customer's.
const BLIND: [(&str, &[&str]); 3] = [
    ("customer_data", &["document"]),
    ("execution", &["workflow_id"]),
    // Of a customer's secret it is `sealed_description`.
    ("secret", &["description"]),
];

/// The texts of a schema that stand in the clear and may say anything.
fn texts(schema: &Value, node: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = node["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        if name != "Sealed" {
            texts(schema, &schema["$defs"][name], path, found);
        }
        return;
    }
    let is_text = node["type"] == "string"
        || node["type"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "string"));
    if is_text && FORMS.iter().all(|form| node.get(form).is_none()) {
        found.insert(path.to_owned());
    }
    for list in ["oneOf", "anyOf", "allOf"] {
        for variant in node[list].as_array().into_iter().flatten() {
            texts(schema, variant, path, found);
        }
    }
    for nested in ["items", "additionalProperties"] {
        if node[nested].is_object() {
            texts(schema, &node[nested], &format!("{path}[]"), found);
        }
    }
    for (name, field) in node["properties"].as_object().into_iter().flatten() {
        let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        texts(schema, field, &inner, found);
    }
}

#[test]
fn no_text_about_a_customer_stands_in_the_clear() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/events");
    let schemas: Vec<Value> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap())
        .collect();
    let noun = |schema: &Value| schema["title"].as_str().unwrap().split_once('.').unwrap().0.to_owned();
    let of_customers: BTreeSet<String> =
        schemas.iter().filter(|schema| schema["$defs"].get("CustomerId").is_some()).map(noun).collect();
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for schema in schemas.iter().filter(|schema| of_customers.contains(&noun(schema))) {
        texts(schema, schema, "", found.entry(noun(schema)).or_default());
    }
    found.retain(|_, texts| !texts.is_empty());
    let mut known = BTreeMap::<String, BTreeSet<String>>::new();
    let clear = CLEAR.iter().map(|(noun, texts, _)| (*noun, *texts));
    for (noun, texts) in clear.chain(BLIND) {
        known.entry(noun.to_owned()).or_default().extend(texts.iter().map(|text| (*text).to_owned()));
    }
    assert_eq!(found, known, "seal it under the customer's key, or say why it need not be");
}
