//! Talking to a running server over the socket in its data directory.

use std::path::Path;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use zeroize::Zeroizing;

/// A running server that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// It cannot be reached.
    #[error("the server's socket cannot be reached")]
    Io(#[from] std::io::Error),
    /// The connection broke: it stopped, or met an error that stands in its log.
    #[error("the connection to the server broke; its log may say why")]
    Http(#[from] hyper::Error),
    /// It refused.
    #[error("the server answered {status}: {why}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What the problem says.
        why: String,
    },
}

/// Sends a request without a body, and gives the answer's.
///
/// # Errors
/// When the server cannot be reached, or does not answer with a success.
pub fn call(socket: &Path, method: Method, path: &str) -> Result<Bytes, SocketError> {
    let request = request(method, path, Bytes::new());
    block_on(socket, request, async |response| Ok(response.into_body().collect().await?.to_bytes()))
}

/// Sends a POST whose body is JSON, and gives the answer's. The body may hold a secret: it is wiped.
///
/// # Errors
/// When the server cannot be reached, or does not answer with a success.
pub fn post(socket: &Path, path: &str, json: Zeroizing<String>) -> Result<Bytes, SocketError> {
    let mut request = request(Method::POST, path, Bytes::from_owner(json));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    block_on(socket, request, async |response| Ok(response.into_body().collect().await?.to_bytes()))
}

/// Sends a GET, and gives the answer's body to `take` piece by piece, until that says false.
///
/// # Errors
/// When the server cannot be reached, does not answer with a success, or breaks off.
pub fn stream(socket: &Path, path: &str, mut take: impl FnMut(&[u8]) -> bool) -> Result<(), SocketError> {
    block_on(socket, request(Method::GET, path, Bytes::new()), async |response| {
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref()
                && !take(data)
            {
                break;
            }
        }
        Ok(())
    })
}

fn request(method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "settled")
        .body(Full::new(body))
        .expect("the method and the path are ours, of constants, ids and numbers")
}

fn block_on<T>(
    socket: &Path,
    request: Request<Full<Bytes>>,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, SocketError>,
) -> Result<T, SocketError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = tokio::net::UnixStream::connect(socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        let result = if status.is_success() {
            read(response).await
        } else {
            let body = response.into_body().collect().await?.to_bytes();
            Err(SocketError::Refused { status, why: why(&body) })
        };
        driver.abort();
        result
    })
}

/// What a problem document says to a person; of anything else the text.
fn why(body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    detail.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}
