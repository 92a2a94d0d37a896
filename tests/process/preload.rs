//! The library of `preload.c`, which a server is started with to have a disk that fails or is slow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use crate::process::Start;

/// A disk whose syncs of the log take long, while its trigger is there.
pub struct SlowDisk {
    trigger: PathBuf,
}

impl SlowDisk {
    /// The disk, and how a server on it is to be started; healthy so far.
    pub fn under(start: &Start, sync_takes: Duration) -> (Self, Start) {
        let trigger = start.dir.with_extension("slow");
        let start = start
            .clone()
            .env("LD_PRELOAD", library().to_str().unwrap())
            .env("FAIL_CALL", "slow")
            .env("FAIL_FILE", "/log/db")
            .env("FAIL_DELAY_MS", sync_takes.as_millis().to_string())
            .env("FAIL_TRIGGER", trigger.to_str().unwrap());
        (Self { trigger }, start)
    }

    /// From now on it is slow.
    pub fn slow(&self) {
        std::fs::write(&self.trigger, b"").unwrap();
    }

    /// It is well again.
    pub fn well(&self) {
        std::fs::remove_file(&self.trigger).unwrap();
    }
}

/// The library, built once a test process.
pub fn library() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/preload.c");
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("preload-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&built).arg(source).arg("-ldl");
        assert!(cc.status().is_ok_and(|status| status.success()), "a C compiler is needed");
        built
    });
    &BUILT
}
