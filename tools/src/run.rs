//! Running programs: say what is run, and fail with it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tools/ lies in the repository")
}

/// Where tools that are not part of the build are kept: beside what cargo builds.
pub fn kept() -> PathBuf {
    target().join("tools")
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program to be run in the repository's root, with its arguments separated by spaces.
pub fn program(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs it, and fails if it does.
///
/// # Errors
/// When the program cannot be started or exits with anything but 0.
pub fn run(mut command: Command) -> Result<()> {
    let line = shown(&command);
    say(&line);
    let status = command.status().with_context(|| format!("`{line}` could not be started"))?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(())
}

/// Whether it can be started and exits with 0; what it prints is dropped.
pub fn succeeds(mut command: Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Tells which step is next.
#[expect(clippy::print_stderr, reason = "the steps of an xtask are shown on the terminal")]
pub fn say(step: &str) {
    eprintln!("\n\u{25b6} {step}");
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
