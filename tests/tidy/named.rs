//! Rules about names: what a page names is there, what `Cargo.toml` names is used, and no two types are called alike in the
//! documents that are generated from them.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// Paths of files that a page names, as they are or below `src/`.
pub(crate) fn a_path_that_is_named_is_there(files: &[Source]) -> Vec<String> {
    let there: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let is_there = |path: &str| there.contains(path) || there.contains(format!("src/{path}").as_str());
    let pages = files.iter().filter(|file| !file.is_rust() && file.path != "Cargo.toml");
    let missing = pages.flat_map(|page| {
        let lines = page.text.lines().enumerate();
        let named = lines.flat_map(|(index, line)| {
            let is_of_a_path = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
            line.split(move |c| !is_of_a_path(c)).map(move |word| (index + 1, word))
        });
        let named = named
            .filter(|(_, word)| word.contains('/') && [".rs", ".md"].iter().any(|end| word.ends_with(end)));
        named
            .filter(|(_, path)| !is_there(path))
            .map(|(number, path)| format!("{}:{number}: there is no {path}", page.path))
    });
    missing.collect()
}

/// Crates that are there for what they switch on in others.
const FOR_THEIR_FEATURES: [&str; 2] = ["aes", "cmac"];

pub(crate) fn a_dependency_is_used(files: &[Source]) -> Vec<String> {
    let Some(manifest) = files.iter().find(|file| file.path == "Cargo.toml") else { return Vec::new() };
    let mut is_dependency = false;
    let mut complaints = Vec::new();
    for (index, line) in manifest.text.lines().enumerate() {
        if line.starts_with('[') {
            is_dependency = matches!(line, "[dependencies]" | "[dev-dependencies]");
        }
        let Some((name, _)) = line.split_once(" = ").filter(|_| is_dependency) else { continue };
        let path = format!("{}::", name.replace('-', "_"));
        let uses =
            |file: &Source| file.is_rust() && file.path != "tests/tidy/main.rs" && file.text.contains(&path);
        if !FOR_THEIR_FEATURES.contains(&name) && !files.iter().any(uses) {
            complaints.push(format!("Cargo.toml:{}: nothing uses `{name}`", index + 1));
        }
    }
    complaints
}

/// In OpenAPI the later of two components of one name wins, without a word.
pub(crate) fn a_documented_type_has_a_name_of_its_own(files: &[Source]) -> Vec<String> {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for file in files.iter().filter(|file| file.is_rust() && file.path.starts_with("src/") && !file.is_test())
    {
        for (number, name) in documented(file) {
            places.entry(name).or_default().push(format!("{}:{number}", file.path));
        }
    }
    let alike = places.into_iter().filter(|(_, places)| places.len() > 1);
    alike
        .map(|(name, places)| format!("{}: is documented as `{name}`, as another type is", places.join(", ")))
        .collect()
}

/// The types of a file that have a schema, with the names that documents have for them.
fn documented(file: &Source) -> Vec<(usize, String)> {
    let word = |text: &str| {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let mut found = Vec::new();
    let (mut derives, mut renamed) = (false, None);
    for (number, line) in file.code() {
        let line = line.trim_start();
        if line.starts_with("#[derive(") {
            derives = line.contains("ToSchema");
            renamed = None;
        }
        if let Some((_, name)) = line.split_once("#[schema(as = ") {
            renamed = Some(word(name));
        }
        for start in ["checked_text!(", "impl ToSchema for ", "impl utoipa::ToSchema for "] {
            let name = line.strip_prefix(start).map(word);
            // What a macro writes has its name where that is called.
            found.extend(name.filter(|name| !name.is_empty()).map(|name| (number, name)));
        }
        let item =
            ["pub struct ", "struct ", "pub enum ", "enum "].iter().find_map(|kind| line.strip_prefix(kind));
        if let Some(name) = item {
            if derives {
                found.push((number, renamed.take().unwrap_or_else(|| word(name))));
            }
            derives = false;
        }
    }
    found
}
