//! The pages on which somebody consents, as they are answered: plain HTML that takes nothing from elsewhere, runs no script
//! and shows in no frame. What a provider says is never in one.

use std::sync::LazyLock;

use askama::Template;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::http::problem::Problem;

/// How every page looks. It stands in the page, which the policy allows by its hash: nothing else that says how a page looks, as
/// somebody's text on it might, has any effect.
pub const STYLE: &str = include_str!("../../templates/page.css");

/// Nothing but that style. Who embeds a page could have its button pressed unseen (RFC 9700 §4.16).
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("base64 is visible ASCII")
});

/// What every page says beside that.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // The link's token and the provider's code stand in the URL. Of nothing at all browsers would not say with our own form
    // whose page it is from.
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
];

/// Who asks for what, and the button that leads on.
#[derive(Template)]
#[template(path = "connect.html")]
pub struct ConnectPage<'a> {
    /// The organization's name.
    pub organization: &'a str,
    /// What the provider is called.
    pub provider: &'a str,
    /// The app's name.
    pub app: &'a str,
    /// The name of the environment whose programs will use it.
    pub environment: &'a str,
    /// What they find it by.
    pub connection: &'a str,
    /// What is asked for.
    pub scopes: &'a [String],
    /// The host that the button leads to.
    pub host: &'a str,
}

/// The way on to the provider. A page and no redirect: browsers hold what a form leads to against the policy above, however
/// many redirects the provider adds.
#[derive(Template)]
#[template(path = "continue.html")]
pub struct ContinuePage<'a> {
    /// Where the provider asks.
    pub url: &'a str,
    /// Its host.
    pub host: &'a str,
}

/// What came of it, or why nothing did.
#[derive(Template)]
#[template(path = "told.html")]
struct ToldPage {
    title: &'static str,
    text: &'static str,
}

/// A page as an answer.
pub fn page(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => {
            let mut response = (status, html).into_response();
            let headers = response.headers_mut();
            headers.extend(HEADERS.map(|(name, value)| (Some(name), value)));
            headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
            response
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            Problem::internal().into_response()
        }
    }
}

/// A page that tells something in a fixed text.
pub fn told(status: StatusCode, title: &'static str, text: &'static str) -> Response {
    page(status, &ToldPage { title, text })
}
