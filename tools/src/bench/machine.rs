//! The machine that a run was on: what its absolute numbers depend on.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::reference::syncs_per_second;

/// A machine.
#[derive(Debug, Default, Serialize)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// How many of its cores there are to use.
    pub cores: usize,
    /// The memory, in MiB.
    pub memory_mib: u64,
    /// The kernel.
    pub kernel: String,
    /// How long a write of 4 KiB and its sync take at the beginning of the run, in microseconds.
    pub sync_us: f64,
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// When the disk cannot be written to.
    pub fn here() -> Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split(':').nth(1)).map(str::trim).unwrap_or_default().to_owned()
        };
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal");
        Ok(Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_mib: memory_kib.trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1_024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            sync_us: 1e6 / syncs_per_second(4_096, 1.0)?,
        })
    }

    /// As lines of a page.
    pub fn shown(&self) -> String {
        let mut lines = String::new();
        for (name, value) in [
            ("processor", self.processor.clone()),
            ("cores", self.cores.to_string()),
            ("memory", format!("{} MiB", self.memory_mib)),
            ("kernel", format!("Linux {}", self.kernel)),
            ("a write of 4 KiB and its sync", format!("{:.0} µs", self.sync_us)),
        ] {
            // Writing into a string cannot fail.
            let _infallible = writeln!(lines, "- {name}: {value}");
        }
        lines
    }
}
