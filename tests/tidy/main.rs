//! Tidiness: the rules of how the code is laid out, over the real tree, each proved by a fixture that breaks it.
//!
//! What a compiler or clippy can check is theirs. A rule is a function from files to complaints, in `rules.rs`.

mod named;
mod rules;
mod source;

use std::path::Path;

use rules::RULES;
use source::{Source, tree};

#[test]
fn the_tree_keeps_every_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = tree(root);
    assert!(files.len() > 50, "the tree was not found");
    let complaints: Vec<_> = RULES.iter().flat_map(|rule| (rule.check)(&files)).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Whether a rule complains of `path` holding `text`, in an otherwise tidy tree.
fn complains(rule: &str, path: &str, text: &str) -> bool {
    let rule = RULES.iter().find(|known| known.name == rule).expect(rule);
    let mut files = tidy();
    assert_eq!((rule.check)(&files), Vec::<String>::new(), "{} complains of a tidy tree", rule.name);
    files.retain(|file| file.path != path);
    files.push(Source::new(path, text));
    let complaints = (rule.check)(&files);
    assert!(complaints.iter().all(|complaint| complaint.contains(':')), "{complaints:?} say where");
    !complaints.is_empty()
}

/// A tree in which everything is as it should be, as small as the rules allow.
fn tidy() -> Vec<Source> {
    let area = ["mod", "event", "command", "projection", "http"];
    let files = area.map(|file| Source::new(&format!("src/settings/doors/{file}.rs"), "//! Doors.\n"));
    let map = "`log/` `log/sled` `store/` `store/writer` `audit/` `settings/` `settings/doors` `platform/`";
    let others = [
        ("ARCHITECTURE.md", map),
        ("src/log/sled/mod.rs", "//! The log on sled.\nuse sled::Db;\n"),
        ("src/store/writer.rs", "//! The writer.\nfn commit() { log.append(batch); }\n"),
        ("src/audit/mod.rs", "//! The audit log.\n"),
    ];
    files.into_iter().chain(others.map(|(path, text)| Source::new(path, text))).collect()
}

#[test]
fn a_file_without_a_word_of_what_it_is_for_is_found() {
    assert!(complains("says what belongs in it", "src/x.rs", "use std::fmt;\n"));
    assert!(complains("says what belongs in it", "tests/x.rs", "//!\n"));
    assert!(!complains("says what belongs in it", "src/audit/x.rs", "//! What it is for.\n"));
}

#[test]
fn an_import_of_a_crate_outside_its_place_is_found() {
    for (krate, path) in [
        ("sled", "src/store/writer.rs"),
        ("rmp_serde", "src/settings/doors/event.rs"),
        ("aes_siv", "src/log/sled/mod.rs"),
        ("axum", "src/settings/doors/command.rs"),
        ("axum", "src/store/writer.rs"),
    ] {
        assert!(
            complains("crates stay in their place", path, &format!("//! X.\nuse {krate}::Thing;\n")),
            "{krate}"
        );
        assert!(complains(
            "crates stay in their place",
            path,
            &format!("//! X.\nfn f(x: {krate}::X) {{}}\n")
        ));
    }
    assert!(!complains(
        "crates stay in their place",
        "src/settings/doors/http.rs",
        "//! X.\nuse axum::Json;\n"
    ));
    assert!(!complains("crates stay in their place", "src/log/sled/x.rs", "//! sled::Db\nuse sled::Db;\n"));
    assert!(!complains(
        "crates stay in their place",
        "src/store/writer.rs",
        "//! X.\n// sled::Db is elsewhere\n"
    ));
}

#[test]
fn an_area_that_lacks_one_of_its_files_is_found() {
    let rule = "an area has its files";
    assert!(complains(rule, "src/settings/windows/mod.rs", "//! Windows.\n"));
    assert!(complains(rule, "src/platform/locks/event.rs", "//! Locks.\n"));
}

#[test]
fn an_append_outside_the_store_is_found() {
    let text = "//! X.\nfn f() { self.log.append(batch) }\n";
    assert!(complains("only the store appends", "src/http/x.rs", text));
    assert!(complains("only the store appends", "src/settings/doors/command.rs", text));
    assert!(!complains("only the store appends", "src/store/writer.rs", text));
    let tested = "//! X.\n#[cfg(test)]\nmod tests {\n    fn f() { log.append(batch) }\n}\n";
    assert!(!complains("only the store appends", "src/http/x.rs", tested));
}

#[test]
fn an_audit_log_that_writes_or_keeps_is_found() {
    let rule = "the audit log stores nothing";
    for text in
        ["store.execute(handle, submission)", "impl Fold for Audit {}", "events! {}", "call.submit(command)"]
    {
        assert!(complains(rule, "src/audit/query.rs", &format!("//! X.\nfn f() {{}} {text}\n")), "{text}");
    }
    for file in ["event", "command", "projection"] {
        assert!(complains(rule, &format!("src/audit/{file}.rs"), "//! X.\n"), "{file}");
    }
}

#[test]
fn a_module_that_the_map_does_not_name_is_found() {
    assert!(complains("the map names every module", "src/cellar.rs", "//! X.\n"));
    assert!(complains("the map names every module", "src/log/cellar.rs", "//! X.\n"));
    assert!(!complains(
        "the map names every module",
        "src/log/sled/cellar.rs",
        "//! A part of what is named.\n"
    ));
}

