//! One request over one connection, and its answer, bounded.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use url::form_urlencoded::byte_serialize;
use url::{Host, Position};
use zeroize::Zeroizing;

use crate::outgoing::OutgoingError;
use crate::outgoing::connect::Stream;
use crate::outgoing::endpoint::Endpoint;
use crate::seal::Plain;

/// The most bytes of an answer's body that are read.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The most bytes of an answer's header.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// The most fields of an answer's header.
const HEADER_FIELDS_MAX: usize = 64;

/// What is posted: fields, and perhaps a name and a password beside them. Wiped when dropped.
#[derive(Default)]
pub struct Form {
    body: Zeroizing<String>,
    authorization: Option<Zeroizing<String>>,
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form")
    }
}

impl Form {
    /// The same with one more field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        let (name, value) = (encoded(name), encoded(value));
        let separator = if self.body.is_empty() { "" } else { "&" };
        self.body =
            Zeroizing::new([self.body.as_str(), separator, name.as_str(), "=", value.as_str()].concat());
        self
    }

    /// The same with a name and a password, each encoded as a field is (RFC 6749 §2.3.1).
    #[must_use]
    pub fn basic(mut self, name: &str, password: &str) -> Self {
        let (name, password) = (encoded(name), encoded(password));
        let pair = Zeroizing::new([name.as_str(), ":", password.as_str()].concat());
        let coded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        self.authorization = Some(Zeroizing::new(["Basic ", coded.as_str()].concat()));
        self
    }

    fn into_request(self, endpoint: &Endpoint) -> Result<Request<Full<Bytes>>, OutgoingError> {
        let url = endpoint.url();
        let (path, host) = (&url[Position::BeforePath..Position::AfterQuery], authority(endpoint));
        let mut request = Request::post(path)
            .header(HOST, host)
            .header(USER_AGENT, concat!("settled/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(text) = self.authorization {
            let shared = HeaderValue::from_maybe_shared(Bytes::from_owner(text));
            let mut value = shared.map_err(|_| OutgoingError::Malformed)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(Bytes::from_owner(self.body))).map_err(|_| OutgoingError::Malformed)
    }
}

/// Encoded as a field of a form is, with room for all of it: where a text grows, half of it stays behind.
fn encoded(text: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
    encoded.extend(byte_serialize(text.as_bytes()));
    encoded
}

/// A host, and its port where it is not its scheme's own.
fn authority(endpoint: &Endpoint) -> String {
    match endpoint.url().port() {
        Some(port) => format!("{}:{port}", endpoint.host()),
        None => endpoint.host().to_string(),
    }
}

/// What came back. Its body is shown to nobody.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Plain,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.status)
    }
}

/// A connection over TLS, once the other side has proved to be the endpoint's host.
///
/// # Errors
/// [`OutgoingError::Insecure`].
pub async fn secure(
    tls: Arc<ClientConfig>,
    endpoint: &Endpoint,
    stream: Box<dyn Stream>,
) -> Result<Box<dyn Stream>, OutgoingError> {
    let name = match endpoint.host() {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| OutgoingError::Insecure)?,
        Host::Ipv4(address) => ServerName::IpAddress((*address).into()),
        Host::Ipv6(address) => ServerName::IpAddress((*address).into()),
    };
    let secured = TlsConnector::from(tls).connect(name, stream).await;
    secured.map(|stream| Box::new(stream) as Box<dyn Stream>).map_err(|_| OutgoingError::Insecure)
}

/// Posts a form over a connection, and reads the answer.
///
/// # Errors
/// [`OutgoingError::Malformed`], [`OutgoingError::TooLarge`].
pub async fn exchange(
    stream: Box<dyn Stream>,
    endpoint: &Endpoint,
    form: Form,
) -> Result<Answer, OutgoingError> {
    let request = form.into_request(endpoint)?;
    let mut builder = http1::Builder::new();
    builder.max_headers(HEADER_FIELDS_MAX).max_buf_size(HEADER_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|_| OutgoingError::Malformed)?;
    let asked = async move {
        let response = sender.send_request(request).await.map_err(|error| malformed(&error))?;
        let status = response.status().as_u16();
        Ok(Answer { status, body: read(response.into_body()).await? })
    };
    // The connection's own end is nothing to wait for: what it brought is still to be read.
    let driven = async {
        let _ended = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = asked => answer,
        () = driven => Err(OutgoingError::Malformed),
    }
}

/// A whole body, in one place that is wiped.
async fn read(mut body: Incoming) -> Result<Plain, OutgoingError> {
    let mut read = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| malformed(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        if read.len() + data.len() > ANSWER_BYTES_MAX {
            return Err(OutgoingError::TooLarge);
        }
        read.extend_from_slice(data);
    }
    Ok(Plain::from(std::mem::take(&mut *read)))
}

fn malformed(error: &hyper::Error) -> OutgoingError {
    if error.is_parse_too_large() { OutgoingError::TooLarge } else { OutgoingError::Malformed }
}
