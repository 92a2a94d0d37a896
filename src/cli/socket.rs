//! Talking to a running server over the socket in its data directory.

use std::path::Path;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;

/// A running server that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// It cannot be reached.
    #[error("the server's socket cannot be reached")]
    Io(#[from] std::io::Error),
    /// The connection broke.
    #[error("the connection to the server broke")]
    Http(#[from] hyper::Error),
    /// It refused.
    #[error("the server answered {status}: {body}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The problem.
        body: String,
    },
}

/// Sends a request without a body, and gives the answer's.
///
/// # Errors
/// When the server cannot be reached, or does not answer with a success.
pub fn call(socket: &Path, method: Method, path: &str) -> Result<Bytes, SocketError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = tokio::net::UnixStream::connect(socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "settled")
            .body(Full::<Bytes>::default())
            .expect("the method and the path are constants of ours");
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        driver.abort();
        if status.is_success() {
            Ok(body)
        } else {
            Err(SocketError::Refused { status, body: String::from_utf8_lossy(&body).into_owned() })
        }
    })
}
