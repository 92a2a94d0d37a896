//! Progress of long work, on standard error and only where somebody watches it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that is gone when dropped. Where standard error is no terminal nothing is shown.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for work on `total` things, as in `verifying frames`.
    pub fn new(what: &'static str, total: u64) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}")
            .expect("the template has only the names of indicatif's keys");
        let bar = ProgressBar::new(total).with_style(style).with_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// Says that the first `done` of all are done.
    pub fn reached(&self, done: u64) {
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
