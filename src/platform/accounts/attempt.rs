//! An attempt at somebody's password: slowed down by what was typed and by the client's network.

use std::net::IpAddr;

use crate::http::app::App;
use crate::http::problem::Problem;

/// An attempt under way.
pub struct Attempt<'a> {
    app: &'a App,
    typed: String,
    ip: Option<IpAddr>,
}

impl<'a> Attempt<'a> {
    /// Counts it, before the password is looked at. `typed` is the address as typed, case-folded, or whatever else names
    /// whose password it is.
    ///
    /// # Errors
    /// 429.
    pub fn begin(app: &'a App, typed: String, ip: Option<IpAddr>) -> Result<Self, Problem> {
        app.throttle.attempt(&typed, ip, app.store.clock().now()).map_err(|throttled| {
            app.store.metrics().login_throttled();
            Problem::too_many_requests(throttled.retry_after_seconds)
        })?;
        Ok(Self { app, typed, ip })
    }

    /// What looking at the password came to; where that could not be done, the attempt was none.
    ///
    /// # Errors
    /// Those of looking at it.
    pub async fn looked_at<T>(&self, looks: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        looks.await.inspect_err(|_| self.withdrawn())
    }

    /// It was none.
    pub fn withdrawn(&self) {
        self.app.throttle.withdrawn(&self.typed, self.ip);
    }

    /// The password was right.
    pub fn succeeded(&self) {
        self.app.throttle.succeeded(&self.typed, self.ip, self.app.store.clock().now());
    }
}
