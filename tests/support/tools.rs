//! Programs that tests need and the machine may lack: `cargo xtask test` installs them, and says where.

use std::path::{Path, PathBuf};

/// A program of a tool: where its variable (`SETTLED_MOTO` of moto) says, else where it was installed last time.
pub fn installed(tool: &str, program: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(format!("SETTLED_{}", tool.to_uppercase())) {
        return path.into();
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let folders = std::fs::read_dir(&tools).into_iter().flatten().map_while(Result::ok);
    let of_it = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{tool}-")));
    let mut found = of_it.map(|entry| entry.path().join("bin").join(program)).filter(|path| path.exists());
    found
        .next()
        .unwrap_or_else(|| panic!("{tool} is not installed: run `cargo xtask test`, which installs it"))
}
