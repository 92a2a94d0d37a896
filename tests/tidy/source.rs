//! The files that the rules look at, and what of a file is code.

use std::path::Path;

/// One file of the repository.
pub(crate) struct Source {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether all of it is there for tests alone.
    pub(crate) fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.split('/').any(|folder| folder == "tests")
            || name == "tests.rs"
            || name.ends_with("_tests.rs")
    }

    /// The lines outside of its modules of tests, with their numbers from 1. A module of tests ends at the first
    /// line that is the brace which closes it, as rustfmt lays it out.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut gated = false;
        let mut inside = false;
        self.text.lines().enumerate().filter_map(move |(index, line)| {
            if inside {
                inside = line != "}";
                return None;
            }
            if gated && line.starts_with("mod ") {
                inside = line.ends_with('{');
                gated = false;
                return None;
            }
            gated = line == "#[cfg(test)]" || (gated && line.starts_with("#["));
            (!gated).then_some((index + 1, line))
        })
    }

    /// [`Source::lines`] without comments.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
    }
}

/// What of the repository is no code, and is held against it.
const PAGES: [&str; 5] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "Cargo.toml", "README.md", "clippy.toml"];

/// Every Rust file of the repository, and its pages.
pub(crate) fn tree(root: &Path) -> Vec<Source> {
    let mut files: Vec<_> = PAGES.iter().map(|page| read(root, &root.join(page))).collect();
    let mut folders: Vec<_> =
        ["docs", "examples", "src", "tests", "tools"].map(|folder| root.join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("a folder of the repository") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
                files.push(read(root, &path));
            }
        }
    }
    files
}

fn read(root: &Path, path: &Path) -> Source {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let path = path.strip_prefix(root).expect("below the root");
    Source { path: path.to_string_lossy().into_owned(), text }
}