#[test]
fn a_dependency_that_points_back_is_found() {
    let rule = "dependencies point one way";
    for (path, import) in [
        ("src/settings/doors/command.rs", "crate::store::Store"),
        ("src/settings/doors/projection.rs", "crate::http::problem::Problem"),
        ("src/settings/doors/event.rs", "crate::seal::keyring::KeyRing"),
        ("src/settings/doors/command.rs", "crate::settings::windows::command::OpenWindow"),
        ("src/settings/doors/hinges.rs", "crate::clock::Clock"),
        ("src/store/writer.rs", "crate::http::call::Call"),
        ("src/store/writer.rs", "crate::settings::doors::http::list"),
        ("src/log/sled/mod.rs", "crate::settings::doors::projection::Doors"),
        ("src/log/sled/mod.rs", "crate::store::Store"),
        ("src/seal/root.rs", "crate::store::Store"),
        ("src/http/problem.rs", "crate::cli::exit::Exit"),
    ] {
        assert!(complains(rule, path, &format!("//! X.\nuse {import};\n")), "{path} uses {import}");
    }
    for (path, import) in [
        ("src/settings/doors/http.rs", "crate::store::Store"),
        ("src/settings/roles/explain.rs", "crate::store::Store"),
        ("src/settings/doors/command.rs", "crate::settings::windows::projection::Windows"),
        ("src/settings/doors/command.rs", "crate::settings::doors::projection::Doors"),
        ("src/settings/doors/event.rs", "crate::seal::Sealed"),
        ("src/log/sled/mod.rs", "crate::event::Recorded"),
    ] {
        assert!(!complains(rule, path, &format!("//! X.\nuse {import};\n")), "{path} uses {import}");
    }
}

#[test]
fn a_file_of_more_than_500_lines_is_found_and_tests_do_not_count() {
    let rule = "no file is long";
    let long = format!("//! X.\n{}", "fn f() {}\n".repeat(500));
    assert!(complains(rule, "src/store/writer.rs", &long));
    let tested = format!("//! X.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn f() {}\n".repeat(500));
    assert!(!complains(rule, "src/store/writer.rs", &tested));
}

#[test]
fn a_wildcard_import_outside_tests_is_found() {
    let rule = "imports are named";
    assert!(complains(rule, "src/store/writer.rs", "//! X.\nuse crate::event::*;\n"));
    assert!(complains(rule, "src/store/writer.rs", "//! X.\nuse crate::event::{self, *};\n"));
    let tested = "//! X.\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
    assert!(!complains(rule, "src/store/writer.rs", tested));
}

#[test]
fn an_allow_is_found() {
    let rule = "exceptions are expected";
    assert!(complains(rule, "src/store/writer.rs", "//! X.\n#[allow(dead_code)]\nfn f() {}\n"));
    assert!(complains(rule, "tests/x.rs", "//! X.\n#![allow(unused)]\n"));
    assert!(!complains(rule, "src/store/writer.rs", "//! X.\n// not #[allow\n"));
}

#[test]
fn a_re_export_is_found() {
    let rule = "a name has one place";
    assert!(complains(rule, "src/store/writer.rs", "//! X.\npub use crate::event::Event;\n"));
    assert!(!complains(rule, "src/store/writer.rs", "//! X.\npub(crate) fn f() {}\n"));
}

#[test]
fn a_path_that_leads_nowhere_is_found() {
    let rule = "a path that is named is there";
    assert!(complains(rule, "README.md", "It is in `store/cellar.rs`.\n"));
    assert!(complains(rule, "clippy.toml", "# see src/cellar.rs\n"));
    assert!(complains(rule, "docs/x.md", "More: [there](docs/cellar.md).\n"));
    for there in
        ["`store/writer.rs`", "src/store/writer.rs", "`writer.rs`", "`src/store/`", "https://x.example/y"]
    {
        assert!(!complains(rule, "README.md", there), "{there}");
    }
}

#[test]
fn a_dependency_that_nothing_uses_is_found() {
    let rule = "a dependency is used";
    for section in ["dependencies", "dev-dependencies"] {
        assert!(complains(rule, "Cargo.toml", &format!("[{section}]\ncrab-apple = \"1\"\n")), "{section}");
        assert!(!complains(rule, "Cargo.toml", &format!("[{section}]\nsled = \"1\"\n")), "{section}");
    }
    assert!(!complains(rule, "Cargo.toml", "[dependencies]\naes = \"1\"\n\n[features]\ncrab-apple = []\n"));
}

#[test]
fn two_types_that_are_documented_alike_are_found() {
    let rule = "a documented type has a name of its own";
    let derived = "#[derive(ToSchema)]\npub enum Kind {}\n";
    for other in [
        "#[derive(Debug, utoipa::ToSchema)]\n#[serde(untagged)]\nstruct Kind;\n",
        "#[derive(ToSchema)]\n#[schema(as = Kind)]\npub struct DoorBody {}\n",
        "impl ToSchema for Kind {}\n",
        "checked_text!(Kind, min_length = 1);\n",
    ] {
        assert!(
            complains(rule, "src/settings/doors/http.rs", &format!("//! X.\n{derived}{other}")),
            "{other}"
        );
    }
    for other in [
        "#[derive(Debug)]\npub struct Kind;\n",
        "#[derive(ToSchema)]\n#[schema(as = DoorKind)]\npub struct Kind;\n",
        "#[cfg(test)]\nmod tests {\n    #[derive(ToSchema)]\n    struct Kind;\n}\n",
    ] {
        assert!(
            !complains(rule, "src/settings/doors/http.rs", &format!("//! X.\n{derived}{other}")),
            "{other}"
        );
    }
}
