//! [`Api`]: requests to a server with an API key, and its answers. What they are about is its users' business.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::client::error::ClientError;
use crate::client::http;
use crate::clock::Clock;
use crate::config::value::PublicUrl;
use crate::http::credentials::X_FASTN_API_KEY;
use crate::http::problem::ProblemBody;

/// The environment variable with the server's URL.
pub const SETTLED_URL: &str = "SETTLED_URL";
/// The environment variable with the API key.
pub const SETTLED_API_KEY: &str = "SETTLED_API_KEY";

/// How long a connection may take to be made,
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// and an answer to be complete.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The longest answer: more than any environment in its right mind holds, less than a program has memory.
const ANSWER_MAX_BYTES: usize = 64 << 20;
/// The longest answer that is no success.
const PROBLEM_MAX_BYTES: usize = 64 << 10;

/// A server, and the API key to ask it with.
#[derive(Clone)]
pub struct Api {
    http: Client,
    url: String,
    key: HeaderValue,
    pub(super) clock: Clock,
}

/// An answer to a request that says what is known already.
pub(super) enum Changed<T> {
    /// What is known is what there is.
    No,
    /// Something else, with its entity tag.
    To(T, Option<HeaderValue>),
}

impl Api {
    /// The server that `SETTLED_URL` names, with the key in `SETTLED_API_KEY`.
    ///
    /// # Errors
    /// When one of them is not set, or as [`Api::new`].
    pub fn from_env() -> Result<Self, ClientError> {
        let variable = |name| std::env::var(name).map_err(|_| ClientError::NotSet(name));
        let (url, key) = (variable(SETTLED_URL)?, Zeroizing::new(variable(SETTLED_API_KEY)?));
        Self::new(&url, &key)
    }

    /// A server by its URL, with an API key.
    ///
    /// # Errors
    /// When the URL is none, the key has characters that no key has, or TLS is needed and cannot be used.
    pub fn new(url: &str, key: &str) -> Result<Self, ClientError> {
        let url = url.parse::<PublicUrl>().map_err(|_| ClientError::InvalidUrl)?.to_string();
        let mut key = HeaderValue::from_str(key).map_err(|_| ClientError::InvalidKey)?;
        key.set_sensitive(true);
        let builder = if url.starts_with("https:") {
            http::trusting_the_system().map_err(ClientError::Tls)?
        } else {
            http::plain()
        };
        let http = builder
            .connect_timeout(CONNECT_MAX)
            .build()
            .map_err(|source| ClientError::Unreachable { url: url.clone(), source })?;
        Ok(Self { http, url, key, clock: Clock::system() })
    }

    /// The server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// GETs a path with its query.
    ///
    /// # Errors
    /// When there is no answer, or it is not a success.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(self.http.get(self.at(path)).timeout(ANSWER_MAX)).await?;
        self.json(response).await
    }

    /// GETs a path with its query, which answers with text.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        let response = self.send(self.http.get(self.at(path)).timeout(ANSWER_MAX)).await?;
        let status = response.status();
        let body = self.read(response, ANSWER_MAX_BYTES).await?;
        String::from_utf8(body.to_vec()).map_err(|_| self.unreadable(status))
    }

    /// POSTs JSON to a path.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<T, ClientError> {
        let request = self.http.post(self.at(path)).timeout(ANSWER_MAX);
        let request = request.header(CONTENT_TYPE, "application/json").body(Bytes::from_owner(body));
        let response = self.send(request).await?;
        self.json(response).await
    }

    /// GETs a path unless what is known under an entity tag is still what there is.
    pub(super) async fn get_unless<T: DeserializeOwned>(
        &self,
        path: &str,
        known: Option<HeaderValue>,
    ) -> Result<Changed<T>, ClientError> {
        let mut request = self.http.get(self.at(path)).timeout(ANSWER_MAX);
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        let response = self.send(request).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Changed::No);
        }
        let tag = response.headers().get(ETAG).cloned();
        Ok(Changed::To(self.json(response).await?, tag))
    }

    /// Opens a path's stream of server-sent events.
    pub(super) async fn stream(&self, path: &str) -> Result<Response, ClientError> {
        let sending = self.send(self.http.get(self.at(path)));
        match self.clock.timeout(ANSWER_MAX, sending).await {
            Ok(opened) => opened,
            Err(_timed_out) => Err(ClientError::Silent { url: self.url.clone() }),
        }
    }

    /// The next piece of a stream.
    pub(super) async fn piece(
        &self,
        stream: &mut Response,
        silence_max: Duration,
    ) -> Result<Bytes, ClientError> {
        match self.clock.timeout(silence_max, stream.chunk()).await {
            Ok(Ok(Some(piece))) => Ok(piece),
            Ok(Ok(None)) => Err(ClientError::Ended { url: self.url.clone() }),
            Ok(Err(source)) => Err(self.unreachable(source)),
            Err(_timed_out) => Err(ClientError::Silent { url: self.url.clone() }),
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.header(X_FASTN_API_KEY, self.key.clone()).send().await;
        let response = response.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let problem = match self.read(response, PROBLEM_MAX_BYTES).await {
            Ok(body) => serde_json::from_slice::<ProblemBody>(&body).ok(),
            Err(ClientError::TooLong { .. }) => None,
            Err(error) => return Err(error),
        };
        Err(problem
            .map_or_else(|| self.unreadable(status), |problem| ClientError::Refused(Box::new(problem))))
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let status = response.status();
        let body = self.read(response, ANSWER_MAX_BYTES).await?;
        // What a deserializer says may quote a value.
        serde_json::from_slice(&body).map_err(|_| self.unreadable(status))
    }

    /// An answer's body, in memory that is wiped. (What the connection read it into is not.)
    async fn read(&self, mut response: Response, limit: usize) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = Zeroizing::new(Vec::with_capacity(announced.unwrap_or_default().min(limit)));
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + piece.len() > limit {
                return Err(ClientError::TooLong { url: self.url.clone(), limit });
            }
            if body.len() + piece.len() > body.capacity() {
                // Growing in place would leave the old memory behind unwiped.
                let mut grown = Zeroizing::new(Vec::with_capacity((body.len() + piece.len()) * 2));
                grown.extend_from_slice(&body);
                body = grown;
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.url.clone(), source: source.without_url() }
    }

    /// That it says "as before" of what nobody had.
    pub(super) fn as_before_what(&self) -> ClientError {
        self.unreadable(StatusCode::NOT_MODIFIED)
    }

    fn unreadable(&self, status: StatusCode) -> ClientError {
        ClientError::Unreadable { url: self.url.clone(), status: status.as_u16() }
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Api({})", self.url)
    }
}
