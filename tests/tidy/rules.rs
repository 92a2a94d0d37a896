//! The rules, each a function from files to complaints that say where.

use std::collections::{BTreeMap, BTreeSet};

use crate::named::{
    a_dependency_is_used, a_documented_type_has_a_name_of_its_own, a_path_that_is_named_is_there,
};
use crate::source::Source;

/// A rule of the layout.
pub(crate) struct Rule {
    /// What holds.
    pub(crate) name: &'static str,
    /// What does not, with its place.
    pub(crate) check: fn(&[Source]) -> Vec<String>,
}

/// All of them.
pub(crate) const RULES: &[Rule] = &[
    Rule { name: "says what belongs in it", check: says_what_belongs_in_it },
    Rule { name: "crates stay in their place", check: crates_stay_in_their_place },
    Rule { name: "an area has its files", check: an_area_has_its_files },
    Rule { name: "only the store appends", check: only_the_store_appends },
    Rule { name: "the audit log stores nothing", check: the_audit_log_stores_nothing },
    Rule { name: "the map names every module", check: the_map_names_every_module },
    Rule { name: "dependencies point one way", check: dependencies_point_one_way },
    Rule { name: "no file is long", check: no_file_is_long },
    Rule { name: "imports are named", check: imports_are_named },
    Rule { name: "exceptions are expected", check: exceptions_are_expected },
    Rule { name: "a name has one place", check: a_name_has_one_place },
    Rule { name: "a path that is named is there", check: a_path_that_is_named_is_there },
    Rule { name: "a dependency is used", check: a_dependency_is_used },
    Rule { name: "a documented type has a name of its own", check: a_documented_type_has_a_name_of_its_own },
];

/// The product's own files, without tests.
fn product(files: &[Source]) -> impl Iterator<Item = &Source> {
    files.iter().filter(|file| file.is_rust() && file.path.starts_with("src/") && !file.is_test())
}

/// A complaint of each line of code of a file in which `wrong` finds something.
fn lines<'a>(
    file: &'a Source,
    wrong: impl Fn(&str) -> Option<String> + 'a,
) -> impl Iterator<Item = String> + 'a {
    file.code()
        .filter_map(move |(number, line)| wrong(line).map(|what| format!("{}:{number}: {what}", file.path)))
}

fn says_what_belongs_in_it(files: &[Source]) -> Vec<String> {
    let silent = |file: &&Source| {
        !file.text.lines().next().is_some_and(|line| line.len() > 5 && line.starts_with("//! "))
    };
    let rust = files.iter().filter(|file| file.is_rust());
    rust.filter(silent)
        .map(|file| format!("{}:1: begins without a sentence of what belongs here", file.path))
        .collect()
}

/// Crates that only these files may name: what they decide must not leak into the rest.
const PLACES: &[(&str, &[&str])] = &[
    ("sled", &["src/log/sled/"]),
    // Beside records, states are saved and compared in MessagePack; all that is derived.
    ("rmp_serde", &["src/log/codec.rs", "src/store/encoding.rs"]),
    ("aes_siv", &["src/seal/"]),
    ("lettre", &["src/mail/"]),
    ("tokio_rustls", &["src/http/tls.rs", "src/client/", "src/outgoing/"]),
    ("reqwest", &["src/client/"]),
    ("axum", &["src/http/", "http.rs", "src/server.rs", "src/metrics.rs"]),
];

/// An area may spread its handlers over several files; these stand beside its `http.rs`.
const MORE_HANDLERS: &[&str] = &[
    "src/oauth/browser.rs",
    "src/oauth/connect.rs",
    "src/oauth/pages.rs",
    "src/settings/connections/linking.rs",
    "src/settings/customers/listing.rs",
    "src/settings/customers/patching.rs",
    "src/settings/environments/config.rs",
    "src/settings/executions/listing.rs",
    "src/settings/billing/customer_http.rs",
    "src/settings/billing/usage.rs",
    "src/settings/invitations/accepting.rs",
    "src/platform/accounts/address.rs",
    "src/platform/accounts/departure.rs",
    "src/platform/accounts/login.rs",
    "src/platform/accounts/mailed.rs",
    "src/platform/accounts/me.rs",
    "src/platform/accounts/own.rs",
    "src/platform/accounts/recovery.rs",
    "src/platform/accounts/signup.rs",
    "src/settings/general/domain.rs",
    "src/settings/roles/assignments.rs",
    "src/settings/secrets/listing.rs",
    "src/settings/roles/explain.rs",
    "src/settings/teams/members.rs",
    "src/settings/secrets/import.rs",
    "src/settings/secrets/values.rs",
];

