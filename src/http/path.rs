//! The variable segments of a path, as text. What they name is the handler's to find; what is not text names nothing.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use crate::http::problem::Problem;

/// The variable segments of a request's path, decoded, in order.
#[derive(Clone, Debug)]
pub struct PathText(Vec<String>);

impl<S: Sync + Send> FromRequestParts<S> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let raw = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        Ok(Self(raw.iter().map(|(_, value)| value.to_owned()).collect()))
    }
}

impl PathText {
    /// The first variable segment; empty where the route has none.
    pub fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The second variable segment.
    pub fn second(&self) -> &str {
        self.0.get(1).map_or("", String::as_str)
    }
}
