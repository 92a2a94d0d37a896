//! `cargo xtask ci`: what must hold before anything lands, cheapest first, and the tests last.

use std::process::Command;

use anyhow::Result;

use crate::run::{self, program, root};
use crate::{counts, install, schemas, test};

/// Runs all checks.
///
/// # Errors
/// With the first that does not hold.
pub fn run() -> Result<()> {
    run::run(program("cargo fmt --all --check"))?;
    run::run(program("cargo clippy --workspace --all-targets --locked -- -D warnings"))?;
    run::run(licences()?)?;
    schemas::check()?;
    counts::check()?;
    test::run(&test::Options::ALL)
}

/// Licences, versions and sources of the crates. Advisories need a database that is not always reachable.
fn licences() -> Result<Command> {
    let mut deny = Command::new(install::deny()?);
    deny.args(["--locked", "check", "licenses", "bans", "sources"]).current_dir(root());
    Ok(deny)
}