fn crates_stay_in_their_place(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in product(files) {
        for (krate, places) in PLACES {
            let place =
                |place: &&str| file.path.starts_with(*place) || file.path.ends_with(&format!("/{place}"));
            let handlers = *krate == "axum" && MORE_HANDLERS.contains(&file.path.as_str());
            if places.iter().any(place) || handlers {
                continue;
            }
            complaints.extend(lines(file, |line| {
                names(line, krate).then(|| format!("`{krate}` belongs in {}", places.join(", ")))
            }));
        }
    }
    complaints
}

/// Whether a line of code has a path that begins with this crate.
fn names(line: &str, krate: &str) -> bool {
    line.match_indices(&format!("{krate}::")).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

fn an_area_has_its_files(files: &[Source]) -> Vec<String> {
    let mut areas: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in product(files) {
        if let [kind @ ("settings" | "platform"), _, name] =
            file.path.split('/').skip(1).collect::<Vec<_>>()[..]
        {
            let folder = &file.path[..file.path.len() - name.len() - 1];
            let needed = areas.entry(folder).or_default();
            needed.insert(name);
            if kind == "platform" {
                // The platform's areas have routes only where people reach them.
                needed.insert("http.rs");
            }
        }
    }
    let mut complaints = Vec::new();
    for (folder, has) in areas {
        for name in ["mod.rs", "event.rs", "command.rs", "projection.rs", "http.rs"] {
            if !has.contains(name) {
                complaints.push(format!("{folder}: an area has a {name}"));
            }
        }
    }
    complaints
}

fn only_the_store_appends(files: &[Source]) -> Vec<String> {
    // The log itself passes appends down; opening a store from nothing has no store yet.
    let may = |file: &&Source| !file.path.starts_with("src/store/") && !file.path.starts_with("src/log/");
    let log = |line: &str| line.contains("log.append(") || line.contains("log().append(");
    product(files)
        .filter(may)
        .flat_map(|file| lines(file, move |line| log(line).then(|| "only the store appends".to_owned())))
        .collect()
}

fn the_audit_log_stores_nothing(files: &[Source]) -> Vec<String> {
    const WRITES: [&str; 7] =
        [".execute(", ".submit(", ".append(", "impl Fold for", "events! {", "->decide(", "fs::write"];
    let mut complaints = Vec::new();
    for file in product(files).filter(|file| file.path.starts_with("src/audit/")) {
        if ["event.rs", "command.rs", "projection.rs"].iter().any(|name| file.path.ends_with(name)) {
            complaints.push(format!("{}: the audit log has no such file", file.path));
        }
        // An export is an event, and its route records it.
        let recorded = file.path == "src/audit/http.rs";
        complaints.extend(lines(file, |line| {
            let found = WRITES.iter().find(|write| line.contains(**write))?;
            (!recorded).then(|| format!("the audit log stores nothing, and has no `{found}`"))
        }));
    }
    complaints
}

fn the_map_names_every_module(files: &[Source]) -> Vec<String> {
    let map = files.iter().find(|file| file.path == "ARCHITECTURE.md").map_or("", |file| file.text.as_str());
    let mut complaints = Vec::new();
    let mut modules = BTreeSet::new();
    for file in product(files) {
        // Down to two folders: what lies deeper is a part of what is named.
        let path: Vec<_> = file.path.trim_start_matches("src/").trim_end_matches(".rs").split('/').collect();
        match path[..] {
            ["lib" | "main"] => {}
            [one] | [one, "mod"] => drop(modules.insert(one.to_owned())),
            [one, two, ..] => drop(modules.insert(format!("{one}/{two}"))),
            [] => {}
        }
    }
    for module in modules {
        let forms = ["", "/", ".rs"].map(|end| format!("`{module}{end}`"));
        if !forms.iter().any(|form| map.contains(form)) {
            complaints.push(format!("ARCHITECTURE.md: does not name `{module}`"));
        }
    }
    complaints
}

/// What a file may not use, by the beginning of its path (and its end).
const ONE_WAY: &[(&str, &[&str])] = &[
    (
        "src/log/",
        &["store", "settings", "platform", "http", "audit", "cli", "server", "command", "organization"],
    ),
    (
        "src/seal/",
        &["store", "settings", "platform", "http", "audit", "cli", "server", "command", "organization"],
    ),
    ("src/store/", &["http", "audit", "cli", "server"]),
    ("src/audit/", &["cli", "server"]),
    ("src/http/", &["cli", "server"]),
    ("src/clock/", &["store", "http", "settings", "platform", "log", "audit", "cli", "server"]),
    ("src/ids.rs", &["store", "http", "settings", "platform", "log", "audit", "cli", "server", "event"]),
];

fn dependencies_point_one_way(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in product(files) {
        complaints.extend(file.code().filter_map(|(number, line)| {
            let used = line.split("crate::").nth(1)?;
            let wrong = points_back(&file.path, used);
            wrong.then(|| format!("{}:{number}: must not use crate::{}", file.path, used.trim_end()))
        }));
    }
    complaints
}

fn points_back(path: &str, used: &str) -> bool {
    let begins = |module: &str| used.strip_prefix(module).is_some_and(|rest| !rest.starts_with(is_word));
    let folder =
        |(start, modules): &(&str, &[&str])| path.starts_with(start) && modules.iter().any(|m| begins(m));
    let handlers =
        used.contains("::http::") && (used.starts_with("settings::") || used.starts_with("platform::"));
    let pure = is_pure(path)
        && (["store", "http", "audit", "cli", "server", "clock::Clock", "metrics"].iter().any(|m| begins(m))
            || (begins("seal") && used.contains("keyring"))
            || (begins("log") && !begins("log::canonical"))
            || others_commands(path, used));
    ONE_WAY.iter().any(folder) || (path.starts_with("src/store/") && handlers) || pure
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Beside handlers, what of an area is of the edge: opening what is sealed of a customer, and slowing down attempts.
const OF_THE_EDGE: [&str; 2] = ["src/settings/customers/profile.rs", "src/platform/accounts/attempt.rs"];

/// Deciding and applying: pure, so they know nothing that does I/O. All of an area is, but for its edge.
fn is_pure(path: &str) -> bool {
    let area = path.starts_with("src/settings/") || path.starts_with("src/platform/");
    let edge = ["/mod.rs", "/http.rs"].iter().any(|name| path.ends_with(name));
    area && !edge && !MORE_HANDLERS.contains(&path) && !OF_THE_EDGE.contains(&path)
}

/// An area may read another's projection, never its commands.
fn others_commands(path: &str, used: &str) -> bool {
    let own =
        path.trim_start_matches("src/").rsplit_once('/').map_or("", |(folder, _)| folder).replace('/', "::");
    used.contains("::command") && !used.starts_with("command") && !used.starts_with(&own)
}

fn no_file_is_long(files: &[Source]) -> Vec<String> {
    let long = |file: &&Source| file.lines().count() > 500;
    files
        .iter()
        .filter(|file| file.is_rust())
        .filter(long)
        .map(|file| format!("{}:500: is longer; a part of it wants its own name", file.path))
        .collect()
}

fn imports_are_named(files: &[Source]) -> Vec<String> {
    let wildcard = |line: &str| {
        let import = line.trim_start().trim_start_matches("pub ").starts_with("use ");
        (import && (line.contains("::*") || line.contains("{*") || line.contains(", *")))
            .then(|| "an import names what it imports".to_owned())
    };
    product(files).flat_map(|file| lines(file, wildcard)).collect()
}

fn exceptions_are_expected(files: &[Source]) -> Vec<String> {
    // Written in two, or this file would break its own rule.
    let attributes = [concat!("#[al", "low("), concat!("#![al", "low(")];
    let allowed = move |line: &str| {
        let line = line.trim_start();
        let found = attributes.iter().any(|attribute| line.starts_with(attribute));
        found.then(|| "`#[expect(…, reason = \"…\")]` disappears when it is no longer needed".to_owned())
    };
    files.iter().filter(|file| file.is_rust()).flat_map(|file| lines(file, allowed)).collect()
}

fn a_name_has_one_place(files: &[Source]) -> Vec<String> {
    let exported = |line: &str| {
        let found = line.trim_start().starts_with("pub use ");
        found.then(|| "a re-export gives a thing two names".to_owned())
    };
    product(files).flat_map(|file| lines(file, exported)).collect()
}
