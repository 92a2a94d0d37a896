//! `cargo xtask schemas`: the JSON Schemas of what is recorded and of the HTTP API, generated from the types.
//!
//! Under `schemas/` stand what the types say now (`events/`, `refused.json`, `openapi.json`, `operator.json`) and what has been
//! released (`released/<action>.<schema>.json`), which nobody may break: old records stay readable for ever.
//! What counts as breaking is in `compatibility.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use settled::event::declare::{Shape, shape_of};
use settled::event::{Event, Refused, RefusedData};
use settled::http::openapi;

use crate::run::{root, say};

pub mod compatibility;

/// The options of `cargo xtask schemas`.
#[derive(clap::Args)]
pub struct Options {
    /// Compare with what is committed, and write nothing
    #[arg(long, conflicts_with = "release")]
    check: bool,
    /// Also keep the events' current schemas as released: from then on they cannot change
    #[arg(long)]
    release: bool,
}

/// Writes, or checks.
///
/// # Errors
/// When a file cannot be written, or differs, or breaks what was released.
pub fn run(options: &Options) -> Result<()> {
    if options.check {
        return check();
    }
    let folder = root().join("schemas");
    let generated = generated();
    for path in differences(&folder, &generated)? {
        match generated.get(&path) {
            Some(text) => write(&folder.join(&path), text)?,
            None => fs::remove_file(folder.join(&path))?,
        }
    }
    if options.release {
        release(&folder)?;
    }
    check()
}

/// Fails on any difference between generated and committed, and on what breaks a released schema.
///
/// # Errors
/// With all that is wrong.
pub fn check() -> Result<()> {
    say("schemas: generated = committed, and none that was released is broken");
    let wrong = wrong(&root().join("schemas"))?;
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"))
}

/// All that is wrong with the files of a folder, a sentence each.
///
/// # Errors
/// When a file cannot be read.
pub fn wrong(folder: &Path) -> Result<Vec<String>> {
    let differ = differences(folder, &generated())?;
    let mut wrong: Vec<_> = differ
        .into_iter()
        .map(|path| format!("schemas/{path} is not what the types say: run `cargo xtask schemas`"))
        .collect();
    for (name, released) in released(folder)? {
        wrong.extend(broken(&name, &released, &current()));
    }
    Ok(wrong)
}

/// Every generated file: its path under `schemas/`, and its text.
pub fn generated() -> BTreeMap<String, String> {
    let events = current().into_iter().map(|(action, (_, schema))| (format!("events/{action}.json"), schema));
    let refused = document(
        "a refusal: an event with outcome `denied` or `failure`",
        Refused::SCHEMA,
        shape_of::<RefusedData>(),
    );
    let files = events.chain([("refused.json".to_owned(), refused)]).chain(openapi());
    files.map(|(path, document)| (path, text(&document))).collect()
}

/// The OpenAPI documents: of the public listener, and of the operator's socket.
fn openapi() -> [(String, Value); 2] {
    [
        ("openapi.json".to_owned(), json!(openapi::document())),
        ("operator.json".to_owned(), json!(openapi::operators::document())),
    ]
}

/// The schema number and the JSON Schema of each action.
fn current() -> BTreeMap<&'static str, (u32, Value)> {
    let actions = Event::actions();
    actions
        .map(|spec| (spec.action, (spec.schema, document(spec.action, spec.schema, (spec.shape)()))))
        .collect()
}

/// One self-contained JSON Schema 2020-12.
fn document(title: &str, schema: u32, (shape, referred): Shape) -> Value {
    let mut document = json!(shape);
    let defs: serde_json::Map<_, _> =
        referred.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    document["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    document["$comment"] = json!(format!("schema {schema} of {title}"));
    document["title"] = json!(title);
    if !defs.is_empty() {
        document["$defs"] = Value::Object(defs);
    }
    point_to_defs(&mut document);
    document
}

/// Rewrites references into OpenAPI's components, where the schemas were made for, to the document's own `$defs`.
fn point_to_defs(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/components/schemas/")
            {
                *target = format!("#/$defs/{name}");
            }
            fields.values_mut().for_each(point_to_defs);
        }
        Value::Array(values) => values.iter_mut().for_each(point_to_defs),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What a released schema, `<action>.<schema>`, no longer finds in the current ones.
fn broken(name: &str, released: &Value, current: &BTreeMap<&str, (u32, Value)>) -> Vec<String> {
    let file = format!("schemas/released/{name}.json");
    let Some((action, number)) = name.rsplit_once('.').and_then(|(a, n)| Some((a, n.parse::<u32>().ok()?)))
    else {
        return vec![format!("{file} is not named <action>.<schema>.json")];
    };
    match current.get(action) {
        None => vec![format!("{file}: `{action}` was released and is gone: its records could not be read")],
        Some((now, schema)) if *now == number => compatibility::broken(released, schema)
            .into_iter()
            .map(|what| format!("{file}: {what}: raise the schema number of `{action}` and add an upcaster"))
            .collect(),
        Some((now, _)) if *now < number => vec![format!("{file}: `{action}` went back to schema {now}")],
        // Records of an older number go through `log/upcast.rs`.
        Some(_) => Vec::new(),
    }
}

/// The paths under `folder` that differ from what is generated, missing and superfluous ones included.
fn differences(folder: &Path, generated: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let mut differ = Vec::new();
    for (path, text) in generated {
        let committed = fs::read_to_string(folder.join(path)).unwrap_or_default();
        if committed != *text {
            differ.push(path.clone());
        }
    }
    for path in names(&folder.join("events"))?.into_iter().map(|name| format!("events/{name}")) {
        if !generated.contains_key(&path) {
            differ.push(path);
        }
    }
    Ok(differ)
}

/// The released schemas by name, `<action>.<schema>`.
fn released(folder: &Path) -> Result<Vec<(String, Value)>> {
    let folder = folder.join("released");
    let mut released = Vec::new();
    for file in names(&folder)? {
        let path = folder.join(&file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let schema = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        released.push((file.trim_end_matches(".json").to_owned(), schema));
    }
    Ok(released)
}

/// Keeps each current schema that was not released before.
fn release(folder: &Path) -> Result<()> {
    for (action, (number, schema)) in current() {
        let path = folder.join(format!("released/{action}.{number}.json"));
        if !path.exists() {
            write(&path, &text(&schema))?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// The names in a folder, sorted; none where the folder is not there.
fn names(folder: &Path) -> Result<Vec<String>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = folder.read_dir()?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<_> =
        entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn text(document: &Value) -> String {
    format!("{document:#}\n")
}
